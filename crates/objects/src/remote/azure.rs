//! Containers of Azure Blob Storage.

use std::sync::Arc;

use object_store::azure::{AzureAccessKey, AzureConfigKey, MicrosoftAzureBuilder};
use plexspaces_types::Failure;

use super::{Connector, Environment, Links, kept, retry};
use crate::Kept;
use crate::place::{Bucket, Place, wrong};

pub(super) fn open(place: &Place, bucket: &Bucket<'_>, environment: Environment) -> Result<Kept, Failure> {
    let mut builder = MicrosoftAzureBuilder::new();
    let mut has_connection_string = false;
    for (name, value) in environment {
        let key = match name.as_str() {
            // As the tools of Azure call them.
            "AZURE_STORAGE_ACCOUNT" => AzureConfigKey::AccountName,
            "AZURE_STORAGE_KEY" => AzureConfigKey::AccessKey,
            "AZURE_STORAGE_CONNECTION_STRING" => {
                has_connection_string = true;
                continue;
            }
            "IDENTITY_ENDPOINT" => AzureConfigKey::MsiEndpoint,
            other if other.starts_with("AZURE_") => match other.to_ascii_lowercase().parse() {
                Ok(key) => key,
                Err(_) => continue,
            },
            _ => continue,
        };
        match key {
            AzureConfigKey::AccessKey if AzureAccessKey::try_new(&value).is_err() => return Err(wrong(&name, "it is not in Base64")),
            // It would choose the address by itself, and turn encryption off.
            AzureConfigKey::UseEmulator if value == "false" => {}
            AzureConfigKey::UseEmulator => return Err(wrong(&name, "where an emulator is, is said with blobs.endpoint")),
            key => builder = builder.with_config(key, value),
        }
    }
    let Some(account) = builder.get_config_value(&AzureConfigKey::AccountName) else {
        let message = if has_connection_string {
            "the account is not known: AZURE_STORAGE_CONNECTION_STRING is not read, set AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY"
        } else {
            "the account is not known: set AZURE_STORAGE_ACCOUNT in the environment"
        };
        return Err(wrong("blobs.url", message));
    };
    if !(3..=24).contains(&account.len()) || !account.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        return Err(wrong("AZURE_STORAGE_ACCOUNT", "expected 3 to 24 lower-case letters and digits"));
    }
    builder = builder
        .with_container_name(bucket.name)
        .with_allow_http(place.is_plain())
        .with_retry(retry())
        .with_http_connector(Connector::new(place)?);
    if let Some(endpoint) = place.endpoint() {
        builder = builder.with_endpoint(endpoint.to_owned());
    }
    let signs = signs_for(&builder, &account)?;
    let given = [AzureConfigKey::AccessKey, AzureConfigKey::SasKey, AzureConfigKey::Token];
    let are_elsewhere = given.iter().all(|key| builder.get_config_value(key).is_none());
    let azure = Arc::new(builder.build().map_err(|error| wrong("[blobs]", &error.to_string()))?);
    let links = Links { signer: azure.clone(), with_type: false, host: None };
    kept(bucket, azure, Some(links).filter(|_| signs), are_elsewhere)
}

/// Whether links can be signed: with the account's key, which the library uses unless it has a token, and where the library knows under
/// which name a blob is signed.
fn signs_for(builder: &MicrosoftAzureBuilder, account: &str) -> Result<bool, Failure> {
    let value = |key| builder.get_config_value(&key);
    let has_key = value(AzureConfigKey::AccessKey).is_some() && value(AzureConfigKey::Token).is_none();
    let uses_key = value(AzureConfigKey::CredentialType).is_none_or(|chosen| chosen == "auto" || chosen == "access_key");
    // Such blobs are read with a header that a link cannot hold.
    let is_sealed = value(AzureConfigKey::EncryptionKey).is_some();
    let knows_name = match value(AzureConfigKey::Endpoint) {
        None => true,
        Some(endpoint) => {
            let rest = endpoint.split_once("://").map_or("", |(_, rest)| rest);
            match rest.split_once('/') {
                Some((_, path)) if path != account => {
                    return Err(wrong("blobs.endpoint", "its path is not the name of the account"));
                }
                // The library looks for the account in the host first.
                Some((host, _)) => !host.contains(account),
                None => rest.split('.').next() == Some(account),
            }
        }
    };
    Ok(has_key && uses_key && !is_sealed && knows_name)
}
