//! What an idle node pays for what it holds: `cargo bench --workspace --bench idle`.
//!
//! The reference is the same node without any of it. Timers that are to fire later must cost no periodic scan, and no turn may pay for what
//! `/metrics` shows of all actors.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use plexspaces_actor::{
    Application, Behavior, Config, Description, Factory, Fault, Instance, Profile, Reply, Request, Runtime, Schedule, Sdk, Spec,
    SupervisorSpec, Target, Turn, TypeInfo, TypeSpec,
};
use plexspaces_store::Memory;
use plexspaces_types::{Clock, Message, Name, Payload, RequestContext};

/// One turn may start so many.
const TIMERS_OF_ONE: usize = 10_000;
const TIMERS: usize = 1_000_000;
const ACTORS: usize = 100_000;
const IDLE: Duration = Duration::from_secs(10);
const ASKS: usize = 200_000;

struct Sleepers(Description);

struct Sleeper;

#[async_trait]
impl Factory for Sleepers {
    fn description(&self) -> &Description {
        &self.0
    }

    async fn create(&self, _: &Spec, turn: Turn) -> Result<(Box<dyn Instance>, Turn), Fault> {
        Ok((Box::new(Sleeper), turn))
    }
}

#[async_trait]
impl Instance for Sleeper {
    async fn handle(&mut self, message: &Message, mut turn: Turn, _: bool) -> Result<(Reply, Turn), Fault> {
        if message.operation == "sleep" {
            for number in 0..TIMERS_OF_ONE {
                // None of them fires while this is measured.
                let after = Duration::from_secs(3600 + number as u64 % 3600);
                let name = number.to_string();
                turn.start_timer(Some(&name), Schedule::After(after), "wake", Payload::empty(), false).await.map_err(Fault::Rejected)?;
            }
        }
        Ok((Reply { payload: Payload::empty(), state: None }, turn))
    }

    async fn snapshot(&mut self) -> Result<Payload, Fault> {
        Ok(Payload::empty())
    }

    async fn restore(&mut self, _: &Payload) -> Result<(), Fault> {
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}

#[tokio::main]
async fn main() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder().unwrap();
    let runtime = deployed().await;
    let none = idle().await;
    let (began, cpu) = (Instant::now(), used());
    for sleeper in 0..TIMERS / TIMERS_OF_ONE {
        ask(&runtime, &format!("sleeper-{sleeper}"), "sleep").await;
    }
    println!("{} timers are pending after {:?}, {:?} of CPU", runtime.census().timers, began.elapsed(), used() - cpu);
    let pending = idle().await;
    println!("CPU of an idle node in {IDLE:?}: {none:?} without timers, {pending:?} with {TIMERS} (no scan: at most 50ms more)");

    let few = asks(&runtime).await;
    for actor in 0..ACTORS {
        ask(&runtime, &actor.to_string(), "begin").await;
    }
    let many = asks(&runtime).await;
    println!("an ask: {few:?} among few actors, {many:?} among {ACTORS}");
    let mut counts = Vec::new();
    for _ in 0..5 {
        let began = Instant::now();
        runtime.count_actors();
        counts.push(began.elapsed());
        // What was counted is shown for a hundred times as long.
        tokio::time::sleep(counts[counts.len() - 1] * 101).await;
    }
    counts.sort_unstable();
    println!(
        "counting {ACTORS} actors for /metrics takes {:?}; it shows {} lines",
        counts[counts.len() / 2],
        recorder.render().lines().count()
    );
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (counted, stopped) = (runtime.clone(), stop.clone());
    let scraper = std::thread::spawn(move || {
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            counted.count_actors();
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let scraped = asks(&runtime).await;
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    scraper.join().unwrap();
    println!("an ask while /metrics is asked for all the time: {scraped:?}, ratio {:.2}", scraped.as_secs_f64() / many.as_secs_f64());
    runtime.shutdown(Duration::from_secs(10)).await;
}

async fn deployed() -> Runtime {
    let name = |text: &str| Name::new("name", text).unwrap();
    let info = TypeInfo {
        name: "sleeper".into(),
        aliases: Vec::new(),
        class: "Sleeper".into(),
        behavior: Behavior::GenServer,
        states: Vec::new(),
        initial: None,
        doc: String::new(),
        facets: Vec::new(),
        handlers: Vec::new(),
    };
    let description = Description { sdk: Sdk { language: "rust".into(), version: "0".into() }, actors: vec![info] };
    let application = Application {
        tenant: name("default"),
        namespace: name("default"),
        name: name("idle"),
        factory: Arc::new(Sleepers(description)),
        earlier: Vec::new(),
        outbound: None,
        channels: std::collections::BTreeMap::new(),
        types: vec![TypeSpec { name: name("sleeper"), guest_type: "sleeper".into(), aliases: Vec::new(), profile: Profile::default() }],
        supervisor: SupervisorSpec::new("root", Vec::new()),
    };
    let runtime = Runtime::new(Config::new(name("node1"), Arc::new(Memory::new()), Clock::system()));
    runtime.deploy(&application).await.unwrap();
    runtime
}

/// The processor's time that passes while nobody does anything.
async fn idle() -> Duration {
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = used();
    tokio::time::sleep(IDLE).await;
    used() - before
}

/// The processor's time of this process until now. Linux counts it in hundredths of a second.
fn used() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // The name before them may hold blanks.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

/// How long one ask of an actor takes, of many one after the other.
async fn asks(runtime: &Runtime) -> Duration {
    let began = Instant::now();
    for _ in 0..ASKS {
        ask(runtime, "asked", "ping").await;
    }
    began.elapsed() / u32::try_from(ASKS).unwrap()
}

async fn ask(runtime: &Runtime, key: &str, operation: &str) {
    let ctx = RequestContext::external(Name::default_scope(), Name::default_scope(), "bench")
        .with_deadline(Instant::now() + Duration::from_secs(60));
    let request = Request { operation: operation.to_owned(), payload: Payload::empty(), idempotency_key: None };
    runtime.ask(&ctx, Target { name: "sleeper", key: Some(key) }, request).await.unwrap();
}
