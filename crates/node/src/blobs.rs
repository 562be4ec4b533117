//! Where a node keeps blobs, whether that is there, and what is removed that no name stands for.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use plexspaces_actor::{BlobKeys, BlobStore, Runtime};
use plexspaces_api::Readiness;
use plexspaces_objects::Kept;
use tokio_util::sync::CancellationToken;

use crate::{Config, Error};

/// How often a store of blobs that is elsewhere is looked after, and how often while it does not answer.
const PERIOD: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_secs(1);

/// After which time of a node, and how often from then on, objects without a name are removed, and how old they must be.
const SWEEP_AFTER: Duration = Duration::from_mins(10);
const SWEEP_EVERY: Duration = Duration::from_hours(24);
const SWEEP_AGE: Duration = Duration::from_hours(24);

/// Where blobs are kept. Nothing is asked of what is elsewhere.
pub(crate) fn open(config: &Config) -> Result<Arc<Kept>, Error> {
    let kept = match config.blobs.place() {
        Some(place) => {
            let environment = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
            let kept = Kept::at(&place, environment).map_err(Error::Blobs)?;
            tracing::info!(backend = kept.name(), url = place.url, endpoint = place.endpoint, "Blob storage initialized");
            kept
        }
        None => {
            let directory = config.blobs.dir.clone().unwrap_or_else(|| config.node.data_dir.join("blobs"));
            let kept = Kept::in_directory(&directory).map_err(Error::Blobs)?;
            tracing::info!(backend = kept.name(), dir = %directory.display(), "Blob storage initialized");
            kept
        }
    };
    Ok(Arc::new(kept))
}

/// What the runtime needs of it.
pub(crate) fn store(config: &Config, kept: Arc<Kept>, keys: Arc<OnceLock<BlobKeys>>, url: &str) -> BlobStore {
    let url = url.trim_end_matches('/').into();
    BlobStore { objects: kept, keys, url, max_bytes: config.blobs.max_size.0, quota_bytes: config.blobs.namespace_quota.0 }
}

/// Says whether a store that is elsewhere answers, as long as the node runs.
pub(crate) async fn tend(kept: Arc<Kept>, readiness: Readiness, shutdown: CancellationToken) {
    let mut told = None;
    loop {
        let lack = tokio::select! {
            () = shutdown.cancelled() => return,
            checked = kept.check() => checked.err().map(|failure| failure.message),
        };
        match &lack {
            Some(why) if told != lack => tracing::error!(why, "blobs cannot be read or written; the node is not ready until they can"),
            None if told.is_some() => tracing::info!("the store of blobs answers again"),
            _ => {}
        }
        readiness.lacks("blobs", lack.clone());
        let pause = if lack.is_some() { AGAIN } else { PERIOD };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            () = kept.away(), if lack.is_none() => {}
        }
        told = lack;
    }
}

/// Removes now and then what nodes have left that were cut off between writing and naming.
pub(crate) async fn sweep(runtime: Runtime, shutdown: CancellationToken) {
    let mut pause = SWEEP_AFTER;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        let swept = tokio::select! {
            () = shutdown.cancelled() => return,
            swept = runtime.sweep_blobs(SWEEP_AGE) => swept,
        };
        match swept {
            Ok(0) => {}
            Ok(objects) => tracing::info!(objects, "objects that no blob stands for were removed"),
            Err(failure) => tracing::warn!(%failure, "objects that no blob stands for were not looked for; they are in a day"),
        }
        pause = SWEEP_EVERY;
    }
}
