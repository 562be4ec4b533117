//! Many virtual Python actors of which few are hot, on a node with a memory budget: `cargo bench --workspace --bench virtual_actors`.
//!
//! All of them have lived and are on disk; one in a hundred is asked again and again, in turns alone and while others are woken at random.
//! Two things must hold: memory stays within the budget, and the hot ones do not notice; what waking one costs is printed. Asks read: what
//! is measured is bringing code and state into memory, and not the disk's syncs.
//!
//! Asks of hot actors come from a thread outside of the runtime, as independent callers make them: after gaps of an exponential
//! distribution, and whether or not earlier ones are answered.
//!
//! `PLEXSPACES_BENCH_ACTORS` is the number of actors (100000), `PLEXSPACES_BENCH_SECONDS` the time of each half of each round (8).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use plexspaces_actor::{Application, Budget, Config, Factory as _, Profile, Request, Runtime, SupervisorSpec, Target, TypeSpec};
use plexspaces_store_sql::{Sqlite, sqlite};
use plexspaces_testkit::python;
use plexspaces_types::{Clock, Code, Name, Payload, RequestContext};
use plexspaces_wasm::Engine;
use rand::Rng as _;

/// One in so many is hot.
const HOT_ONE_IN: u64 = 100;

/// What the node may take up for each hot actor. A live Python actor needs about 1.2 MiB, and who is woken must find room.
const BUDGET_FOR_EACH: u64 = 2 << 20;
/// What it takes up without actors: compiled code, the store's cache.
const BUDGET_FOR_ALL: u64 = 256 << 20;

/// Seconds between asks of hot actors on average.
const GAP: f64 = 0.001;

/// How often the hot ones are asked alone and then beside others. A ratio is that of neighbours in time.
const ROUNDS: usize = 5;

/// Tasks that bring all actors to life for the first time.
const MAKERS: u64 = 16;

/// How often an actor is woken.
const WAKE_PERIOD: Duration = Duration::from_millis(20);

const COUNTER: &str = r#""""Counts."""
from plexspaces import actor, handler, state


@actor
class Counter:
    count: int = state(default=0)

    @handler("count")
    def up(self) -> dict:
        self.count += 1
        return {"count": self.count}

    @handler("get")
    def get(self) -> dict:
        return {"count": self.count}
"#;

#[global_allocator]
static ALLOCATOR: plexspaces_node::Allocator = plexspaces_node::Allocator;

#[tokio::main]
async fn main() {
    // A task, as every caller in a node is one: the thread of `main` is none of the runtime's workers.
    tokio::spawn(all()).await.unwrap();
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

async fn all() {
    let actors = number("PLEXSPACES_BENCH_ACTORS", 100_000).max(HOT_ONE_IN);
    let time = Duration::from_secs(number("PLEXSPACES_BENCH_SECONDS", 8));
    let hot = actors / HOT_ONE_IN;
    let budget = BUDGET_FOR_ALL + hot * BUDGET_FOR_EACH;
    let scratch = tempfile::tempdir().unwrap();
    let source = scratch.path().join("counter.py");
    std::fs::write(&source, COUNTER).unwrap();
    let wasm = std::fs::read(python::component(&source).unwrap()).unwrap();

    let instances = u32::try_from(hot * 4).unwrap().clamp(500, 10_000);
    let config = plexspaces_wasm::Config::new(scratch.path().join("compiled"));
    let engine = Engine::new(plexspaces_wasm::Config { instances, ..config }).unwrap();
    let component = engine.load(wasm.into()).await.unwrap();
    let store = Arc::new(Sqlite::open(sqlite::Config::new(scratch.path().join("store.db"))).unwrap());
    let budget_of_node = Budget { memory_bytes: Some(budget), actors: Some(instances as usize * 9 / 10) };
    let kept_of = engine.clone();
    let kept_bytes = Arc::new(move || kept_of.kept_bytes());
    let runtime = Runtime::new(Config { budget: budget_of_node, kept_bytes, ..Config::new(name("node1"), store.clone(), Clock::system()) });
    let guest_type = component.description().actors[0].name.clone();
    let profile = Profile { durable: true, ..Profile::default() };
    runtime.deploy(&application(component, guest_type, profile)).await.unwrap();

    // What compiling took goes back within seconds, and is none of the actors'.
    for _ in 0..300 {
        if resident() < budget / 4 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let most = Arc::new(AtomicU64::new(0));
    let over = Arc::new(AtomicBool::new(false));
    let sampler = tokio::spawn(sample(most.clone(), over.clone()));
    let started = Instant::now();
    live_once(&runtime, actors).await;
    println!("{actors} actors have lived after {:?}; {} are in memory", started.elapsed(), runtime.census().live);

    // They come back first.
    for key in 0..hot {
        ask(&runtime, key).await;
    }
    let (mut alone, mut beside, mut woken, mut ratios) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let before = ask_hot(&runtime, hot, time).await;
        let (after, times) = tokio::join!(ask_hot(&runtime, hot, time), wake(&runtime, hot, actors, time));
        ratios.push(quantile(&after, 990).as_secs_f64() / quantile(&before, 990).as_secs_f64());
        alone.extend(before);
        beside.extend(after);
        woken.extend(times);
    }
    for times in [&mut alone, &mut beside, &mut woken] {
        times.sort_unstable();
    }
    ratios.sort_by(f64::total_cmp);
    over.store(true, Ordering::Relaxed);
    sampler.await.unwrap();

    println!("hot, alone:            {}", quantiles(&alone));
    println!("hot, others are woken: {}", quantiles(&beside));
    println!("p99 of the hot ones: {:.2} times what it is alone (unaffected: at most 1.50), rounds {ratios:.2?}", ratios[ROUNDS / 2]);
    println!("woken:                {}; p99 at most 3 ms", quantiles(&woken));
    let most = most.load(Ordering::Relaxed);
    println!(
        "memory: at most {} MiB of a budget of {} MiB, ratio {:.2} (at most 1.00)",
        most >> 20,
        budget >> 20,
        most as f64 / budget as f64
    );
    runtime.shutdown(Duration::from_secs(60)).await;
    store.close().await.unwrap();
}

fn application(component: Arc<plexspaces_wasm::Component>, guest_type: String, profile: Profile) -> Application {
    Application {
        tenant: name("default"),
        namespace: name("default"),
        name: name("counter"),
        factory: component,
        earlier: Vec::new(),
        outbound: None,
        channels: std::collections::BTreeMap::new(),
        types: vec![TypeSpec { name: name("counter"), guest_type, aliases: Vec::new(), profile }],
        supervisor: SupervisorSpec::new("root", Vec::new()),
    }
}

/// Each counts once, so that there is something of it on disk.
async fn live_once(runtime: &Runtime, actors: u64) {
    let tasks: Vec<_> = (0..MAKERS)
        .map(|part| {
            let runtime = runtime.clone();
            tokio::spawn(async move {
                for key in (part..actors).step_by(MAKERS as usize) {
                    request(&runtime, key, "count").await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// How long asks of the hot actors take from when each was due.
async fn ask_hot(runtime: &Runtime, hot: u64, time: Duration) -> Vec<Duration> {
    let (runtime, here) = (runtime.clone(), tokio::runtime::Handle::current());
    let outside = move || {
        let (mut due, mut asks) = (Instant::now(), Vec::new());
        let until = due + time;
        for turn in 0_u64.. {
            due += Duration::from_secs_f64(-GAP * (1.0 - rand::random::<f64>()).ln());
            if due >= until {
                break;
            }
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let runtime = runtime.clone();
            asks.push(here.spawn(async move {
                ask(&runtime, turn % hot).await;
                due.elapsed()
            }));
        }
        asks
    };
    let mut times = Vec::new();
    for asked in tokio::task::spawn_blocking(outside).await.unwrap() {
        times.push(asked.await.unwrap());
    }
    times.sort_unstable();
    times
}

/// How long the first ask of an actor takes that is not in memory, whenever one is woken.
async fn wake(runtime: &Runtime, hot: u64, actors: u64, time: Duration) -> Vec<Duration> {
    let until = Instant::now() + time;
    let mut ticks = tokio::time::interval(WAKE_PERIOD);
    let mut times = Vec::new();
    while Instant::now() < until {
        ticks.tick().await;
        let key = rand::rng().random_range(hot..actors);
        if runtime.address(&ctx(), &format!("counter/{key}")).unwrap().is_live() {
            continue;
        }
        let started = Instant::now();
        ask(runtime, key).await;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    times
}

/// Looks again and again how much memory is in use.
async fn sample(most: Arc<AtomicU64>, over: Arc<AtomicBool>) {
    while !over.load(Ordering::Relaxed) {
        most.fetch_max(resident(), Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Bytes of memory that are the process's own.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}

async fn ask(runtime: &Runtime, key: u64) {
    request(runtime, key, "get").await;
}

async fn request(runtime: &Runtime, key: u64, operation: &str) {
    loop {
        let request = Request { operation: operation.to_owned(), payload: Payload::empty(), idempotency_key: None };
        match runtime.ask(&ctx(), Target { name: "counter", key: Some(&key.to_string()) }, request).await {
            Ok(_) => return,
            // Others have not left yet: a caller comes again, and the wait is part of the time that it takes.
            Err(failure) if failure.code == Code::Overloaded => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(failure) => panic!("{failure}"),
        }
    }
}

fn ctx() -> RequestContext {
    RequestContext::external(name("default"), name("default"), "bench").with_deadline(Instant::now() + Duration::from_secs(60))
}

fn name(text: &str) -> Name {
    Name::new("name", text).unwrap()
}

fn quantiles(times: &[Duration]) -> String {
    let at = |thousandths| quantile(times, thousandths);
    format!("{} asks, p50 {:?}, p99 {:?}, p99.9 {:?}", times.len(), at(500), at(990), at(999))
}

fn quantile(times: &[Duration], thousandths: usize) -> Duration {
    times.get(times.len() * thousandths / 1000).copied().unwrap_or_default()
}
