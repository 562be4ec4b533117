//! Buckets of Google Cloud Storage.

use std::path::{Path, PathBuf};
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

/// In the directory of the user.
const OF_TOOLS: &str = ".config/gcloud/application_default_credentials.json";

pub(super) fn open(place: &Place, bucket: &Bucket<'_>, environment: Environment) -> Result<Kept, Failure> {
    let mut builder = GoogleCloudStorageBuilder::new();
    let (mut given, mut home) = (Vec::new(), None);
    for (name, value) in environment {
        if name == "HOME" {
            home = Some(PathBuf::from(value));
            continue;
        }
        let Some(key) = key(&name) else { continue };
        match key {
            GoogleConfigKey::ServiceAccountKey => given.push(Credential::read(&name, &value, true)?),
            GoogleConfigKey::ServiceAccount => given.push(Credential::of_file(&name, &value, true)?),
            GoogleConfigKey::ApplicationCredentials => given.push(Credential::of_file(&name, &value, false)?),
            GoogleConfigKey::BearerToken => given.push(Credential::Token),
            _ => {}
        }
        builder = builder.with_config(key, value);
    }
    // Where Google's tools put what they were given.
    let found = home.map(|home| home.join(OF_TOOLS)).filter(|path| given.is_empty() && path.exists());
    if let Some(path) = found.as_deref().and_then(Path::to_str) {
        given.push(Credential::of_file(&format!("~/{OF_TOOLS}"), path, false)?);
        builder = builder.with_config(GoogleConfigKey::ApplicationCredentials, path);
    }
    let signs = given.contains(&Credential::Key);
    let are_elsewhere = !given.iter().any(|credential| matches!(credential, Credential::Key | Credential::Token));
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

/// What the environment gives the node.
#[derive(Debug, PartialEq, Eq)]
enum Credential {
    /// The key of a service account, which signs.
    Key,
    /// A token.
    Token,
    /// A user's, for which there are tokens elsewhere.
    User,
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
