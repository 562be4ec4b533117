//! What durable execution costs, each figure against another of the same run: `cargo bench --workspace --bench runs`.
//!
//! The actors are native, so that nothing but the journal is measured; the store is SQLite with its syncs. `-- workflows` runs only that
//! part; the others are `states`, `recovery`, `sleepers` and `reminders`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use plexspaces_actor::{
    Application, Behavior, Config, Description, Factory, Fault, Instance, Profile, Reply, Request, Runtime, Schedule, Sdk, Spec,
    SupervisorSpec, Target, Turn, TypeInfo, TypeSpec,
};
use plexspaces_store::{Memory, Store};
use plexspaces_store_sql::{Sqlite, sqlite};
use plexspaces_types::{Clock, Message, Name, Payload, RequestContext};

/// Turns before a recovery.
const TURNS: usize = 10_000;

/// Pairs that each of those turns writes.
const PUTS: usize = 3;

/// Turns at each size of the state: enough for the largest to be kept in between.
const GROWN: usize = 20_000;

/// Steps of a workflow, and how many run one after the other and side by side.
const STEPS: usize = 10;
const RUNS: usize = 200;
const BESIDE: usize = 64;

/// Workflows that sleep, for how long, and how many are started side by side. `SLEEPERS` in the environment says another number.
const SLEEPERS: usize = 100_000;
const DAYS_MS: u64 = 10 * 24 * 60 * 60 * 1000;
const STARTERS: usize = 256;

/// Reminders that one actor starts at once, and actors that do.
const AT_ONCE: usize = 500;
const REMINDED: usize = 100;

/// Does what its operation says.
struct Worker {
    state: Vec<u8>,
}

struct Workers(Description);

#[async_trait]
impl Factory for Workers {
    fn description(&self) -> &Description {
        &self.0
    }

    async fn create(&self, _: &Spec, turn: Turn) -> Result<(Box<dyn Instance>, Turn), Fault> {
        Ok((Box::new(Worker { state: b"0".to_vec() }), turn))
    }
}

#[async_trait]
impl Instance for Worker {
    async fn handle(&mut self, message: &Message, mut turn: Turn, want_state: bool) -> Result<(Reply, Turn), Fault> {
        match message.operation.as_str() {
            "grow" => self.state = vec![b'x'; String::from_utf8_lossy(message.payload.as_bytes()).parse().unwrap()],
            "put" => {
                for n in 0..PUTS {
                    turn.kv_put(&format!("key-{n}"), "value".to_owned(), None).await.map_err(Fault::Rejected)?;
                }
            }
            "workflow_run" if message.payload.as_bytes() == b"sleep" => {
                let until = turn.now_ms() + DAYS_MS;
                turn.sleep_until(until).await.map_err(Fault::Rejected)?;
            }
            "remind" => {
                let in_ms: u64 = String::from_utf8_lossy(message.payload.as_bytes()).parse().unwrap();
                for n in 0..AT_ONCE {
                    let (name, when) = (format!("{in_ms}-{n}"), Schedule::After(Duration::from_millis(in_ms)));
                    turn.start_timer(Some(&name), when, "change", Payload::empty(), true).await.map_err(Fault::Rejected)?;
                }
            }
            "workflow_run" => {
                for _ in 0..STEPS {
                    turn.ask("server/one", "change", Payload::empty(), Duration::from_secs(30)).await.map_err(Fault::Rejected)?;
                }
            }
            _ => self.state[0] = self.state[0].wrapping_add(1),
        }
        let state = want_state.then(|| Payload::Bytes(self.state.clone().into()));
        Ok((Reply { payload: Payload::empty(), state }, turn))
    }

    async fn snapshot(&mut self) -> Result<Payload, Fault> {
        Ok(Payload::Bytes(self.state.clone().into()))
    }

    async fn restore(&mut self, state: &Payload) -> Result<(), Fault> {
        self.state = state.as_bytes().to_vec();
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        self.state.len()
    }
}

fn name(text: &str) -> Name {
    Name::new("name", text).unwrap()
}

/// A node with durable workers and workflows, and a server that stores nothing.
async fn node(store: Arc<dyn Store>, interval: Option<u64>, durable: bool) -> Runtime {
    let info = |name: &str, behavior| TypeInfo {
        name: name.into(),
        aliases: Vec::new(),
        class: String::new(),
        behavior,
        states: Vec::new(),
        initial: None,
        doc: String::new(),
        facets: Vec::new(),
        handlers: Vec::new(),
    };
    let actors = vec![info("worker", Behavior::GenServer), info("server", Behavior::GenServer), info("flow", Behavior::Workflow)];
    let mut profile = Profile { durable, ..Profile::default() };
    profile.keeping.interval = interval;
    let spec = |text: &str, profile: &Profile| TypeSpec {
        name: name(text),
        guest_type: text.into(),
        aliases: Vec::new(),
        profile: profile.clone(),
    };
    let application = Application {
        tenant: name("default"),
        namespace: name("default"),
        name: name("bench"),
        factory: Arc::new(Workers(Description { sdk: Sdk { language: "rust".into(), version: "0".into() }, actors })),
        earlier: Vec::new(),
        outbound: None,
        channels: std::collections::BTreeMap::new(),
        types: vec![spec("worker", &profile), spec("server", &Profile::default()), spec("flow", &profile)],
        supervisor: SupervisorSpec::new("root", Vec::new()),
    };
    let runtime = Runtime::new(Config::new(name("node1"), store, Clock::system()));
    runtime.deploy(&application).await.unwrap();
    runtime
}

async fn ask(runtime: &Runtime, target: &str, operation: &str, payload: &str) -> Duration {
    let ctx = RequestContext::external(name("default"), name("default"), "bench").with_deadline(Instant::now() + Duration::from_secs(60));
    let payload = Payload::Json(payload.to_owned());
    let request = Request { operation: operation.to_owned(), payload, idempotency_key: None };
    let (kind, key) = target.split_once('/').unwrap();
    let started = Instant::now();
    runtime.ask(&ctx, Target { name: kind, key: Some(key) }, request).await.unwrap();
    started.elapsed()
}

fn open(path: &Path) -> Arc<Sqlite> {
    Arc::new(Sqlite::open(sqlite::Config::new(path)).unwrap())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[global_allocator]
static ALLOCATOR: plexspaces_node::Allocator = plexspaces_node::Allocator;

#[tokio::main]
async fn main() {
    tokio::spawn(async {
        let scratch = tempfile::tempdir().unwrap();
        let parts: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
        let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
        if wanted("states") {
            growing_states(scratch.path()).await;
        }
        if wanted("recovery") {
            recovery(scratch.path()).await;
        }
        if wanted("workflows") {
            workflows(scratch.path()).await;
        }
        if wanted("sleepers") {
            sleepers(scratch.path()).await;
        }
        if wanted("reminders") {
            reminders(scratch.path()).await;
        }
    })
    .await
    .unwrap();
}

/// The cost of a turn does not grow with the state: it is kept when the journal outweighs it.
async fn growing_states(scratch: &Path) {
    println!("a turn of one durable actor while its state grows ({GROWN} turns at each size, kept when the journal outweighs it)");
    let store = open(&scratch.join("grown.db"));
    let runtime = node(store.clone(), None, true).await;
    let mut least = None;
    for size in [10 << 10, 1 << 20, 10 << 20] {
        ask(&runtime, "worker/grown", "grow", &size.to_string()).await;
        let mut times = Vec::with_capacity(GROWN);
        for _ in 0..GROWN {
            times.push(ask(&runtime, "worker/grown", "change", "{}").await);
        }
        let mean = times.iter().sum::<Duration>() / u32::try_from(GROWN).unwrap();
        let ratio = mean.as_secs_f64() / least.get_or_insert(mean).as_secs_f64();
        println!("  {:>6} KiB: mean {mean:?}, p50 {:?}, {ratio:.2} times the smallest", size >> 10, median(&mut times));
    }
    runtime.shutdown(Duration::from_secs(60)).await;
    store.close().await.unwrap();
}

/// How long an actor with many turns behind it takes to its first answer.
async fn recovery(scratch: &Path) {
    println!("recovery of an actor after {TURNS} turns with {PUTS} calls each");
    let mut without = None;
    for (label, interval) in [("without kept states", Some(1_000_000)), ("kept every 100 turns", Some(100)), ("kept as needed", None)] {
        let path = scratch.join(format!("{}.db", label.replace(' ', "-")));
        let store = open(&path);
        let runtime = node(store.clone(), interval, true).await;
        for _ in 0..TURNS {
            ask(&runtime, "worker/old", "put", "{}").await;
        }
        // As after a crash: the state is not kept on the way out.
        drop(runtime);
        let runtime = node(store.clone(), interval, true).await;
        let took = ask(&runtime, "worker/old", "change", "{}").await;
        let reference = *without.get_or_insert(took);
        let saved = 100.0 * (1.0 - took.as_secs_f64() / reference.as_secs_f64());
        print!("  {label}: {took:?}");
        if took == reference {
            // A begin, an end, and the calls.
            println!(", {:.0} entries a second", ((PUTS + 2) * TURNS) as f64 / took.as_secs_f64());
        } else {
            println!(", {saved:.1} % less");
        }
        runtime.shutdown(Duration::from_secs(60)).await;
        store.close().await.unwrap();
    }
}

/// Workflows whose steps each ask an actor that stores nothing.
async fn workflows(scratch: &Path) {
    println!("a workflow of {STEPS} steps");
    let mut volatile = None;
    for label in ["not durable", "durable in memory", "durable on SQLite"] {
        let sqlite = (label == "durable on SQLite").then(|| open(&scratch.join("flows.db")));
        let store: Arc<dyn Store> = match &sqlite {
            Some(sqlite) => sqlite.clone(),
            None => Arc::new(Memory::new()),
        };
        let runtime = node(store, None, label != "not durable").await;
        let mut times = Vec::new();
        for run in 0..RUNS {
            times.push(ask(&runtime, &format!("flow/{run}"), "workflow_run", "{}").await);
        }
        let p50 = median(&mut times);
        let started = Instant::now();
        let beside: Vec<_> = (0..BESIDE)
            .map(|part| {
                let runtime = runtime.clone();
                tokio::spawn(async move {
                    for run in 0..RUNS / 10 {
                        ask(&runtime, &format!("flow/beside-{part}-{run}"), "workflow_run", "{}").await;
                    }
                })
            })
            .collect();
        for task in beside {
            task.await.unwrap();
        }
        let rate = (BESIDE * (RUNS / 10) * STEPS) as f64 / started.elapsed().as_secs_f64();
        let steps = u32::try_from(STEPS).unwrap();
        let overhead = p50.saturating_sub(*volatile.get_or_insert(p50)) / steps;
        println!(
            "  {label}: p50 {p50:?}, {overhead:?} a step more than without a journal; {rate:.0} steps a second with {BESIDE} side by side"
        );
        runtime.shutdown(Duration::from_secs(60)).await;
        if let Some(sqlite) = sqlite {
            sqlite.close().await.unwrap();
        }
    }
}

/// The process's resident memory in bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Starts every so-manieth of a row of workflows that sleep, and says how many were in memory at most.
async fn start(runtime: Runtime, from: usize, to: usize) -> usize {
    let mut most = 0;
    for run in (from..to).step_by(STARTERS) {
        let ctx = RequestContext::external(name("default"), name("default"), "bench");
        let key = run.to_string();
        let target = Target { name: "flow", key: Some(&key) };
        runtime.start_workflow(&ctx, target, Payload::Json("sleep".to_owned()), None).await.unwrap();
        if run % 1000 == 0 {
            most = most.max(runtime.actors());
        }
    }
    most
}

/// What workflows cost that sleep for days: memory, disk, and the next start.
async fn sleepers(scratch: &Path) {
    let count: usize = std::env::var("SLEEPERS").map_or(SLEEPERS, |count| count.parse().unwrap());
    println!("{count} workflows that sleep for days");
    let path = scratch.join("sleepers.db");
    let store = open(&path);
    let runtime = node(store.clone(), None, true).await;
    // The first half shows what the process takes for the rush and for pages of the database.
    let mut before = resident();
    for (from, to) in [(0, count / 2), (count / 2, count)] {
        let started = Instant::now();
        let starters: Vec<_> = (0..STARTERS).map(|part| tokio::spawn(start(runtime.clone(), from + part, to))).collect();
        let mut most = 0;
        for starter in starters {
            most = most.max(starter.await.unwrap());
        }
        let rate = (to - from) as f64 / started.elapsed().as_secs_f64();
        while runtime.actors() > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let took = started.elapsed();
        // What looks after a run that is under way is in the timing wheel for a minute.
        tokio::time::sleep(Duration::from_secs(62)).await;
        let (grown, half) = (resident().saturating_sub(before), to - from);
        println!(
            "  {half} more: {rate:.0} started a second, about {most} in memory at most, all asleep after {took:?}; {} KiB of resident memory \
             more, {} bytes each",
            grown >> 10,
            grown / half
        );
        before = resident();
    }
    runtime.shutdown(Duration::from_secs(60)).await;
    store.close().await.unwrap();
    println!("  {} bytes of disk each", std::fs::metadata(&path).unwrap().len() / count as u64);
    let started = Instant::now();
    let store = open(&path);
    let runtime = node(store.clone(), None, true).await;
    let first = ask(&runtime, "worker/one", "change", "{}").await;
    println!("  the next start takes {:?}, the first answer of it included ({first:?})", started.elapsed());
    tokio::time::sleep(Duration::from_secs(1)).await;
    println!("  a second later {} of them are in memory", runtime.actors() - 1);
    runtime.shutdown(Duration::from_secs(60)).await;
    store.close().await.unwrap();
}

/// What a pending reminder costs in memory: one that is due within ten minutes, which is in the timing wheel, and one that is due later.
async fn reminders(scratch: &Path) {
    println!("pending reminders of {REMINDED} actors, {AT_ONCE} each");
    let store = open(&scratch.join("reminders.db"));
    let runtime = node(store.clone(), None, true).await;
    for actor in 0..REMINDED {
        ask(&runtime, &format!("worker/{actor}"), "change", "{}").await;
    }
    for (label, in_ms) in [("due in days", DAYS_MS), ("due in nine minutes", 9 * 60 * 1000)] {
        let before = resident();
        for actor in 0..REMINDED {
            ask(&runtime, &format!("worker/{actor}"), "remind", &in_ms.to_string()).await;
        }
        let each = resident().saturating_sub(before) / (REMINDED * AT_ONCE);
        println!("  {label}: {each} bytes of resident memory each");
    }
    runtime.shutdown(Duration::from_secs(60)).await;
    store.close().await.unwrap();
}
