//! SQLite passes the suite.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

use std::sync::Arc;

use plexspaces_store::Store;
use plexspaces_store::conformance::Fixture;
use plexspaces_store_sql::Sqlite;
use plexspaces_store_sql::sqlite::Config;
use tempfile::TempDir;

struct InDirectory(TempDir);

impl Fixture for InDirectory {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(Sqlite::open(Config { verify: true, ..Config::new(self.0.path().join("store.db")) }).unwrap())
    }
}

plexspaces_store::conformance!(durable InDirectory(TempDir::new().unwrap()));
