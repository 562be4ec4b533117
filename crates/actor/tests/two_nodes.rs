//! Two nodes on one store, which both believe that they own the same actors. `docs/semantics.md` names these tests.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/scripts.rs"]
mod scripts;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use plexspaces_actor::Target;
use plexspaces_store::{Batch, Error, Limits, Memory, Page, Partition, Range, Store};
use plexspaces_store_remote::{DynamoDb, dynamodb};
use plexspaces_store_sql::{Postgres, Sqlite, postgres, sqlite};
use plexspaces_testkit::servers;
use plexspaces_types::{ActorId, Code, Failure, Name, Payload};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use scripts::{Node, PATIENCE, ctx, until, within};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// A node's way to the store, on which everything takes a while, before and after it is done.
struct Slow {
    store: Arc<dyn Store>,
    random: Mutex<StdRng>,
}

impl Slow {
    fn way(store: &Arc<dyn Store>, seed: u64) -> Arc<Self> {
        Arc::new(Self { store: store.clone(), random: Mutex::new(StdRng::seed_from_u64(seed)) })
    }

    async fn pause(&self) {
        let micros = {
            let mut random = self.random.lock().unwrap();
            if random.random_bool(0.5) { 0 } else { random.random_range(0..4000) }
        };
        if micros > 0 {
            tokio::time::sleep(Duration::from_micros(micros)).await;
        }
    }
}

#[async_trait]
impl Store for Slow {
    fn backend(&self) -> &'static str {
        self.store.backend()
    }
    fn limits(&self) -> &Limits {
        self.store.limits()
    }
    async fn get(&self, partition: &Partition, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.pause().await;
        let found = self.store.get(partition, key).await;
        self.pause().await;
        found
    }
    async fn scan(&self, partition: &Partition, range: Range, limit: usize) -> Result<Page, Error> {
        self.pause().await;
        let found = self.store.scan(partition, range, limit).await;
        self.pause().await;
        found
    }
    async fn commit(&self, batch: Batch) -> Result<(), Error> {
        self.pause().await;
        let done = self.store.commit(batch).await;
        self.pause().await;
        done
    }
}

/// How often the effects of an operation may be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Times {
    Never,
    AtMostOnce,
    Once,
}

impl Times {
    fn allows(self, times: usize) -> bool {
        match self {
            Self::Never => times == 0,
            Self::AtMostOnce => times <= 1,
            Self::Once => times == 1,
        }
    }
}

/// What must be among the notes of which actor.
type Model = Mutex<BTreeMap<(String, u64), Times>>;

fn expect(model: &Model, actor: &str, number: u64, times: Times) {
    model.lock().unwrap().insert((actor.to_owned(), number), times);
}

/// The operation may have happened, unless the actor says that another has taken over.
fn after(outcome: &Result<Value, Failure>) -> Times {
    match outcome {
        Ok(_) => Times::Once,
        Err(failure) => {
            assert!(failure.code.retryable(), "{failure}");
            Times::AtMostOnce
        }
    }
}

/// Asks one node, then the other, until there is an answer.
async fn insist(nodes: &[Node], first: usize, target: &str, operation: &str, payload: &Value, key: &str) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    for time in 0.. {
        let node = &nodes[(first + time) % nodes.len()];
        match node.keyed(target, operation, payload.clone(), Some(key)).await {
            Ok(_) => return,
            Err(failure) => assert!(failure.code.retryable(), "{target} {operation} {failure}"),
        }
        assert!(tokio::time::Instant::now() < deadline, "{target} {operation} never came to an end");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One client's next operation.
async fn operate(nodes: &[Node], number: u64, mut random: StdRng, model: &Model, fenced: &AtomicUsize) {
    let at = random.random_range(0..nodes.len());
    let node = &nodes[at];
    let actor = ["script/a", "script/b"][random.random_range(0..2)];
    let tell = json!({"do": "tell", "target": "script/recorder", "op": "note", "payload": number});
    let note = json!({"do": "note", "payload": number});
    let sleep = json!({"do": "sleep", "ms": random.random_range(1..6)});
    let key = format!("client-request-{number:04}");
    let seen = |outcome: &Result<Value, Failure>| {
        let is_fenced = outcome.as_ref().is_err_and(|failure| failure.code == Code::Fenced);
        fenced.fetch_add(usize::from(is_fenced), Ordering::SeqCst);
        is_fenced
    };
    match random.random_range(0..7) {
        0 => {
            let outcome = node.ask(actor, "note", json!(number)).await;
            let refused = seen(&outcome);
            expect(model, actor, number, if refused { Times::Never } else { after(&outcome) });
        }
        1 => {
            insist(nodes, at, actor, "note", &json!(number), &key).await;
            expect(model, actor, number, Times::Once);
        }
        2 => {
            let outcome = node.ask(actor, "run", json!({"steps": [note, tell]})).await;
            let times = if seen(&outcome) { Times::Never } else { after(&outcome) };
            expect(model, actor, number, times);
            expect(model, "script/recorder", number, times);
        }
        3 => {
            let payload = json!({"steps": [note, sleep, tell]});
            insist(nodes, at, actor, "run", &payload, &key).await;
            expect(model, actor, number, Times::Once);
            expect(model, "script/recorder", number, Times::Once);
        }
        4 => {
            let outcome = node.tell(actor, "note", json!(number)).await.map(|()| Value::Null);
            let refused = seen(&outcome);
            expect(model, actor, number, if refused { Times::Never } else { after(&outcome) });
        }
        5 => {
            let remind = json!({"do": "remind", "name": format!("r{number}"), "ms": 3, "op": "note", "payload": number});
            let outcome = node.ask(actor, "run", json!({"steps": [remind]})).await;
            let times = if seen(&outcome) { Times::Never } else { after(&outcome) };
            expect(model, actor, number, times);
        }
        _ => {
            let flow = format!("run-{number}");
            let ask = json!({"do": "ask", "target": actor, "op": "run", "payload": {"steps": [note]}});
            let steps = Payload::from_value(&json!({"steps": [tell, sleep, ask]}));
            let target = Target { name: "flow", key: Some(&flow) };
            for time in 0.. {
                let started = nodes[(at + time) % nodes.len()].runtime.start_workflow(&ctx(), target, steps.clone(), None).await;
                match started {
                    Ok(_) => break,
                    Err(failure) => assert!(failure.code.retryable() && time < 200, "{failure}"),
                }
            }
            expect(model, "script/recorder", number, Times::Once);
            // The ask that is interrupted gives the run a failure; the run itself does not ask again.
            expect(model, actor, number, Times::AtMostOnce);
        }
    }
}

/// Lets clients of two nodes work on the same actors, and compares what there is in the end with what they were told. How many were told that
/// another activation had taken over.
async fn contend(store: &Arc<dyn Store>, seed: u64, clients: u64, operations: u64) -> usize {
    println!("seed {seed}");
    let nodes = [Node::on(Slow::way(store, seed)).await, Node::on(Slow::way(store, seed + 1)).await];
    let (model, fenced) = (Model::default(), AtomicUsize::new(0));
    let work = (0..clients).map(|client| {
        let (nodes, model, fenced) = (&nodes, &model, &fenced);
        async move {
            for n in 0..operations {
                let number = client * operations + n;
                let random = StdRng::seed_from_u64(seed.wrapping_mul(1000).wrapping_add(number));
                operate(nodes, number, random, model, fenced).await;
            }
        }
    });
    futures::future::join_all(work).await;
    for node in &nodes {
        node.runtime.shutdown(PATIENCE).await;
    }
    // What they have left undone is seen to by whoever comes next.
    let last = Node::on(store.clone()).await;
    let notes = async |actor: &str| last.ask(actor, "notes", json!({})).await.unwrap().as_array().unwrap().clone();
    let model = model.into_inner().unwrap();
    let wrong = async || {
        let mut wrong = Vec::new();
        for actor in ["script/a", "script/b", "script/recorder"] {
            let notes = notes(actor).await;
            for ((_, number), times) in model.iter().filter(|((of, _), _)| of == actor) {
                let found = notes.iter().filter(|note| **note == json!(number)).count();
                if !times.allows(found) {
                    wrong.push(format!("{actor} has {number} {found} times, which should be {times:?}"));
                }
            }
        }
        wrong
    };
    within(PATIENCE, async || wrong().await.is_empty()).await;
    assert_eq!(wrong().await, Vec::<String>::new(), "seed {seed}");
    // What an actor did and what it told of it are one.
    let recorded = notes("script/recorder").await;
    for actor in ["script/a", "script/b"] {
        for note in notes(actor).await {
            let number = note.as_u64().unwrap();
            if let Some(Times::AtMostOnce) = model.get(&("script/recorder".to_owned(), number)) {
                assert!(recorded.contains(&note), "seed {seed}: {actor} has done {number}, and what it told has not arrived");
            }
        }
    }
    // Nothing comes a second time.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(wrong().await, Vec::<String>::new(), "seed {seed}");
    last.runtime.shutdown(Duration::from_secs(5)).await;
    fenced.into_inner()
}

#[tokio::test(start_paused = true)]
async fn two_nodes_on_one_store_count_every_acknowledged_change_once() {
    let mut fenced = 0;
    let own: u64 = rand::random_range(1000..1_000_000);
    for seed in (0..40).chain([own]) {
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        fenced += contend(&store, seed * 10, 6, 8).await;
    }
    println!("{fenced} requests were told that another activation had taken over");
    assert!(fenced > 40, "only {fenced} requests met another activation");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_on_one_file_count_every_acknowledged_change_once() {
    let directory = tempfile::tempdir().unwrap();
    let file = Arc::new(Sqlite::open(sqlite::Config::new(directory.path().join("store.db"))).unwrap());
    let store: Arc<dyn Store> = file.clone();
    let fenced = contend(&store, rand::random_range(0..1_000_000), 6, 12).await;
    assert!(fenced > 0);
    drop(store);
    file.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_on_one_database_count_every_acknowledged_change_once() {
    let server = servers::Postgres::start().unwrap();
    // Each with a handle of its own, as two processes have.
    let handle = || -> Arc<dyn Store> { Arc::new(Postgres::open(&postgres::Config::new(server.url())).unwrap()) };
    let store: Arc<dyn Store> = Arc::new(Two([handle(), handle()], AtomicUsize::new(0)));
    let fenced = contend(&store, rand::random_range(0..1_000_000), 6, 12).await;
    assert!(fenced > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_on_one_table_count_every_acknowledged_change_once() {
    let server = tokio::task::spawn_blocking(|| servers::DynamoDb::start().unwrap()).await.unwrap();
    let handle = || -> Arc<dyn Store> {
        let credentials = dynamodb::Credentials::new("plex", "s3cret", None);
        let config = dynamodb::Config { endpoint: Some(server.url()), ..dynamodb::Config::new("eu-west-1", credentials) };
        Arc::new(DynamoDb::open(&config).unwrap())
    };
    let store: Arc<dyn Store> = Arc::new(Two([handle(), handle()], AtomicUsize::new(0)));
    let fenced = contend(&store, rand::random_range(0..1_000_000), 6, 12).await;
    assert!(fenced > 0);
}

/// Two handles of one database, by turns.
struct Two([Arc<dyn Store>; 2], AtomicUsize);

impl Two {
    fn next(&self) -> &dyn Store {
        &*self.0[self.1.fetch_add(1, Ordering::Relaxed) % 2]
    }
}

#[async_trait]
impl Store for Two {
    fn backend(&self) -> &'static str {
        "two"
    }
    fn limits(&self) -> &Limits {
        self.0[0].limits()
    }
    async fn get(&self, partition: &Partition, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.next().get(partition, key).await
    }
    async fn scan(&self, partition: &Partition, range: Range, limit: usize) -> Result<Page, Error> {
        self.next().scan(partition, range, limit).await
    }
    async fn commit(&self, batch: Batch) -> Result<(), Error> {
        self.next().commit(batch).await
    }
}

/// Holds one commit of one partition until it is let go.
struct Holding {
    store: Arc<dyn Store>,
    partition: Partition,
    left: AtomicUsize,
    held: Semaphore,
    released: Semaphore,
}

impl Holding {
    fn nth(store: &Arc<dyn Store>, actor: &str, nth: usize) -> Arc<Self> {
        let partition = Partition::actor(&ActorId::parse(&Name::default_scope(), actor).unwrap());
        let (held, released) = (Semaphore::new(0), Semaphore::new(0));
        Arc::new(Self { store: store.clone(), partition, left: AtomicUsize::new(nth), held, released })
    }

    /// Waits until the commit is held; false when the work was done without it.
    async fn is_held(&self, work: &mut tokio::task::JoinHandle<Result<Value, Failure>>) -> bool {
        tokio::select! {
            biased;
            permit = self.held.acquire() => { permit.unwrap().forget(); true }
            () = async { while !work.is_finished() { tokio::task::yield_now().await } } => false,
        }
    }

    fn release(&self) {
        self.released.add_permits(1);
    }
}

#[async_trait]
impl Store for Holding {
    fn backend(&self) -> &'static str {
        "holding"
    }
    fn limits(&self) -> &Limits {
        self.store.limits()
    }
    async fn get(&self, partition: &Partition, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.store.get(partition, key).await
    }
    async fn scan(&self, partition: &Partition, range: Range, limit: usize) -> Result<Page, Error> {
        self.store.scan(partition, range, limit).await
    }
    async fn commit(&self, batch: Batch) -> Result<(), Error> {
        if batch.partition == self.partition && self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.held.add_permits(1);
            self.released.acquire().await.unwrap().forget();
        }
        self.store.commit(batch).await
    }
}

/// The commits of the older activation and those of the newer one, in each order in which two of them can meet.
#[tokio::test]
async fn at_each_order_of_two_commits_the_older_is_refused_or_the_newer_knows_of_it() {
    let steps = json!({"steps": [
        {"do": "note", "payload": 1},
        {"do": "tell", "target": "script/recorder", "op": "note", "payload": 1},
        {"do": "sleep", "ms": 2},
        {"do": "tell", "target": "script/recorder", "op": "note", "payload": 2},
        {"do": "sleep", "ms": 2},
        {"do": "note", "payload": 2},
    ]});
    let met = AtomicU64::new(0);
    for (warm, older_first) in [(true, true), (true, false), (false, true), (false, false)] {
        for (of_older, of_newer) in (1..10).flat_map(|older| (1..6).map(move |newer| (older, newer))) {
            let at = format!("commit {of_older} of the older, {of_newer} of the newer, warm: {warm}, the older first: {older_first}");
            let disk: Arc<dyn Store> = Arc::new(Memory::new());
            if !warm {
                let before = Node::on(disk.clone()).await;
                before.ask("script/a", "note", json!(0)).await.unwrap();
            }
            let (one, other) =
                (Holding::nth(&disk, "default/script/a", of_older + usize::from(warm)), Holding::nth(&disk, "default/script/a", of_newer));
            let (older, newer) = (Node::on(one.clone()).await, Arc::new(Node::on(other.clone()).await));
            let older = Arc::new(older);
            if warm {
                older.ask("script/a", "note", json!(0)).await.unwrap();
            }
            let (node, payload) = (older.clone(), steps.clone());
            let mut first = tokio::spawn(async move { node.ask("script/a", "run", payload).await });
            if !one.is_held(&mut first).await {
                assert_eq!(first.await.unwrap(), Ok(json!([null, null, null, null, null, null])), "{at}");
                break;
            }
            let node = newer.clone();
            let mut second = tokio::spawn(async move { node.ask("script/a", "note", json!(100)).await });
            let both = other.is_held(&mut second).await;
            met.fetch_add(u64::from(both), Ordering::Relaxed);
            let (first, second) = if older_first {
                one.release();
                let first = first.await.unwrap();
                other.release();
                (first, second.await.unwrap())
            } else {
                other.release();
                let second = second.await.unwrap();
                one.release();
                (first.await.unwrap(), second)
            };
            for outcome in [&first, &second] {
                let fenced =
                    outcome.as_ref().is_err_and(|failure| failure.code == Code::Fenced && failure.message.contains("has taken over"));
                assert!(outcome.is_ok() || fenced, "{at}: {outcome:?}");
            }
            // The next message to the one that was refused goes to a newer activation of it.
            for node in [&older, &newer] {
                until(&at, async || node.ask("script/a", "note", json!("next")).await.is_ok()).await;
            }
            let last = Node::on(disk).await;
            let notes = last.ask("script/a", "notes", json!({})).await.unwrap();
            let count = |wanted: Value| notes.as_array().unwrap().iter().filter(|note| **note == wanted).count();
            assert_eq!((count(json!(0)), count(json!(100))), (1, usize::from(second.is_ok())), "{at}: {notes}");
            // A turn of which the first part was committed goes on, whoever was told what.
            let begun = first.is_ok() || of_older > 1 || older_first;
            let done = count(json!(1));
            assert!(done == count(json!(2)) && done <= 1 && (done == 1 || !begun || first.is_err()), "{at}: {notes}");
            assert!(first.is_err() || done == 1, "{at}: {notes}");
            let wanted = if done == 1 { json!([1, 2]) } else { json!([]) };
            last.notes("script/recorder", &wanted).await;
        }
    }
    assert!(met.into_inner() > 20, "too few commits met one another");
}

/// A service claims its partition before it reads it.
#[tokio::test]
async fn a_service_that_is_read_anew_misses_no_commit_of_the_one_before() {
    for older_first in [true, false] {
        let disk: Arc<dyn Store> = Arc::new(Memory::new());
        let space = "default/plexspaces.tuples/default";
        let write = |n: u32| json!({"tuple": ["number", n]});
        let (one, other) = (Holding::nth(&disk, space, 2), Holding::nth(&disk, space, 1));
        let (older, newer) = (Arc::new(Node::on(one.clone()).await), Arc::new(Node::on(other.clone()).await));
        older.service("tuples", "default", "write", write(1)).await;
        let mut first = tokio::spawn(async move { service(&older, "write", write(2)).await });
        assert!(one.is_held(&mut first).await);
        let mut second = tokio::spawn(async move { service(&newer, "write", write(3)).await });
        assert!(other.is_held(&mut second).await);
        let first = if older_first {
            one.release();
            let first = first.await.unwrap();
            other.release();
            second.await.unwrap().unwrap();
            first
        } else {
            other.release();
            second.await.unwrap().unwrap();
            one.release();
            first.await.unwrap()
        };
        assert_eq!(first.as_ref().err().map(|failure| failure.code), (!older_first).then_some(Code::Fenced));
        let last = Node::on(disk).await;
        for n in 1..=3 {
            let taken = service(&last, "take", json!({"pattern": ["number", n]})).await.unwrap();
            assert_eq!(taken["tuple"].is_null(), n == 2 && !older_first, "{n}: {taken}");
        }
    }
}

async fn service(node: &Node, operation: &str, payload: Value) -> Result<Value, Failure> {
    let request = plexspaces_actor::Request { operation: operation.into(), payload: Payload::from_value(&payload), idempotency_key: None };
    let reply = node.runtime.ask_service(&ctx(), "tuples", "default", request).await?;
    Ok(serde_json::from_slice(&reply).unwrap())
}
