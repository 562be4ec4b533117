//! The actors of the soak test.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use plexspaces_actor::supervision::{Intensity, Restart, Strategy};
use plexspaces_actor::{
    Address, Application, Behavior, Child, ChildSpec, Description, Factory, Fault, HandlerInfo, HandlerKind, Instance, Limits, Profile,
    Reply, Schedule, Sdk, Spec, SupervisorSpec, Turn, TypeInfo, TypeSpec,
};
use plexspaces_types::{Code as ErrorCode, Failure, Key, Message, Name, Payload};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Map, Value, json};

pub const LEDGERS: u64 = 24;
pub const ECHOES: u64 = 40;
pub const WORKERS: u64 = 60;
pub const KEEPERS: u64 = 400;
pub const TASKS: u64 = 300;
pub const WATCHERS: u64 = 4;
pub const NAPPERS: u64 = 10;
const CHILDREN: u64 = 8;

const WANTED: &str = "a panic that the soak test wants";

/// What the actors themselves count.
#[derive(Default)]
pub struct Tally {
    pub echoed: AtomicU64,
    pub added: AtomicU64,
    pub add_attempts: AtomicU64,
    pub watched: AtomicU64,
    pub downs: AtomicU64,
    pub exits: AtomicU64,
    pub worked: AtomicU64,
    pub fired: AtomicU64,
    /// Timers of actors that leave memory as soon as they may, and those of them that fired.
    pub naps: AtomicU64,
    pub woken: AtomicU64,
    pub crashed: AtomicU64,
    /// Of workers, for actors that know one.
    pub addresses: Mutex<Vec<Address>>,
    /// What an actor was refused, by the error's name.
    pub refused: Mutex<BTreeMap<String, u64>>,
}

fn one(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

pub struct Code {
    description: Description,
    tally: Arc<Tally>,
}

struct Soaked {
    role: String,
    total: u64,
    tally: Arc<Tally>,
    /// Another actor, which may know this one.
    known: Option<Address>,
}

/// Panics on purpose write nothing.
pub fn keep_silent_about_wanted_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref::<&str>() != Some(&WANTED) {
            usual(info);
        }
    }));
}

pub fn name(text: &str) -> Name {
    Name::new("name", text).unwrap()
}

impl Code {
    pub fn new(tally: &Arc<Tally>) -> Self {
        let handler = |operation: &str| HandlerInfo {
            operation: operation.into(),
            kind: HandlerKind::Cast,
            doc: String::new(),
            parameters: Value::Null,
        };
        let info = |role: &str| TypeInfo {
            name: role.into(),
            aliases: Vec::new(),
            class: "Soaked".into(),
            behavior: Behavior::GenServer,
            states: Vec::new(),
            initial: None,
            doc: String::new(),
            facets: Vec::new(),
            handlers: match role {
                "watcher" => vec![handler("__DOWN__")],
                // What a keeper is linked to does not end it.
                "keeper" => vec![handler("__DOWN__"), handler("__EXIT__")],
                _ => Vec::new(),
            },
        };
        let actors = ROLES.iter().map(|(role, _)| info(role)).collect();
        let description = Description { sdk: Sdk { language: "rust".into(), version: "0".into() }, actors };
        Self { description, tally: tally.clone() }
    }
}

const IDLE: Option<Duration> = Some(Duration::from_millis(25));

/// A role, and how its actors live.
type Role = (&'static str, fn() -> Profile);

const ROLES: [Role; 8] = [
    ("echo", || Profile { idle_timeout: IDLE, ..Profile::default() }),
    ("ledger", || Profile { durable: true, idle_timeout: IDLE, ..Profile::default() }),
    ("keeper", || Profile { durable: true, ..Profile::default() }),
    ("worker", || Profile { idle_timeout: IDLE, ..Profile::default() }),
    ("task", || Profile { temporary: true, eager: true, ..Profile::default() }),
    ("napper", || Profile { idle_timeout: IDLE, ..Profile::default() }),
    ("watcher", Profile::default),
    ("child", Profile::default),
];

pub fn application(code: &Arc<Code>) -> Application {
    let limits =
        |profile: Profile| Profile { limits: Limits { turn_time: Duration::from_secs(20), mailbox: 64, ..Limits::default() }, ..profile };
    let types = ROLES.iter().map(|(role, profile)| TypeSpec {
        name: name(role),
        guest_type: (*role).to_owned(),
        aliases: Vec::new(),
        profile: limits(profile()),
    });
    let intensity = Intensity { max_restarts: 1_000_000, window: Duration::from_millis(200) };
    let tree = |kind: &str, strategy| {
        let child = |number: u64| {
            Child::Actor(ChildSpec {
                key: Key::new(&format!("{kind}-{number}")).unwrap(),
                actor_type: name("child"),
                aliases: Vec::new(),
                profile: limits(Profile::default()),
                restart: Restart::Permanent,
                shutdown: Duration::from_millis(200),
            })
        };
        let children = (0..CHILDREN / 2).map(child).collect();
        Child::Supervisor(SupervisorSpec { intensity, strategy, ..SupervisorSpec::new(kind, children) })
    };
    let trees = vec![tree("alone", Strategy::OneForOne), tree("together", Strategy::OneForAll)];
    Application {
        tenant: Name::default_scope(),
        namespace: Name::default_scope(),
        name: name("soak"),
        factory: code.clone(),
        earlier: Vec::new(),
        outbound: None,
        channels: std::collections::BTreeMap::new(),
        types: types.collect(),
        supervisor: SupervisorSpec { intensity, ..SupervisorSpec::new("root", trees) },
    }
}

/// Any actor that works.
pub fn somebody(random: &mut StdRng) -> (&'static str, String) {
    let keyed = |role: &'static str, number: u64| (role, number.to_string());
    match random.random_range(0..10) {
        0 => keyed("echo", random.random_range(0..ECHOES)),
        1 => ("child", format!("{}-{}", ["alone", "together"][random.random_range(0..2)], random.random_range(0..CHILDREN / 2))),
        2..5 => keyed("keeper", random.random_range(0..KEEPERS)),
        5..7 => keyed("task", random.random_range(0..TASKS)),
        _ => keyed("worker", random.random_range(0..WORKERS)),
    }
}

#[async_trait]
impl Factory for Code {
    fn description(&self) -> &Description {
        &self.description
    }

    async fn create(&self, spec: &Spec, turn: Turn) -> Result<(Box<dyn Instance>, Turn), Fault> {
        let config: Value = serde_json::from_str(&spec.config).unwrap();
        if config["args"]["fail"] == true {
            return Err(crash());
        }
        let known = match spec.guest_type.as_str() {
            "worker" | "keeper" => {
                let addresses = self.tally.addresses.lock().unwrap();
                let number: usize = spec.id.key.as_str().parse().unwrap();
                addresses.get((number * 7 + 1) % addresses.len().max(1)).cloned()
            }
            _ => None,
        };
        Ok((Box::new(Soaked { role: spec.guest_type.clone(), total: 0, tally: self.tally.clone(), known }), turn))
    }
}

fn crash() -> Fault {
    Fault::Crashed { failure: Failure::new(ErrorCode::HandlerFailed, "as it was told"), trace: String::new() }
}

impl Soaked {
    /// Does a few things that follow from the seed.
    async fn work(&mut self, random: &mut StdRng, turn: &mut Turn) -> Result<(), Fault> {
        one(&self.tally.worked);
        for _ in 0..random.random_range(1..4) {
            if let Err(failure) = self.step(random, turn).await {
                *self.tally.refused.lock().unwrap().entry(failure.code.name().to_owned()).or_default() += 1;
            }
        }
        match random.random_range(0..40) {
            0 => std::panic::panic_any(WANTED),
            1 | 2 => {
                one(&self.tally.crashed);
                Err(crash())
            }
            _ => Ok(()),
        }
    }

    async fn step(&mut self, random: &mut StdRng, turn: &mut Turn) -> Result<(), Failure> {
        let (role, key) = somebody(random);
        let target = format!("{role}/{key}");
        let seeded = Payload::from_value(&json!({"seed": random.random::<u64>()}));
        match (random.random_range(0..14), &self.known) {
            (0, Some(known)) => turn.tell_at(known, "ping", Payload::empty()).await,
            (0 | 1, _) if role != "echo" => turn.tell(&target, "ping", Payload::empty()).await,
            (2, _) if role != "echo" => turn.ask(&target, "ping", Payload::empty(), Duration::from_millis(50)).await.map(drop),
            // A durable actor's code may run again, and would count again.
            (3, _) if self.role != "keeper" => {
                one(&self.tally.add_attempts);
                let ledger = format!("ledger/{}", random.random_range(0..LEDGERS));
                turn.ask(&ledger, "add", Payload::empty(), Duration::from_secs(10)).await.map(|_| one(&self.tally.added))
            }
            (4, _) => {
                let schedule = Schedule::After(Duration::from_millis(random.random_range(0..40)));
                turn.start_timer(None, schedule, "fired", Payload::empty(), false).await.map(drop)
            }
            (5, _) => {
                let schedule = Schedule::Every(Duration::from_millis(random.random_range(20..200)));
                turn.start_timer(Some("beat"), schedule, "beat", Payload::empty(), false).await.map(drop)
            }
            (6, _) => turn.cancel_timer("beat", false).await.map(drop),
            (7, _) if role != "echo" => turn.monitor(&target).map(drop),
            (8, _) if role != "echo" && role != "child" => turn.link(&target),
            (9, _) => turn.unlink(&target),
            (10, _) => {
                let task = random.random_range(0..TASKS).to_string();
                turn.spawn("task", &task, Map::new()).await.map(drop)
            }
            (11, _) if role == "task" => turn.stop(&target).await.map(drop),
            (12, _) => turn.kv_put("k", "v".repeat(random.random_range(1..200)), None).await,
            (13, _) if self.role == "keeper" => {
                let schedule = Schedule::After(Duration::from_millis(random.random_range(0..100)));
                turn.start_timer(Some("later"), schedule, "fired", seeded, true).await.map(drop)
            }
            _ => {
                tokio::time::sleep(Duration::from_micros(random.random_range(0..2000))).await;
                Ok(())
            }
        }
    }

    /// Spawns a task and watches it while others end it.
    async fn watch(&mut self, random: &mut StdRng, turn: &mut Turn) {
        let task = random.random_range(0..TASKS).to_string();
        let _ = turn.spawn("task", &task, Map::new()).await;
        if turn.monitor(&format!("task/{task}")).is_ok() {
            one(&self.tally.watched);
        }
        if random.random_bool(0.3) {
            let _ = turn.stop(&format!("task/{task}")).await;
        }
    }

    /// Uses what actors share.
    async fn share(&mut self, random: &mut StdRng, turn: &mut Turn) -> Result<(), Failure> {
        let (group, lock) = (format!("g{}", random.random_range(0..5)), format!("l{}", random.random_range(0..5)));
        let value = |value: Value| Payload::from_value(&value);
        match random.random_range(0..4) {
            0 => turn.service("groups", "default", "join", value(json!({"group": group}))).await.map(drop),
            1 => turn.service("groups", "default", "leave", value(json!({"group": group}))).await.map(drop),
            2 => turn.service("groups", "default", "publish", value(json!({"group": group, "payload": 1}))).await.map(drop),
            _ => {
                let wanted = value(json!({"key": lock, "ttl_ms": random.random_range(1..50), "timeout_ms": 5}));
                turn.service("locks", "default", "acquire", wanted).await.map(drop)
            }
        }
    }
}

#[async_trait]
impl Instance for Soaked {
    async fn handle(&mut self, message: &Message, mut turn: Turn, want_state: bool) -> Result<(Reply, Turn), Fault> {
        let arguments: Value = serde_json::from_slice(&message.payload).unwrap_or_default();
        let mut random = StdRng::seed_from_u64(arguments["seed"].as_u64().unwrap_or(7));
        match message.operation.as_str() {
            "echo" => one(&self.tally.echoed),
            "add" => self.total += 1,
            "work" => self.work(&mut random, &mut turn).await?,
            "watch" => self.watch(&mut random, &mut turn).await,
            "nap" => {
                // About as long as it may be idle.
                let schedule = Schedule::After(Duration::from_millis(random.random_range(20..30)));
                turn.start_timer(None, schedule, "woken", Payload::empty(), false).await.map_err(Fault::Rejected)?;
                one(&self.tally.naps);
            }
            "woken" => one(&self.tally.woken),
            "share" => self.share(&mut random, &mut turn).await.map_err(Fault::Rejected)?,
            "__DOWN__" if self.role == "watcher" => one(&self.tally.downs),
            "__EXIT__" => one(&self.tally.exits),
            "fired" | "beat" => one(&self.tally.fired),
            _ => {}
        }
        let state = want_state.then(|| Payload::from_value(&json!(self.total)));
        Ok((Reply { payload: Payload::from_value(&json!(self.total)), state }, turn))
    }

    async fn snapshot(&mut self) -> Result<Payload, Fault> {
        Ok(Payload::from_value(&json!(self.total)))
    }

    async fn restore(&mut self, state: &Payload) -> Result<(), Fault> {
        self.total = serde_json::from_slice(state).unwrap();
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}
