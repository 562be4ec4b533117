//! What can be configured.

use std::path::PathBuf;
use std::time::Duration;

use plexspaces_aws::{Credentials, shown};
use plexspaces_store::{Durability, Limits};

use super::item::KEY;

/// How a table is reached.
#[derive(Clone)]
pub struct Config {
    /// The table's name.
    pub table: String,
    /// The region, such as `eu-west-1`.
    pub region: String,
    /// Where the service is, if it is not that of the region: `http://host:port` or `https://host:port`.
    pub endpoint: Option<String>,
    /// Who asks.
    pub credentials: Credentials,
    /// Certificates in PEM of authorities that are trusted besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// Requests under way at most.
    pub connections: usize,
    /// How long an operation may take.
    pub timeout: Duration,
}

impl Config {
    /// The defaults: the table `plexspaces`, 64 requests under way, ten seconds.
    pub fn new(region: impl Into<String>, credentials: Credentials) -> Self {
        Self {
            table: "plexspaces".to_owned(),
            region: region.into(),
            endpoint: None,
            credentials,
            ca_file: None,
            connections: 64,
            timeout: Duration::from_secs(10),
        }
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // One with credentials is refused, and may be shown before.
        let endpoint = self.endpoint.as_deref().map(shown);
        f.debug_struct("Config")
            .field("table", &self.table)
            .field("region", &self.region)
            .field("endpoint", &endpoint)
            .field("credentials", &self.credentials)
            .field("ca_file", &self.ca_file)
            .field("connections", &self.connections)
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// What does not fit into the service's items (400 KB) is kept in parts, and what does not fit into one of its transactions (100 items, 4 MB)
/// is committed as a whole and then carried out. Keys are the service's, less one byte that says what an item is and one for the key
/// that follows the longest. What is written at once is kept to what can be sent in the time of one operation.
pub(super) const LIMITS: Limits = Limits {
    batch_items: 10_000,
    key_bytes: KEY,
    value_bytes: 32 << 20,
    batch_bytes: 64 << 20,
    page_entries: 1_000,
    page_bytes: 4 << 20,
    durability: Durability::Synced,
};
