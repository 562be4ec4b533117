//! Redis passes the suite, and keeps its promises while connections and servers end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

mod faults;
mod refusals;
mod support;

use std::sync::Arc;

use plexspaces_store::Store;
use plexspaces_store::conformance::Fixture;
use support::Place;

impl Fixture for Place {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.store())
    }
}

plexspaces_store::conformance!(durable Place::new());
