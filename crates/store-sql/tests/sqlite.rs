//! SQLite passes the suite.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use plexspaces_store::conformance::{Fixture, partition, put, scan_all};
use plexspaces_store::{Error, Range, Store};
use plexspaces_store_sql::Sqlite;
use plexspaces_store_sql::sqlite::Config;
use rusqlite::Connection;
use tempfile::TempDir;

struct InDirectory(TempDir);

impl Fixture for InDirectory {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(Sqlite::open(Config { verify: true, ..Config::new(self.0.path().join("store.db")) }).unwrap())
    }
}

plexspaces_store::conformance!(durable InDirectory(TempDir::new().unwrap()));

/// A lone caller that commits one after the other finds the store calm, so it is the one to write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_lone_caller_was_acknowledged_before_the_end_is_kept() {
    let directory = TempDir::new().unwrap();
    for round in 0..20_u32 {
        let config = Config::new(directory.path().join("store.db"));
        let store = Arc::new(Sqlite::open(config.clone()).unwrap());
        let here = partition(&format!("round{round}"));
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let caller = tokio::spawn({
            let (store, here) = (Arc::clone(&store), here.clone());
            async move {
                let (mut acknowledged, mut begun) = (0_usize, Some(begun));
                loop {
                    match put(&*store, &here, acknowledged.to_be_bytes().to_vec(), "v").await {
                        Ok(()) => acknowledged += 1,
                        Err(Error::Unavailable(_)) => return acknowledged,
                        Err(error) => panic!("{error}"),
                    }
                    if let Some(begun) = begun.take_if(|_| acknowledged > 5) {
                        begun.send(()).unwrap();
                    }
                }
            }
        });
        has_begun.await.unwrap();
        store.close().await.unwrap();
        let acknowledged = caller.await.unwrap();
        let store = Sqlite::open(config).unwrap();
        assert_eq!(scan_all(&store, &here, Range::all(), 1_000).await.len(), acknowledged);
    }
}

#[tokio::test]
async fn the_only_thread_of_a_runtime_is_not_blocked() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store.db");
    let store = Sqlite::open(Config::new(&path)).unwrap();
    let other = Connection::open(&path).unwrap();
    for n in 0..50_u8 {
        let here = partition("here");
        // While another has the file nothing is written, by whichever thread.
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut commit = pin!(put(&store, &here, vec![n], "v"));
        assert!(commit.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        other.execute_batch("ROLLBACK").unwrap();
        commit.await.unwrap();
    }
}
