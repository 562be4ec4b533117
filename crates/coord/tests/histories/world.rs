//! A node that fails and is started anew, over a store that is slow and fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use plexspaces_actor::{Config, Request, Runtime};
use plexspaces_store::{Batch, Error, Limits, Memory, Page, Partition, Range, Store};
use plexspaces_testkit::histories::workload::Workload;
use plexspaces_testkit::histories::{Begun, History};
use plexspaces_types::{Clock, Code, Failure, Name, Payload, RequestContext};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;

/// When the simulated clock begins.
const BEGIN_MS: u64 = 1_700_000_000_000;

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) workload: Workload,
    pub(crate) seed: u64,
    pub(crate) history: History,
    clock: Clock,
    disk: Memory,
    node: Arc<Mutex<Node>>,
}

#[derive(Clone)]
struct Node {
    /// How many there were before it.
    number: u64,
    runtime: Runtime,
    store: Arc<Faulty>,
}

impl World {
    pub(crate) fn new(workload: Workload, seed: u64) -> Self {
        let (clock, disk) = (Clock::manual(BEGIN_MS), Memory::new());
        let ticking = clock.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(1)).await;
                ticking.advance(1);
            }
        });
        let node = Node::start(0, &disk, &clock, seed, true);
        Self { workload, seed, history: History::default(), clock, disk, node: Arc::new(Mutex::new(node)) }
    }

    pub(crate) fn rng(&self, stream: u64) -> StdRng {
        StdRng::seed_from_u64(self.seed.wrapping_mul(1000).wrapping_add(stream))
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Cuts the node off again and again, and starts another on what is stored.
    pub(crate) async fn fail(self) {
        let mut rng = self.rng(900);
        for start in 0.. {
            tokio::time::sleep(Duration::from_millis(rng.random_range(5..60))).await;
            self.restart(start, true);
        }
    }

    /// Starts a node that does not fail.
    pub(crate) async fn end(&self) {
        // What was under way when a node was cut off comes to its end.
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.restart(u64::MAX / 2, false);
    }

    fn restart(&self, start: u64, fails: bool) {
        let mut node = self.node.lock();
        node.store.gone.store(true, Ordering::SeqCst);
        *node = Node::start(node.number + 1, &self.disk, &self.clock, self.seed.wrapping_add(start.wrapping_mul(7919)), fails);
    }

    /// Asks the node that is there at the moment, and waits so long besides what the request waits inside the service.
    pub(crate) async fn ask(
        &self,
        begun: Begun,
        operation: &str,
        arguments: &Value,
        key: Option<String>,
        patience: Duration,
    ) -> Result<Value, Failure> {
        let Node { number, runtime, .. } = self.node.lock().clone();
        self.history.sent(begun, number);
        let wait = Duration::from_millis(arguments.get("timeout_ms").and_then(Value::as_u64).unwrap_or(0));
        let deadline = (tokio::time::Instant::now() + wait + patience).into_std();
        let scope = Name::default_scope();
        let ctx = RequestContext::external(scope.clone(), scope, "test").with_deadline(deadline);
        let request = Request { operation: operation.to_owned(), payload: Payload::from_value(arguments), idempotency_key: key };
        // A node that was cut off may never answer.
        let asked = runtime.ask_service(&ctx, self.workload.service, "default", request);
        let answer = tokio::time::timeout_at(deadline.into(), asked).await;
        let reply = answer.unwrap_or_else(|_| Err(Failure::new(Code::DeadlineExceeded, "the node did not answer")))?;
        Ok(serde_json::from_slice(reply.as_bytes()).unwrap())
    }
}

impl Node {
    fn start(number: u64, disk: &Memory, clock: &Clock, seed: u64, fails: bool) -> Self {
        let rng = Mutex::new(StdRng::seed_from_u64(seed));
        let store = Arc::new(Faulty { disk: disk.clone(), rng, fails, gone: AtomicBool::new(false) });
        let config = Config::new(Name::new("node", "node1").unwrap(), store.clone(), clock.clone());
        Self { number, runtime: Runtime::new(Config { services: plexspaces_coord::services(), ..config }), store }
    }
}

/// A store that takes its time and sometimes fails, with or without having done what it was asked to.
struct Faulty {
    disk: Memory,
    rng: Mutex<StdRng>,
    fails: bool,
    /// The node is gone: nothing more reaches the store but what is on its way.
    gone: AtomicBool,
}

impl Faulty {
    async fn here(&self) {
        if self.gone.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }

    async fn take_time(&self) {
        let milliseconds = self.rng.lock().random_range(0..4);
        if milliseconds > 0 {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        }
    }

    fn happens(&self, probability: f64) -> bool {
        self.fails && self.rng.lock().random_bool(probability)
    }
}

#[async_trait]
impl Store for Faulty {
    fn backend(&self) -> &'static str {
        "faulty"
    }
    fn limits(&self) -> &Limits {
        self.disk.limits()
    }
    async fn get(&self, partition: &Partition, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.here().await;
        self.take_time().await;
        self.disk.get(partition, key).await
    }
    async fn scan(&self, partition: &Partition, range: Range, limit: usize) -> Result<Page, Error> {
        self.here().await;
        // Short pages, so that commits come in between.
        let page = self.disk.scan(partition, range, limit.min(3)).await;
        self.take_time().await;
        page
    }
    async fn commit(&self, batch: Batch) -> Result<(), Error> {
        self.here().await;
        self.take_time().await;
        if self.happens(0.03) {
            return Err(Error::Unavailable("not now".to_owned()));
        }
        self.disk.commit(batch).await?;
        if self.happens(0.03) {
            return Err(Error::Unknown("the connection broke".to_owned()));
        }
        self.take_time().await;
        // The answer of one that is gone is never heard.
        self.here().await;
        Ok(())
    }
}
