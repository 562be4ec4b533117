//! A real server for all tests of this program, in which each has a schema of its own.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use plexspaces_store_sql::Postgres;
use plexspaces_store_sql::postgres::Config;
use plexspaces_testkit::servers;
use tokio_postgres::{Client, NoTls};

pub(crate) fn server() -> &'static servers::Postgres {
    static SERVER: OnceLock<servers::Postgres> = OnceLock::new();
    SERVER.get_or_init(|| servers::Postgres::start().unwrap())
}

/// A connection besides those of the store.
pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

pub(crate) struct Schema {
    pub(crate) url: String,
    /// The name by which the server knows the store's connections.
    pub(crate) application: String,
}

impl Schema {
    pub(crate) async fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("s{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let url = server().url();
        connect(&url).await.batch_execute(&format!("CREATE SCHEMA {name}")).await.unwrap();
        Self { url: format!("{url}?options=-csearch_path%3D{name}"), application: format!("store-{name}") }
    }

    pub(crate) fn config(&self) -> Config {
        Config::new(format!("{}&application_name={}", self.url, self.application))
    }

    /// A store with much time, also for a server that has much to do.
    pub(crate) fn store(&self) -> Postgres {
        Postgres::open(&Config { timeout: Duration::from_secs(60), ..self.config() }).unwrap()
    }
}
