//! Buckets of Amazon S3 and of what speaks its protocol.

use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use plexspaces_types::Failure;

use super::{Connector, Environment, Links, kept, retry};
use crate::Kept;
use crate::place::{Bucket, Place, wrong};

pub(super) fn open(place: &Place, bucket: &Bucket<'_>, environment: Environment) -> Result<Kept, Failure> {
    let mut builder = AmazonS3Builder::new();
    for (name, value) in environment {
        if name.starts_with("AWS_")
            && let Ok(key) = name.to_ascii_lowercase().parse()
        {
            builder = builder.with_config(key, value);
        }
    }
    builder = builder
        .with_bucket_name(bucket.name)
        .with_allow_http(place.is_plain())
        .with_retry(retry())
        .with_http_connector(Connector::new(place)?);
    if let Some(endpoint) = place.endpoint() {
        // Stands over both of the environment.
        builder = builder.with_endpoint(endpoint).with_config(AmazonS3ConfigKey::S3Endpoint, endpoint);
    }
    if let Some(region) = &place.region {
        builder = builder.with_region(region);
    }
    let are_elsewhere = builder.get_config_value(&AmazonS3ConfigKey::AccessKeyId).is_none();
    let s3 = Arc::new(builder.build().map_err(|error| wrong("[blobs]", &error.to_string()))?);
    let links = Links { signer: s3.clone(), with_type: true, host: None };
    kept(bucket, s3, Some(links), are_elsewhere)
}
