//! What a configuration comes to where it says nothing.

use plexspaces_actor::Limits;

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
            StoreBackend::DynamoDb => {
                whole.table.get_or_insert_with(|| "plexspaces".to_owned());
                whole.region = self.region();
                (64, std::time::Duration::from_secs(10))
            }
        };
        whole.pool_size.get_or_insert(u32::try_from(connections).unwrap_or(u32::MAX));
        whole.timeout.get_or_insert(Duration(timeout));
        whole
    }

    /// The region of AWS.
    pub(crate) fn region(&self) -> Option<String> {
        let named = |name: &str| std::env::var(name).ok().filter(|region| !region.is_empty());
        self.region.clone().or_else(|| named("AWS_REGION")).or_else(|| named("AWS_DEFAULT_REGION"))
    }
}
