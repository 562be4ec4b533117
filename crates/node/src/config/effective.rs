//! What a configuration comes to where it says nothing.

use plexspaces_actor::Limits;
#[cfg(feature = "dynamodb")]
use plexspaces_store_remote::dynamodb;

use super::*;

impl Config {
    /// The same with everything said that is not and has a default. What is absent after that is not there, such as a limit of memory.
    #[must_use]
    pub fn effective(&self) -> Self {
        let mut whole = self.clone();
        whole.node.listen_addr = Some(self.listen_addr());
        whole.node.control_addr = self.node.control.then(|| self.control_addr());
        whole.store = self.store.effective();
        match self.blobs.place() {
            Some(place) => {
                whole.blobs.timeout = Some(Duration(place.timeout));
            }
            None => {
                whole.blobs.dir.get_or_insert_with(|| self.node.data_dir.join("blobs"));
            }
        }
        let limits = self.limits.over(Limits::default());
        whole.limits = LimitsConfig {
            memory: Some(ByteSize(limits.memory_bytes as u64)),
            turn_cpu: Some(Duration(limits.turn_cpu)),
            turn_time: Some(Duration(limits.turn_time)),
            payload: Some(ByteSize(limits.payload_bytes as u64)),
            mailbox: Some(u32::try_from(limits.mailbox).unwrap_or(u32::MAX)),
        };
        let address = self.listen_addr();
        if !address.ip().is_unspecified() && address.port() != 0 {
            whole.api.public_url.get_or_insert_with(|| format!("http://{address}"));
        }
        whole.log.filter = Some(self.log.filter());
        whole
    }
}

impl LogConfig {
    /// What is logged, by the environment, else the configuration, else the default.
    pub(crate) fn filter(&self) -> String {
        let environment = std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty());
        environment.or_else(|| self.filter.clone()).unwrap_or_else(|| "info".to_owned())
    }
}

impl StoreConfig {
    fn effective(&self) -> Self {
        let mut whole = self.clone();
        let url = self.url.as_ref().map_or("", |url| &url.0);
        let (connections, timeout) = match self.backend {
            StoreBackend::Sqlite | StoreBackend::Memory => return whole,
            StoreBackend::Postgres => {
                let postgres::Config { connections, timeout, .. } = postgres::Config::new(url);
                (connections, timeout)
            }
            StoreBackend::Redis => {
                let redis::Config { prefix, connections, timeout, .. } = redis::Config::new(url);
                whole.prefix.get_or_insert(prefix);
                whole.durability.get_or_insert(StoreDurability::Synced);
                (connections, timeout)
            }
            #[cfg(feature = "dynamodb")]
            StoreBackend::DynamoDb => {
                whole.region = self.region();
                // No table is reached with these: only what they leave open counts.
                let nobody = dynamodb::Credentials::new("", "", None);
                let dynamodb::Config { table, connections, timeout, .. } = dynamodb::Config::new("", nobody);
                whole.table.get_or_insert(table);
                (connections, timeout)
            }
            #[cfg(not(feature = "dynamodb"))]
            StoreBackend::DynamoDb => return whole,
        };
        whole.pool_size.get_or_insert(u32::try_from(connections).unwrap_or(u32::MAX));
        whole.timeout.get_or_insert(Duration(timeout));
        whole
    }

    /// The region of AWS.
    #[cfg(feature = "dynamodb")]
    pub(crate) fn region(&self) -> Option<String> {
        let named = |name: &str| std::env::var(name).ok().filter(|region| !region.is_empty());
        self.region.clone().or_else(|| named("AWS_REGION")).or_else(|| named("AWS_DEFAULT_REGION"))
    }
}
