//! DynamoDB passes the suite, and keeps its promises while requests are lost and the service ends, waits and comes back with less.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

mod faults;
mod parts;
mod refusals;
mod support;

use std::sync::Arc;

use plexspaces_store::Store;
use plexspaces_store::conformance::Fixture;
use support::Table;

impl Fixture for Table {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.store())
    }
}

plexspaces_store::conformance!(durable Table::new());
