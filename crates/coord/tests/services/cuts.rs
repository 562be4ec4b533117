//! Nodes that are cut off before and after each commit of a service: what is asked again under its key has happened once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use plexspaces_actor::{Config, Request, Runtime};
use plexspaces_store::{Batch, Error, Limits, Memory, Page, Partition, Range, Store};
use plexspaces_types::{Clock, Name, Payload, RequestContext};
use serde_json::{Value, json};

/// A store that is cut off before or after its nth commit: from then on nothing is heard of it.
struct Cut {
    disk: Memory,
    left: AtomicUsize,
    after: bool,
    gone: AtomicBool,
}

impl Cut {
    fn new(disk: &Memory, commits: usize, after: bool) -> Arc<Self> {
        Arc::new(Self { disk: disk.clone(), left: AtomicUsize::new(commits), after, gone: AtomicBool::new(false) })
    }

    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }

    async fn here(&self) {
        if self.is_gone() {
            std::future::pending::<()>().await;
        }
    }

    /// What is done before the store is gone.
    async fn unless_gone<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let gone = async {
            while !self.is_gone() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            biased;
            done = work => Some(done),
            () = gone => None,
        }
    }
}

#[async_trait]
impl Store for Cut {
    fn backend(&self) -> &'static str {
        "cut"
    }
    fn limits(&self) -> &Limits {
        self.disk.limits()
    }
    async fn get(&self, partition: &Partition, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.here().await;
        self.disk.get(partition, key).await
    }
    async fn scan(&self, partition: &Partition, range: Range, limit: usize) -> Result<Page, Error> {
        self.here().await;
        self.disk.scan(partition, range, limit).await
    }
    async fn commit(&self, batch: Batch) -> Result<(), Error> {
        self.here().await;
        if self.left.fetch_sub(1, Ordering::SeqCst) > 1 {
            return self.disk.commit(batch).await;
        }
        self.gone.store(true, Ordering::SeqCst);
        if self.after {
            self.disk.commit(batch).await?;
        }
        std::future::pending().await
    }
}

fn node(store: Arc<dyn Store>) -> Runtime {
    let config = Config::new(Name::new("node", "node1").unwrap(), store, Clock::manual(1_000_000));
    Runtime::new(Config { services: plexspaces_coord::services(), ..config })
}

/// A service, its name, an operation and its arguments.
type Step = (&'static str, &'static str, &'static str, Value);

async fn ask(node: &Runtime, (service, name, operation, arguments): &Step, key: Option<String>) -> Value {
    let ctx = RequestContext::external(Name::default_scope(), Name::default_scope(), "test");
    let request = Request { operation: (*operation).to_owned(), payload: Payload::from_value(arguments), idempotency_key: key };
    let reply = node.ask_service(&ctx, service, name, request).await.unwrap();
    serde_json::from_slice(reply.as_bytes()).unwrap()
}

/// Each changes something, so that its answer is remembered.
fn program() -> Vec<Step> {
    vec![
        ("tuples", "default", "write", json!({"tuple": ["t", 1]})),
        ("tuples", "default", "write", json!({"tuple": ["t", 2]})),
        ("tuples", "default", "write_once", json!({"pattern": ["u", null], "tuple": ["u", 1]})),
        ("tuples", "default", "take", json!({"pattern": ["t", null]})),
        ("tuples", "default", "replace", json!({"pattern": ["u", null], "tuple": ["u", 2]})),
        ("tuples", "default", "take", json!({"pattern": ["u", null], "lease_ms": 600_000})),
        ("locks", "default", "acquire", json!({"key": "door", "holder": "a", "ttl_ms": 600_000})),
        ("locks", "default", "acquire", json!({"key": "window", "holder": "b", "ttl_ms": 600_000})),
        ("locks", "default", "release", json!({"key": "door", "version": "1"})),
        ("kv", "default", "put", json!({"key": "k", "value": "1"})),
        ("kv", "default", "cas", json!({"key": "k", "expected": "1", "value": "2"})),
        ("channels", "work", "send", json!({"payload": 1, "msg_id": "m1"})),
        ("channels", "work", "send", json!({"payload": 2, "msg_id": "m2"})),
        ("channels", "work", "receive", json!({"visibility_ms": 600_000})),
        ("channels", "work", "ack", json!({"msg_id": "m1"})),
        ("channels", "work", "publish", json!({"payload": 3, "msg_id": "p1"})),
        ("channels", "work", "next", json!({"subscriber": "s"})),
        ("registry", "default", "register", json!({"name": "printer", "target": "default/printer/1"})),
    ]
}

/// What there is in the end.
async fn seen(node: &Runtime) -> Vec<Value> {
    let looks: [Step; 5] = [
        ("tuples", "default", "read_all", json!({"pattern": [null, null]})),
        ("locks", "default", "list", json!({})),
        ("kv", "default", "list", json!({})),
        ("channels", "work", "status", json!({})),
        ("registry", "default", "lookup", json!({"name": "printer"})),
    ];
    let mut seen = Vec::new();
    for look in &looks {
        seen.push(ask(node, look, None).await);
    }
    seen
}

fn key(step: usize) -> Option<String> {
    Some(format!("key-of-step-{step}"))
}

#[tokio::test]
async fn what_is_asked_under_a_key_happens_once_wherever_its_service_is_cut_off() {
    let program = program();
    let undisturbed = node(Arc::new(Memory::new()));
    for (number, step) in program.iter().enumerate() {
        ask(&undisturbed, step, key(number)).await;
    }
    let expected = seen(&undisturbed).await;
    for (cut_at, after) in (1..100).flat_map(|n| [(n, false), (n, true)]) {
        let disk = Memory::new();
        let store = Cut::new(&disk, cut_at, after);
        let first = node(store.clone());
        let mut answers = Vec::new();
        for (number, step) in program.iter().enumerate() {
            let Some(answer) = store.unless_gone(ask(&first, step, key(number))).await else { break };
            answers.push(answer);
        }
        let whole = !store.is_gone();
        let second = node(Arc::new(disk));
        for (number, step) in program.iter().enumerate() {
            let answer = ask(&second, step, key(number)).await;
            assert!(answers.get(number).is_none_or(|first| *first == answer), "cut off at commit {cut_at}, after it: {after}: {step:?}");
        }
        assert_eq!(seen(&second).await, expected, "cut off at commit {cut_at}, after it: {after}");
        if whole {
            assert!(cut_at > program.len(), "only {cut_at} commits");
            return;
        }
    }
    panic!("the program never came to its end");
}

/// Asks everything at once, as far as there is somebody to answer; gives the answers by their keys.
async fn at_once(node: &Runtime, steps: &[Step], store: Option<&Cut>) -> BTreeMap<usize, Value> {
    let answers = Arc::new(Mutex::new(BTreeMap::new()));
    let mut asked = tokio::task::JoinSet::new();
    for (number, step) in steps.iter().enumerate() {
        let (node, step, answers) = (node.clone(), step.clone(), answers.clone());
        asked.spawn(async move {
            let answer = ask(&node, &step, key(number)).await;
            answers.lock().insert(number, answer);
        });
    }
    let all = async { while asked.join_next().await.is_some() {} };
    match store {
        Some(store) => drop(store.unless_gone(all).await),
        None => all.await,
    }
    asked.shutdown().await;
    let answers = answers.lock();
    answers.clone()
}

#[tokio::test]
async fn what_is_asked_at_once_happens_once_wherever_its_service_is_cut_off() {
    const EACH: usize = 8;
    // Half of the takes wait for what is written after them.
    let take: Step = ("tuples", "default", "take", json!({"pattern": ["t", null], "timeout_ms": 600_000}));
    let write = |number: usize| -> Step { ("tuples", "default", "write", json!({"tuple": ["t", number]})) };
    let mut steps = vec![take.clone(); EACH / 2];
    steps.extend((0..EACH).map(write));
    steps.extend(vec![take; EACH / 2]);
    for (cut_at, after) in (1..100).flat_map(|n| [(n, false), (n, true)]) {
        let disk = Memory::new();
        let store = Cut::new(&disk, cut_at, after);
        let before = at_once(&node(store.clone()), &steps, Some(&store)).await;
        let whole = !store.is_gone();
        let second = node(Arc::new(disk));
        let answers = at_once(&second, &steps, None).await;
        for (number, answer) in &before {
            assert_eq!(answers.get(number), Some(answer), "cut off at commit {cut_at}, after it: {after}: {:?}", steps[*number]);
        }
        let taken: BTreeSet<u64> = answers.values().filter_map(|answer| answer["tuple"][1].as_u64()).collect();
        assert_eq!(taken, (0..EACH as u64).collect(), "cut off at commit {cut_at}, after it: {after}");
        let left = ask(&second, &("tuples", "default", "count", json!({"pattern": ["t", null]})), None).await;
        assert_eq!(left["count"], json!(0));
        if whole {
            assert_eq!(before.len(), steps.len());
            return;
        }
    }
    panic!("the requests never came to their end");
}
