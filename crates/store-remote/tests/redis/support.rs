//! A real server for all tests of this program, in which each has a prefix of its own, and servers for those that end them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use plexspaces_store_remote::Redis;
use plexspaces_store_remote::redis::Config;
use plexspaces_testkit::servers;
use redis::FromRedisValue;
use redis::aio::MultiplexedConnection;

fn shared() -> &'static servers::Redis {
    static SERVER: OnceLock<servers::Redis> = OnceLock::new();
    SERVER.get_or_init(|| servers::Redis::start().unwrap())
}

/// A server of a test's own.
pub(crate) async fn server() -> servers::Redis {
    tokio::task::spawn_blocking(|| servers::Redis::start().unwrap()).await.unwrap()
}

/// A connection besides those of the store.
pub(crate) async fn connect(url: &str) -> MultiplexedConnection {
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    redis::Client::open(url).unwrap().get_multiplexed_async_connection_with_config(&config).await.unwrap()
}

/// Sends a command whose words stand apart.
pub(crate) async fn tell<T: FromRedisValue>(operator: &MultiplexedConnection, words: &str) -> T {
    let mut words = words.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    words.for_each(|word| {
        command.arg(word);
    });
    command.query_async(&mut operator.clone()).await.unwrap()
}

pub(crate) struct Place {
    pub(crate) prefix: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        Self { prefix: format!("p{}", NUMBER.fetch_add(1, Ordering::Relaxed)) }
    }

    pub(crate) fn config(&self) -> Config {
        Config { prefix: self.prefix.clone(), ..Config::new(shared().url()) }
    }

    /// A store with much time, also for a server that has much to do.
    pub(crate) fn store(&self) -> Redis {
        Redis::open(&Config { timeout: Duration::from_secs(60), ..self.config() }).unwrap()
    }
}
