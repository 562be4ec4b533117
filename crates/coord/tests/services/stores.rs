//! Where the nodes of these tests keep their rows: in memory, or on a real server when this program has called itself again for that.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use plexspaces_store::{Memory, Store};
use plexspaces_store_remote::dynamodb::Credentials;
use plexspaces_store_remote::{DynamoDb, Redis, dynamodb, redis};
use plexspaces_store_sql::{Postgres, postgres};
use plexspaces_testkit::servers;

/// Which store the tests are to use, in the process that was called.
const STORE: &str = "PLEXSPACES_SERVICES_STORE";

/// The tests of the services. Those that bring stores of their own need no other.
const TESTS: [&str; 7] = ["tuples::", "locks::", "kv::", "groups::", "registry::", "channels::", "consumers::"];

/// Tests that are about how much there may be: thousands of requests one after the other.
const LONG: &str = "a_topic_keeps_its_last_messages";

/// A server that has much to do is not what these tests are about.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A store with nothing in it.
pub(crate) fn fresh() -> Arc<dyn Store> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("s{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    match std::env::var(STORE).as_deref() {
        Err(_) => Arc::new(Memory::default()),
        Ok("postgresql") => {
            static SERVER: OnceLock<servers::Postgres> = OnceLock::new();
            let url = SERVER.get_or_init(|| servers::Postgres::start().unwrap()).database(&name).unwrap();
            Arc::new(Postgres::open(&postgres::Config { timeout: TIMEOUT, ..postgres::Config::new(url) }).unwrap())
        }
        Ok("redis") => {
            static SERVER: OnceLock<servers::Redis> = OnceLock::new();
            let url = SERVER.get_or_init(|| servers::Redis::start().unwrap()).url();
            Arc::new(Redis::open(&redis::Config { prefix: name, timeout: TIMEOUT, ..redis::Config::new(url) }).unwrap())
        }
        Ok("dynamodb") => {
            static SERVER: OnceLock<servers::DynamoDb> = OnceLock::new();
            let endpoint = Some(SERVER.get_or_init(|| servers::DynamoDb::start().unwrap()).url());
            let config = dynamodb::Config::new("eu-west-1", Credentials::new("plex", "s3cret", None));
            Arc::new(DynamoDb::open(&dynamodb::Config { endpoint, table: format!("table-{name}"), timeout: TIMEOUT, ..config }).unwrap())
        }
        Ok(other) => panic!("{STORE} is {other:?}"),
    }
}

/// Runs the tests of the services again with another store.
fn again(store: &str) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(TESTS).args(["--skip", LONG]).env(STORE, store);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let passed: usize = said.rsplit("test result: ok. ").next().and_then(|rest| rest.split(' ').next()?.parse().ok()).unwrap_or_default();
    assert!(passed > 50, "{said}");
}

#[test]
fn the_services_keep_their_promises_on_postgresql() {
    again("postgresql");
}

#[test]
fn the_services_keep_their_promises_on_redis() {
    again("redis");
}

#[test]
fn the_services_keep_their_promises_on_dynamodb() {
    again("dynamodb");
}
