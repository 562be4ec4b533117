//! The in-memory backend passes the suite.

use std::sync::Arc;

use plexspaces_store::conformance::Fixture;
use plexspaces_store::{Memory, Store};

struct InMemory(Memory);

impl Fixture for InMemory {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.0.clone())
    }
}

plexspaces_store::conformance!(InMemory(Memory::new()));
