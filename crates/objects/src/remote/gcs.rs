//! Buckets of Google Cloud Storage.

use std::sync::Arc;

use object_store::ClientConfigKey;
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey, ServiceAccountKey};
use plexspaces_types::Failure;
use serde_json::Value;

use super::{Connector, Environment, Links, kept, retry};
use crate::Kept;
use crate::place::{Bucket, Place, wrong};

/// The host for which the library signs URLs, wherever it sends its own requests.
const HOST: &str = "storage.googleapis.com";

pub(super) fn open(place: &Place, bucket: &Bucket<'_>, environment: Environment) -> Result<Kept, Failure> {
    let mut builder = GoogleCloudStorageBuilder::new();
    let (mut signs, mut are_elsewhere) = (false, true);
    for (name, value) in environment {
        let Some(key) = key(&name) else { continue };
        let credential = match key {
            GoogleConfigKey::ServiceAccountKey => Credential::read(&name, &value, true)?,
            GoogleConfigKey::ServiceAccount => Credential::of_file(&name, &value, true)?,
            GoogleConfigKey::ApplicationCredentials => Credential::of_file(&name, &value, false)?,
            GoogleConfigKey::BearerToken => Credential::Token,
            _ => Credential::None,
        };
        signs |= credential == Credential::Key;
        are_elsewhere &= !matches!(credential, Credential::Key | Credential::Token);
        builder = builder.with_config(key, value);
    }
    let value = |key| builder.get_config_value(&key);
    if value(GoogleConfigKey::ServiceAccount).is_some() && value(GoogleConfigKey::ServiceAccountKey).is_some() {
        return Err(wrong("GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_KEY is given too, expected one of them"));
    }
    builder = builder
        .with_bucket_name(bucket.name)
        .with_config(GoogleConfigKey::Client(ClientConfigKey::AllowHttp), place.is_plain().to_string())
        .with_retry(retry())
        .with_http_connector(Connector::new(place)?);
    if let Some(endpoint) = place.endpoint() {
        builder = builder.with_base_url(endpoint);
    }
    let gcs = Arc::new(builder.build().map_err(|error| wrong("[blobs]", &error.to_string()))?);
    let links = Links { signer: gcs.clone(), with_type: true, host: Some(HOST) };
    kept(bucket, gcs, Some(links).filter(|_| signs), are_elsewhere)
}

fn key(name: &str) -> Option<GoogleConfigKey> {
    name.starts_with("GOOGLE_").then(|| name.to_ascii_lowercase().parse().ok())?
}

/// What a variable of the environment gives the node.
#[derive(Debug, PartialEq, Eq)]
enum Credential {
    /// The key of a service account, which signs.
    Key,
    /// A token.
    Token,
    /// A user's, for which there are tokens elsewhere.
    User,
    /// Nothing.
    None,
}

impl Credential {
    /// The path is not shown: it may be the key itself, where somebody has mistaken the one for the other.
    fn of_file(name: &str, path: &str, is_service: bool) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| wrong(name, &format!("the file that it names cannot be read: {}", error.kind())))?;
        Self::read(name, &text, is_service)
    }

    /// Looks at what the library would repeat in its errors.
    fn read(name: &str, text: &str, is_service: bool) -> Result<Self, Failure> {
        let account: Value = serde_json::from_str(text).map_err(|error| {
            wrong(name, &format!("expected credentials in JSON, found none (line {}, column {})", error.line(), error.column()))
        })?;
        let kind = if is_service { "service_account" } else { account.get("type").and_then(Value::as_str).unwrap_or_default() };
        let needed: &[&str] = match kind {
            "service_account" => &["private_key", "private_key_id", "client_email"],
            "authorized_user" => &["client_id", "client_secret", "refresh_token"],
            "external_account" | "impersonated_service_account" | "gdch_service_account" | "external_account_authorized_user" => {
                let message = format!("its type is {kind:?}, expected \"service_account\" or \"authorized_user\"");
                return Err(wrong(name, &message));
            }
            _ => return Err(wrong(name, "its type is none that is known, expected \"service_account\" or \"authorized_user\"")),
        };
        let text = |field: &str| account.get(field).and_then(Value::as_str);
        if let Some(missing) = needed.iter().find(|field| text(field).is_none()) {
            return Err(wrong(name, &format!("it has no text {missing:?}")));
        }
        if kind == "authorized_user" {
            return Ok(Self::User);
        }
        if account.get("disable_oauth").and_then(Value::as_bool) == Some(true) {
            return Ok(Self::Token);
        }
        let key = ServiceAccountKey::from_pem(text("private_key").unwrap_or_default().as_bytes());
        key.map_err(|_| wrong(name, "its \"private_key\" is no key of RSA in PEM"))?;
        Ok(Self::Key)
    }
}
