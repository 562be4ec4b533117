//! What restarting a child costs, with few and with many siblings: `cargo bench --workspace --bench supervision`.
//!
//! The reference is the same tree with 1,000 children: the cost of one restart must not grow with the number of siblings. A restart is
//! counted from the crash to the answer of the new incarnation.
//!
//! A thousand children, chosen at random, crash again and again. In the first round a restart also fetches from memory all that there is of the child and
//! that nobody has looked at since its start; with few siblings all of it is still in the processor's caches. That is no work that grows, so it
//! is printed apart; the later rounds say what a restart does.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use plexspaces_actor::supervision::{Intensity, Restart};
use plexspaces_actor::{
    Application, Behavior, Child, ChildSpec, Config, Description, Factory, Fault, Instance, Profile, Reply, Request, Runtime, Sdk, Spec,
    SupervisorSpec, Target, Turn, TypeInfo, TypeSpec,
};
use plexspaces_store::Memory;
use plexspaces_types::{Clock, Code, Failure, Key, Message, Name, Payload, RequestContext};

const KILLED: usize = 1_000;
const FEW: usize = 1_000;
const MANY: usize = 100_000;
const ROUNDS: usize = 5;
/// Failures further apart than this have nothing to do with each other: no restart has to wait.
const WINDOW: Duration = Duration::from_millis(100);

/// Makes actors that crash when they are told to.
struct Fragile {
    description: Description,
    made: AtomicUsize,
}

struct Glass;

#[async_trait]
impl Factory for Fragile {
    fn description(&self) -> &Description {
        &self.description
    }

    async fn create(&self, _: &Spec, turn: Turn) -> Result<(Box<dyn Instance>, Turn), Fault> {
        self.made.fetch_add(1, Ordering::Relaxed);
        Ok((Box::new(Glass), turn))
    }
}

#[async_trait]
impl Instance for Glass {
    async fn handle(&mut self, message: &Message, turn: Turn, _: bool) -> Result<(Reply, Turn), Fault> {
        if message.operation == "crash" {
            return Err(Fault::Crashed { failure: Failure::new(Code::HandlerFailed, "broken"), trace: String::new() });
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
    let few = tokio::spawn(restarts(FEW)).await.unwrap();
    let many = tokio::spawn(restarts(MANY)).await.unwrap();
    let ratio = |many: Duration, few: Duration| many.as_secs_f64() / few.as_secs_f64();
    println!(
        "restart of a child: {:?} with {FEW} siblings, {:?} with {MANY}, ratio {:.2} (does not grow: at most 1.50)",
        few.again,
        many.again,
        ratio(many.again, few.again)
    );
    println!(
        "the first one, with what is far away in memory: {:?} and {:?}, ratio {:.2}",
        few.first,
        many.first,
        ratio(many.first, few.first)
    );
}

/// The median time of one restart.
struct Cost {
    /// In the first round.
    first: Duration,
    /// In the best of the later ones.
    again: Duration,
}

async fn restarts(children: usize) -> Cost {
    let name = |text: &str| Name::new("name", text).unwrap();
    let info = TypeInfo {
        name: "glass".into(),
        aliases: Vec::new(),
        class: "Glass".into(),
        behavior: Behavior::GenServer,
        states: Vec::new(),
        initial: None,
        doc: String::new(),
        facets: Vec::new(),
        handlers: Vec::new(),
    };
    let description = Description { sdk: Sdk { language: "rust".into(), version: "0".into() }, actors: vec![info] };
    let factory = Arc::new(Fragile { description, made: AtomicUsize::new(0) });
    let child = |number: usize| {
        let key = Key::new(&number.to_string()).unwrap();
        let (restart, shutdown) = (Restart::Permanent, Duration::from_secs(5));
        Child::Actor(ChildSpec { key, actor_type: name("glass"), aliases: Vec::new(), profile: Profile::default(), restart, shutdown })
    };
    let intensity = Intensity { max_restarts: 10_000, window: WINDOW };
    let application = Application {
        tenant: name("default"),
        namespace: name("default"),
        name: name("glass"),
        factory: factory.clone(),
        earlier: Vec::new(),
        outbound: None,
        channels: std::collections::BTreeMap::new(),
        types: vec![TypeSpec { name: name("glass"), guest_type: "glass".into(), aliases: Vec::new(), profile: Profile::default() }],
        supervisor: SupervisorSpec { intensity, ..SupervisorSpec::new("root", (0..children).map(child).collect()) },
    };
    let runtime = Runtime::new(Config::new(name("node1"), Arc::new(Memory::new()), Clock::system()));
    let started = Instant::now();
    runtime.deploy(&application).await.unwrap();
    println!("{children} children started in {:?}", started.elapsed());

    let fragile = rand::seq::index::sample(&mut rand::rng(), children, KILLED).into_vec();
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(round(&runtime, &fragile).await);
        tokio::time::sleep(2 * WINDOW).await;
    }
    assert_eq!(factory.made.load(Ordering::Relaxed), children + ROUNDS * KILLED, "somebody else was restarted");
    runtime.shutdown(Duration::from_secs(10)).await;
    Cost { first: rounds[0], again: rounds[1..].iter().copied().min().unwrap() }
}

/// Lets these children crash, one after the other.
async fn round(runtime: &Runtime, fragile: &[usize]) -> Duration {
    let mut times = Vec::new();
    for killed in fragile {
        let key = killed.to_string();
        let started = Instant::now();
        ask(runtime, &key, "crash").await.unwrap_err();
        ask(runtime, &key, "ping").await.unwrap();
        times.push(started.elapsed());
    }
    times.sort_unstable();
    times[KILLED / 2]
}

async fn ask(runtime: &Runtime, key: &str, operation: &str) -> Result<Payload, Failure> {
    let ctx = RequestContext::external(Name::default_scope(), Name::default_scope(), "bench")
        .with_deadline(Instant::now() + Duration::from_secs(30));
    let request = Request { operation: operation.to_owned(), payload: Payload::empty(), idempotency_key: None };
    runtime.ask(&ctx, Target { name: "glass", key: Some(key) }, request).await
}
