//! Which store a node has, and how it is opened and closed.

use std::sync::Arc;

use plexspaces_app::ConfigError;
use plexspaces_store::{Memory, Store};
#[cfg(feature = "dynamodb")]
use plexspaces_store_remote::{DynamoDb, dynamodb};
use plexspaces_store_remote::{Redis, redis};
use plexspaces_store_sql::{Postgres, Sqlite, postgres, sqlite};

use crate::{Config, Error, StoreBackend, StoreDurability};

/// The store of a node.
pub(crate) enum OpenStore {
    Sqlite(Arc<Sqlite>),
    Postgres(Arc<Postgres>),
    Redis(Arc<Redis>),
    #[cfg(feature = "dynamodb")]
    DynamoDb(Arc<DynamoDb>),
    Memory(Arc<Memory>),
}

impl OpenStore {
    pub(crate) async fn open(config: &Config) -> Result<Self, Error> {
        match config.store.backend {
            StoreBackend::Memory => {
                initialized("memory:", "none", "InMemory");
                tracing::warn!("everything that is stored is gone when the node ends (store.backend = \"memory\")");
                Ok(Self::Memory(Arc::new(Memory::new())))
            }
            StoreBackend::Sqlite => {
                let path = config.node.data_dir.join("plexspaces.db");
                let settings = sqlite::Config { verify: config.store.verify, ..sqlite::Config::new(&path) };
                let opened = tokio::task::spawn_blocking(move || Sqlite::open(settings)).await;
                let failed = |error: tokio::task::JoinError| plexspaces_store::Error::Failed(error.to_string());
                let sqlite = opened.map_err(failed)??;
                initialized(&path.display().to_string(), "entries", "SQLite");
                Ok(Self::Sqlite(Arc::new(sqlite)))
            }
            StoreBackend::Postgres => {
                let mut settings = postgres::Config::new(url(config)?);
                settings.ca_file.clone_from(&config.store.ca_file);
                if let Some(size) = config.store.pool_size {
                    settings.connections = size as usize;
                }
                if let Some(timeout) = config.store.timeout {
                    settings.timeout = timeout.0;
                }
                let postgres = Postgres::open(&settings)?;
                initialized(postgres.place(), "plexspaces_entries", "PostgreSQL");
                Ok(Self::Postgres(Arc::new(postgres)))
            }
            StoreBackend::Redis => {
                let mut settings = redis::Config::new(url(config)?);
                settings.ca_file.clone_from(&config.store.ca_file);
                if let Some(size) = config.store.pool_size {
                    settings.connections = size as usize;
                }
                if let Some(timeout) = config.store.timeout {
                    settings.timeout = timeout.0;
                }
                if let Some(prefix) = &config.store.prefix {
                    settings.prefix.clone_from(prefix);
                }
                if config.store.durability == Some(StoreDurability::Server) {
                    settings.durability = redis::Durability::Server;
                    tracing::warn!("acknowledged changes survive what Redis is set up to survive (store.durability = \"server\")");
                }
                let prefix = settings.prefix.clone();
                let redis = Redis::open(&settings)?;
                initialized(redis.place(), &prefix, "Redis");
                Ok(Self::Redis(Arc::new(redis)))
            }
            #[cfg(feature = "dynamodb")]
            StoreBackend::DynamoDb => {
                let credentials = dynamodb::Credentials::from_env();
                let credentials = credentials.map_err(|error| plexspaces_store::Error::Failed(error.to_string()))?;
                let mut settings = dynamodb::Config::new(region(config)?, credentials);
                settings.endpoint.clone_from(&config.store.endpoint);
                settings.ca_file.clone_from(&config.store.ca_file);
                if let Some(table) = &config.store.table {
                    settings.table.clone_from(table);
                }
                if let Some(size) = config.store.pool_size {
                    settings.connections = size as usize;
                }
                if let Some(timeout) = config.store.timeout {
                    settings.timeout = timeout.0;
                }
                let table = settings.table.clone();
                let dynamodb = DynamoDb::open(&settings)?;
                initialized(dynamodb.place(), &table, "DynamoDB");
                Ok(Self::DynamoDb(Arc::new(dynamodb)))
            }
            #[cfg(not(feature = "dynamodb"))]
            StoreBackend::DynamoDb => {
                Err(ConfigError::new("the configuration", "this program was built without the feature `dynamodb`").into())
            }
        }
    }

    pub(crate) fn handle(&self) -> Arc<dyn Store> {
        match self {
            Self::Sqlite(sqlite) => sqlite.clone(),
            Self::Postgres(postgres) => postgres.clone(),
            Self::Redis(redis) => redis.clone(),
            #[cfg(feature = "dynamodb")]
            Self::DynamoDb(dynamodb) => dynamodb.clone(),
            Self::Memory(memory) => memory.clone(),
        }
    }

    /// Whether it is elsewhere, and may come and go while the node runs.
    pub(crate) fn is_remote(&self) -> bool {
        !matches!(self, Self::Sqlite(_) | Self::Memory(_))
    }

    /// What is elsewhere needs no end, and what is in memory has none.
    pub(crate) async fn close(&self) {
        if let Self::Sqlite(sqlite) = self
            && let Err(error) = sqlite.close().await
        {
            tracing::error!(%error, "the store was not closed cleanly; everything acknowledged is in it");
        }
    }
}

/// Says of each kind of what is stored where it is: one store has them all.
fn initialized(place: &str, table: &str, backend: &str) {
    tracing::info!(db_path = place, table, backend, "KeyValue storage initialized");
    tracing::info!(db_url = place, table, backend, "Locks storage initialized");
    tracing::info!(db_url = place, table, backend, "Journal storage initialized");
}

/// Where the database is that the configuration names a backend of.
pub(crate) fn url(config: &Config) -> Result<&str, ConfigError> {
    let missing = || ConfigError::new("the configuration", "store.backend is a database and store.url is missing");
    Ok(&config.store.url.as_ref().ok_or_else(missing)?.0)
}

/// The region of AWS.
#[cfg(feature = "dynamodb")]
fn region(config: &Config) -> Result<String, ConfigError> {
    let missing = "store.backend is \"dynamodb\", and neither store.region nor AWS_REGION in the environment names a region";
    config.store.region().ok_or_else(|| ConfigError::new("the configuration", missing))
}
