//! Many workflows that sleep for days: what they cost, and what a start does about them. `docs/semantics.md` names these tests.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/scripts.rs"]
mod scripts;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use plexspaces_actor::{Config, RunStatus, Runtime, Target};
use plexspaces_store::{Batch, Error, Limits, Page, Partition, Range, Store};
use plexspaces_store_sql::{Sqlite, sqlite};
use plexspaces_types::{Clock, Payload};
use scripts::{Node, PATIENCE, Scripts, ctx, durable, name, until, within};
use serde_json::json;

const DUE: usize = 40;
const BESIDE: usize = 64;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// A store that counts what is read of it.
struct Counting {
    store: Arc<Sqlite>,
    read: AtomicUsize,
}

#[async_trait]
impl Store for Counting {
    fn backend(&self) -> &'static str {
        self.store.backend()
    }
    fn limits(&self) -> &Limits {
        self.store.limits()
    }
    async fn get(&self, partition: &Partition, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.read.fetch_add(1, Ordering::SeqCst);
        self.store.get(partition, key).await
    }
    async fn scan(&self, partition: &Partition, range: Range, limit: usize) -> Result<Page, Error> {
        let page = self.store.scan(partition, range, limit).await?;
        self.read.fetch_add(1 + page.entries.len(), Ordering::SeqCst);
        Ok(page)
    }
    async fn commit(&self, batch: Batch) -> Result<(), Error> {
        self.store.commit(batch).await
    }
}

async fn node(store: Arc<Sqlite>, now_ms: u64) -> (Arc<Node>, Arc<Counting>) {
    let code = Scripts::new(1);
    let store = Arc::new(Counting { store, read: AtomicUsize::new(0) });
    let runtime = Runtime::new(Config::new(name("node1"), store.clone(), Clock::manual(now_ms)));
    runtime.deploy(&durable(&code, &[])).await.unwrap();
    (Arc::new(Node { runtime, version: code.version.clone(), handled: code.handled.clone() }), store)
}

/// The process's resident memory in bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Starts the runs with these numbers. A few sleep for a day, the others for ten and more.
async fn start(node: &Arc<Node>, from: usize, to: usize) {
    let starts = (0..BESIDE).map(|part| {
        let node = node.clone();
        tokio::spawn(async move {
            for run in (from + part..to).step_by(BESIDE) {
                let days = if run < DUE { 1 } else { 10 + run as u64 % 20 };
                let steps = json!({"steps": [{"do": "sleep", "ms": days * DAY_MS}, {"do": "note", "payload": "woke"}]});
                let key = run.to_string();
                let target = Target { name: "flow", key: Some(&key) };
                node.runtime.start_workflow(&ctx(), target, Payload::from_value(&steps), None).await.unwrap();
            }
        })
    });
    for start in starts.collect::<Vec<_>>() {
        start.await.unwrap();
    }
}

/// `PLEXSPACES_SLEEPERS` says how many, 10,000 if it does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workflows_that_sleep_for_days_cost_disk_and_a_start_reads_those_that_are_due() {
    let sleepers: usize = std::env::var("PLEXSPACES_SLEEPERS").map_or(10_000, |number| number.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let file = Arc::new(Sqlite::open(sqlite::Config::new(&path)).unwrap());
    let (first, _) = node(file.clone(), DAY_MS).await;
    let began = Instant::now();
    let half = sleepers / 2;
    start(&first, 0, half).await;
    assert!(within(3 * PATIENCE, async || first.runtime.actors() == 0).await, "{} are in memory", first.runtime.actors());
    // The first half has shown how much the process takes for the rush and for pages of the database. The second needs little more, whatever
    // the number: 100,000 that stayed in memory would take more than a gigabyte.
    let before = resident();
    start(&first, half, sleepers).await;
    assert!(within(3 * PATIENCE, async || first.runtime.actors() == 0).await, "{} are in memory", first.runtime.actors());
    let grown = resident().saturating_sub(before);
    println!("{sleepers} workflows took {:?}; the memory has grown by {} KiB with the second half of them", began.elapsed(), grown >> 10);
    assert!(grown < 96 << 20, "{grown} bytes more than with half as many");
    first.runtime.shutdown(Duration::from_secs(5)).await;
    file.close().await.unwrap();
    println!("{} bytes of disk each", std::fs::metadata(&path).unwrap().len() as usize / sleepers);

    let file = Arc::new(Sqlite::open(sqlite::Config::new(&path)).unwrap());
    let began = Instant::now();
    let (second, store) = node(file.clone(), 3 * DAY_MS).await;
    println!("the next start took {:?}", began.elapsed());
    let completed = async |run: usize| {
        let key = run.to_string();
        let run = second.runtime.workflow(&ctx(), Target { name: "flow", key: Some(&key) }).await.unwrap();
        run.status == RunStatus::Completed
    };
    until("those that are due have gone on", async || second.handled.lock().unwrap().len() == DUE).await;
    let read = store.read.load(Ordering::SeqCst);
    println!("{read} rows were read for {DUE} that were due");
    assert!(read < DUE * 40 + 500, "{read} rows were read for {DUE} that were due");
    for run in 0..DUE {
        until("it has ended", async || completed(run).await).await;
        second.notes(&format!("flow/{run}"), &json!(["woke"])).await;
    }
    // A signal brings one back long before its time, and a query looks at it without doing so.
    let handled = || second.handled.lock().unwrap().iter().filter(|operation| *operation == "workflow_run").count();
    let sleeper = format!("flow/{}", sleepers - 1);
    assert_eq!(handled(), DUE);
    assert_eq!(second.ask(&sleeper, "workflow_query:notes", json!({})).await, Ok(json!([])));
    assert_eq!(handled(), DUE);
    second.ask(&sleeper, "workflow_signal:hello", json!({})).await.unwrap();
    assert_eq!(handled(), DUE + 1);
    second.runtime.shutdown(Duration::from_secs(5)).await;
    file.close().await.unwrap();
}
