//! What the actor runtime and durability cost, each against its reference in the same run: `cargo bench --workspace --bench node`.
//!
//! An ask through the runtime is compared with a call of the same instance without mailbox and task; a durable ask with SQLite alone
//! that commits rows of the same size in groups of as many as there are callers, synced to disk likewise. `-- start` runs only the last part.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use plexspaces_actor::{
    Application, Config, Factory, Instance, Limits, Profile, Request, Runtime, Spec, SupervisorSpec, Target, Turn, TypeSpec,
};
use plexspaces_app::{Applications, Deploy};
use plexspaces_store::{Memory, Store};
use plexspaces_store_sql::{Sqlite, sqlite};
use plexspaces_testkit::{guests, python};
use plexspaces_types::{ActorId, Clock, Key, Message, MessageKind, Name, Payload, RequestContext};
use plexspaces_wasm::{Component, Engine};

const ROUND: Duration = Duration::from_secs(2);
const ROUNDS: usize = 5;
const ACTORS: usize = 10_000;

/// Both guests count with it: the tiny one knows it by this name, the Python one below.
const OPERATION: &str = "count";

const COUNTER: &str = r#""""Counts."""
from plexspaces import actor, handler, state


@actor
class Counter:
    count: int = state(default=0)

    @handler("count")
    def up(self) -> dict:
        self.count += 1
        return {"count": self.count}
"#;

#[tokio::main]
async fn main() {
    // A task, as every caller in a node is one: the thread of `main` is none of the runtime's workers.
    tokio::spawn(all()).await.unwrap();
}

async fn all() {
    let scratch = tempfile::tempdir().unwrap();
    let source = scratch.path().join("counter.py");
    std::fs::write(&source, COUNTER).unwrap();
    let bytes: bytes::Bytes = std::fs::read(python::component(&source).unwrap()).unwrap().into();
    let engine = Engine::new(plexspaces_wasm::Config::new(scratch.path().join("compiled"))).unwrap();
    let component = engine.load(bytes.clone()).await.unwrap();

    if std::env::args().any(|argument| argument == "start") {
        return start_up(&engine, bytes, scratch.path()).await;
    }
    let tiny = engine.load(guests::echo().into()).await.unwrap();
    for (guest, component) in [("tiny", &tiny), ("Python", &component)] {
        warm_ask(guest, component).await;
        for callers in [1, 256] {
            durable_ask(guest, component, callers).await;
        }
    }
    start_up(&engine, bytes, scratch.path()).await;
}

/// One actor: the runtime's ask against the bare call.
async fn warm_ask(guest: &str, component: &Arc<Component>) {
    let lab = Lab::new(component.clone(), Arc::new(Memory::new()), false).await;
    lab.ask("a").await;
    let id = lab.id("bare");
    let guest_type = component.description().actors[0].name.clone();
    let config = format!("{{\"actor_id\": \"{id}\", \"args\": {{}}}}");
    let spec = Spec { id: id.clone(), guest_type, config, limits: Limits::default() };
    let (mut bare, _) = component.create(&spec, Turn::detached(id.clone())).await.unwrap();
    let (mut through, mut direct) = (Vec::new(), Vec::new());
    for _ in 0..20_000 {
        let started = Instant::now();
        lab.ask("a").await;
        through.push(started.elapsed());
        let started = Instant::now();
        call(&mut *bare, &id).await;
        direct.push(started.elapsed());
    }
    let (through, direct) = (median(&mut through), median(&mut direct));
    let added = through.saturating_sub(direct);
    println!("{guest}: ask of a warm actor, p50: runtime {through:?}, bare instance {direct:?}, added {added:?} (at most 10us)");
    lab.runtime.shutdown(Duration::from_secs(10)).await;
}

async fn call(instance: &mut dyn Instance, id: &ActorId) {
    let message = Message {
        operation: OPERATION.to_owned(),
        kind: MessageKind::Call,
        payload: Payload::empty(),
        sender: None,
        idempotency_key: None,
    };
    instance.handle(&message, Turn::detached(id.clone()), false).await.unwrap();
}

/// Many callers, each with a durable actor of its own.
async fn durable_ask(guest: &str, component: &Arc<Component>, callers: usize) {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(Sqlite::open(sqlite::Config::new(directory.path().join("store.db"))).unwrap());
    let lab = Arc::new(Lab::new(component.clone(), store.clone(), true).await);
    for caller in 0..callers {
        lab.ask(&caller.to_string()).await;
    }
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(load(&lab, callers).await);
        plain.push(tokio::task::block_in_place(|| sqlite_alone(directory.path(), callers)));
    }
    ours.sort_by(f64::total_cmp);
    plain.sort_by(f64::total_cmp);
    let (ours, plain) = (ours[ROUNDS / 2], plain[ROUNDS / 2]);
    println!(
        "{guest}: durable ask, {callers:>3} callers: {ours:>7.0}/s, SQLite alone {plain:>7.0}/s, ratio {:.2} (at least 0.80)",
        ours / plain
    );
    lab.runtime.shutdown(Duration::from_secs(10)).await;
    store.close().await.unwrap();
}

async fn load(lab: &Arc<Lab>, callers: usize) -> f64 {
    let done = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let (lab, done) = (lab.clone(), done.clone());
            tokio::spawn(async move {
                let key = caller.to_string();
                while started.elapsed() < ROUND {
                    lab.ask(&key).await;
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    done.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64()
}

/// The rows of a counter's turn, without anything around them.
fn sqlite_alone(directory: &Path, group: usize) -> f64 {
    let path = directory.join("plain.db");
    let mut connection = rusqlite::Connection::open(path).unwrap();
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;").unwrap();
    connection
        .execute_batch("CREATE TABLE IF NOT EXISTS kv (partition BLOB, key BLOB, value BLOB, PRIMARY KEY (partition, key)) WITHOUT ROWID")
        .unwrap();
    let (mut rows, started) = (0_usize, Instant::now());
    while started.elapsed() < ROUND {
        let transaction = connection.transaction().unwrap();
        {
            let mut put = transaction.prepare_cached("INSERT OR REPLACE INTO kv VALUES (?, ?, ?)").unwrap();
            for row in 0..group {
                let partition = format!("default\0default\0actor\0counter\0{row}");
                let value = format!("{:010}{{\"count\":{rows}}}", 0);
                put.execute((partition.as_bytes(), b"b".as_slice(), value.as_bytes())).unwrap();
            }
        }
        transaction.commit().unwrap();
        rows += group;
    }
    rows as f64 / started.elapsed().as_secs_f64()
}

/// A node's way from nothing to answering, with many durable actors on disk.
async fn start_up(engine: &Engine, wasm: bytes::Bytes, scratch: &Path) {
    let path = scratch.join("store.db");
    let config = plexspaces_app::Config { components: scratch.join("components"), limits: Limits::default(), clock: Clock::system() };
    let open = async || {
        let store: Arc<Sqlite> = Arc::new(Sqlite::open(sqlite::Config::new(&path)).unwrap());
        let runtime = Runtime::new(Config::new(name("node1"), store.clone(), Clock::system()));
        let applications = Applications::open(config.clone(), store.clone(), runtime.clone(), engine.clone()).await.unwrap();
        (store, runtime, applications)
    };
    let (store, runtime, applications) = open().await;
    let text = "[app]\nname = \"counter\"\nnamespace = \"default\"\n[types.counter]\nfacets = [{ type = \"durability\" }]\n";
    applications.deploy(&name("default"), Deploy { wasm, config: Some(text.to_owned()), ..Deploy::default() }).await.unwrap();
    let tasks: Vec<_> = (0..64)
        .map(|part| {
            let runtime = runtime.clone();
            tokio::spawn(async move {
                for number in (part..ACTORS).step_by(64) {
                    ask(&runtime, &format!("actor-{number}")).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let (live, memory) = (runtime.actors(), private_memory());
    println!(
        "{live} live Python actors: {:.0} KiB of private memory each, everything counted (at most 1229 KiB)",
        memory as f64 / live as f64
    );
    runtime.shutdown(Duration::from_secs(60)).await;
    store.close().await.unwrap();
    drop((store, runtime, applications));

    let started = Instant::now();
    let (_store, runtime, _applications) = open().await;
    let opened = started.elapsed();
    ask(&runtime, "actor-77").await;
    println!("start with {ACTORS} durable actors on disk: {opened:?} (at most 1 s), first answer after {:?}", started.elapsed());
}

/// Kilobytes that only this process has.
fn private_memory() -> u64 {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let private = rollup.lines().filter(|line| line.starts_with("Private_"));
    private.filter_map(|line| line.split_whitespace().nth(1)).filter_map(|kilobytes| kilobytes.parse::<u64>().ok()).sum()
}

struct Lab {
    runtime: Runtime,
}

impl Lab {
    async fn new(component: Arc<Component>, store: Arc<dyn Store>, durable: bool) -> Self {
        let runtime = Runtime::new(Config::new(name("node1"), store, Clock::system()));
        let guest_type = component.description().actors[0].name.clone();
        let profile = Profile { durable, ..Profile::default() };
        let spec = TypeSpec { name: name("counter"), guest_type, aliases: Vec::new(), profile };
        let application = Application {
            tenant: name("default"),
            namespace: name("default"),
            name: name("counter"),
            factory: component,
            types: vec![spec],
            supervisor: SupervisorSpec::new("root", Vec::new()),
        };
        runtime.deploy(&application).await.unwrap();
        Self { runtime }
    }

    fn id(&self, key: &str) -> ActorId {
        ActorId::new(name("default"), name("default"), name("counter"), Key::new(key).unwrap())
    }

    async fn ask(&self, key: &str) {
        ask(&self.runtime, key).await;
    }
}

async fn ask(runtime: &Runtime, key: &str) {
    let ctx = RequestContext::external(name("default"), name("default"), "bench").with_deadline(Instant::now() + Duration::from_secs(30));
    let request = Request { operation: OPERATION.to_owned(), payload: Payload::empty(), idempotency_key: None };
    runtime.ask(&ctx, Target { name: "counter", key: Some(key) }, request).await.unwrap();
}

fn name(text: &str) -> Name {
    Name::new("name", text).unwrap()
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
