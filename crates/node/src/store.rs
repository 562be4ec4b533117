//! Which store a node has, and how it is opened and closed.

use std::sync::Arc;

use plexspaces_app::ConfigError;
use plexspaces_store::{Memory, Store};
use plexspaces_store_remote::{Redis, redis};
use plexspaces_store_sql::{Postgres, Sqlite, postgres, sqlite};

use crate::{Config, Error, StoreBackend, StoreDurability};

/// The store of a node.
pub(crate) enum OpenStore {
    Sqlite(Arc<Sqlite>),
    Postgres(Arc<Postgres>),
    Redis(Arc<Redis>),
    Memory(Arc<Memory>),
}

impl OpenStore {
    pub(crate) async fn open(config: &Config) -> Result<Self, Error> {
        match config.store.backend {
            StoreBackend::Memory => {
                tracing::warn!(backend = "memory", "storage initialized: everything is gone when the node ends");
                Ok(Self::Memory(Arc::new(Memory::new())))
            }
            StoreBackend::Sqlite => {
                let path = config.node.data_dir.join("plexspaces.db");
                let settings = sqlite::Config { verify: config.store.verify, ..sqlite::Config::new(&path) };
                let opened = tokio::task::spawn_blocking(move || Sqlite::open(settings)).await;
                let failed = |error: tokio::task::JoinError| plexspaces_store::Error::Failed(error.to_string());
                let sqlite = opened.map_err(failed)??;
                tracing::info!(db_path = %path.display(), backend = "SQLite", "storage initialized");
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
                tracing::info!(db_url = postgres.place(), backend = "PostgreSQL", "storage initialized");
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
                let redis = Redis::open(&settings)?;
                tracing::info!(db_url = redis.place(), backend = "Redis", "storage initialized");
                Ok(Self::Redis(Arc::new(redis)))
            }
        }
    }

    pub(crate) fn handle(&self) -> Arc<dyn Store> {
        match self {
            Self::Sqlite(sqlite) => sqlite.clone(),
            Self::Postgres(postgres) => postgres.clone(),
            Self::Redis(redis) => redis.clone(),
            Self::Memory(memory) => memory.clone(),
        }
    }

    /// Whether it is elsewhere, and may come and go while the node runs.
    pub(crate) fn is_remote(&self) -> bool {
        matches!(self, Self::Postgres(_) | Self::Redis(_))
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

/// Where the database is that the configuration names a backend of.
fn url(config: &Config) -> Result<&str, ConfigError> {
    let missing = || ConfigError::new("the configuration", "store.backend is a database and store.url is missing");
    Ok(&config.store.url.as_ref().ok_or_else(missing)?.0)
}
