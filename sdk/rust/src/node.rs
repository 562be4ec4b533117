//! A node inside a program.

use std::sync::Arc;
use std::time::Duration;

use plexspaces_actor::{BlobKeys, BlobStore, Config, Facet, FacetRegistry, Objects, Outbound, Runtime};
use plexspaces_store::{Memory, Store};
use plexspaces_types::{Clock, Failure, Name};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::ServiceLocator;

/// Bytes of one blob, and of all blobs of a namespace.
const MAX_BLOB: u64 = 1 << 30;
const BLOB_QUOTA: u64 = 100 << 30;

/// Makes a [`Node`].
pub struct NodeBuilder {
    name: String,
    store: Arc<dyn Store>,
    grace: Duration,
    /// Or the first facet that could not be registered.
    facets: Result<FacetRegistry, Failure>,
    outbound: Option<Arc<dyn Outbound>>,
    blobs: Option<Arc<dyn Objects>>,
    blob_bytes: (u64, u64),
}

impl NodeBuilder {
    /// A node of this name that keeps what it stores in memory.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            store: Arc::new(Memory::new()),
            grace: Duration::from_secs(20),
            facets: Ok(FacetRegistry::builtin()),
            outbound: None,
            blobs: None,
            blob_bytes: (MAX_BLOB, BLOB_QUOTA),
        }
    }

    /// Keeps what durable actors store here.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = store;
        self
    }

    /// Lets all actors send HTTP requests over these service links, which `plexspaces_outbound` opens.
    #[must_use]
    pub fn service_links(mut self, links: Arc<dyn Outbound>) -> Self {
        self.outbound = Some(links);
        self
    }

    /// Keeps the bytes of blobs here, such as in a directory or a bucket that `plexspaces_objects` opens. Without it there are no blobs.
    #[must_use]
    pub fn blobs(mut self, objects: Arc<dyn Objects>) -> Self {
        self.blobs = Some(objects);
        self
    }

    /// How large one blob may be, 1 GiB unless it is set, and all of a namespace, 100 GiB.
    #[must_use]
    pub fn blob_limits(mut self, one: u64, all: u64) -> Self {
        self.blob_bytes = (one, all);
        self
    }

    /// How long a shutdown waits for what is under way; 20 s unless it is set.
    #[must_use]
    pub fn shutdown_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Registers a facet: `make` reads its configuration, for each actor anew, and says what is wrong with it.
    #[must_use]
    pub fn facet<F>(mut self, name: &str, make: F) -> Self
    where
        F: Fn(&Map<String, Value>) -> Result<Box<dyn Facet>, String> + Send + Sync + 'static,
    {
        self.facets = self.facets.and_then(|facets| facets.register(name, make).map(|()| facets));
        self
    }

    /// The node, at once ready for actors. A name that cannot be used is the error of whatever is done with the node first.
    pub async fn build(self) -> Node {
        let Self { name, store, grace, facets, outbound, blobs, blob_bytes } = self;
        let clock = Clock::system();
        let invalid = |error: plexspaces_types::InvalidName| Failure::invalid("node", error.to_string());
        let id = Name::new("node", &name).map_err(invalid);
        let blobs = match blobs {
            Some(objects) => blob_store(&*store, objects, blob_bytes).await.map(Some),
            None => Ok(None),
        };
        let runtime = id.and_then(|node_id| {
            Ok(Runtime::new(Config {
                facets: facets?,
                blobs: blobs?,
                services: plexspaces_coord::services(),
                ..Config::new(node_id, store, clock.clone())
            }))
        });
        Node {
            locator: ServiceLocator::new(name.clone(), runtime, clock, outbound),
            name,
            grace,
            stopping: CancellationToken::new(),
            stopped: CancellationToken::new(),
        }
    }
}

async fn blob_store(store: &dyn Store, objects: Arc<dyn Objects>, (max_bytes, quota_bytes): (u64, u64)) -> Result<BlobStore, Failure> {
    let keys = Arc::new(BlobKeys::kept_in(store).await?.into());
    // No request from outside reaches this node, so that links are those of the objects' place or none.
    Ok(BlobStore { objects, keys, url: "".into(), max_bytes, quota_bytes })
}

/// A node that is part of this program: it has no ports and no files of its own.
pub struct Node {
    name: String,
    locator: Arc<ServiceLocator>,
    grace: Duration,
    stopping: CancellationToken,
    stopped: CancellationToken,
}

impl Node {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its services; they work before [`Node::start`].
    #[must_use]
    pub fn service_locator(&self) -> Arc<ServiceLocator> {
        self.locator.clone()
    }

    /// Runs until [`Node::shutdown`] is called, here or on another task.
    pub async fn start(&self) -> Result<(), Failure> {
        self.locator.runtime()?;
        tracing::info!(node = self.name, "the node is ready");
        self.stopped.cancelled().await;
        Ok(())
    }

    /// Takes no more messages from outside, handles what was accepted and ends all actors. Returns whether all was handled within the grace
    /// period.
    pub async fn shutdown(&self) -> bool {
        if self.stopping.is_cancelled() {
            self.stopped.cancelled().await;
            return true;
        }
        self.stopping.cancel();
        let drained = match self.locator.runtime() {
            Ok(runtime) => runtime.shutdown(self.grace).await,
            Err(_) => true,
        };
        self.locator.clear().await;
        self.stopped.cancel();
        drained
    }
}
