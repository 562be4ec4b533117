//! What the actor runtime and durability cost, each against its reference in the same run: `cargo bench --workspace --bench node`.
//!
//! An ask through the runtime is compared with a call of the same instance without mailbox and task; a durable ask with SQLite alone
//! that does to a file of its own what the store's commits did to theirs, batch by batch, see [`sqlite_alone`]. `-- durable` runs only
//! the durable asks of the tiny guest, `-- start` only the last part.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use plexspaces_actor::{
    Application, Config, Factory, Instance, Limits, Profile, Request, Runtime, Spec, SupervisorSpec, Target, Turn, TypeSpec,
};
use plexspaces_app::{Applications, Deploy};
use plexspaces_store::{Batch, Error, Memory, Page, Partition, Precondition, Range, Store, Write};
use plexspaces_store_sql::{Sqlite, sqlite};
use plexspaces_testkit::{GroupSizes, guests, python};
use plexspaces_types::{ActorId, Clock, Key, Message, MessageKind, Name, Payload, RequestContext};
use plexspaces_wasm::{Component, Engine};

const ROUND: Duration = Duration::from_secs(2);
const ROUNDS: usize = 5;
const ACTORS: usize = 10_000;

/// Commits of a round for which there is room when it begins.
const ROOM: usize = 1 << 18;

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

#[global_allocator]
static ALLOCATOR: plexspaces_node::Allocator = plexspaces_node::Allocator;

#[tokio::main]
async fn main() {
    // A task, as every caller in a node is one: the thread of `main` is none of the runtime's workers.
    tokio::spawn(all()).await.unwrap();
}

async fn all() {
    let groups = GroupSizes::install().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let engine = Engine::new(plexspaces_wasm::Config::new(scratch.path().join("compiled"))).unwrap();
    let tiny = engine.load(guests::echo().into()).await.unwrap();
    if only("durable") {
        let bare = warm_ask("tiny", &tiny).await;
        return durable_asks("tiny", &tiny, bare, &groups).await;
    }
    let source = scratch.path().join("counter.py");
    std::fs::write(&source, COUNTER).unwrap();
    let bytes: Bytes = std::fs::read(python::component(&source).unwrap()).unwrap().into();
    let component = engine.load(bytes.clone()).await.unwrap();
    if only("start") {
        return start_up(&engine, bytes, scratch.path()).await;
    }
    for (guest, component) in [("tiny", &tiny), ("Python", &component)] {
        let bare = warm_ask(guest, component).await;
        durable_asks(guest, component, bare, &groups).await;
    }
    start_up(&engine, bytes, scratch.path()).await;
}

fn only(part: &str) -> bool {
    std::env::args().any(|argument| argument == part)
}

/// One actor: the runtime's ask against the bare call, whose time it gives.
async fn warm_ask(guest: &str, component: &Arc<Component>) -> Duration {
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
    direct
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

async fn durable_asks(guest: &str, component: &Arc<Component>, bare: Duration, groups: &GroupSizes) {
    for callers in [1, 16, 256] {
        durable_ask(guest, component, callers, bare, groups).await;
    }
}

/// Many callers, each with a durable actor of its own. The second ratio is against SQLite and the guest's own code without a runtime: as much
/// of both at a time as there are cores and callers, and never two commits.
async fn durable_ask(guest: &str, component: &Arc<Component>, callers: usize, bare: Duration, groups: &GroupSizes) {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(Sqlite::open(sqlite::Config::new(directory.path().join("store.db"))).unwrap());
    let noted = Arc::new(Noted { store: store.clone(), commits: Mutex::new(Vec::with_capacity(ROOM)) });
    let lab = Arc::new(Lab::new(component.clone(), noted.clone(), true).await);
    let plain = plain_file(directory.path());
    let (mut rates, mut ratios, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
    groups.take();
    for round in 0..=ROUNDS {
        let ours = load(&lab, callers).await;
        let (made, commits) = (groups.take(), noted.take());
        let alone = tokio::task::block_in_place(|| sqlite_alone(&plain, &commits, &made));
        if round == 0 {
            // Actors come to life, and the trees grow from nothing.
            continue;
        }
        sizes.push(made.iter().sum::<usize>() as f64 / made.len() as f64);
        // A ratio is that of neighbours in time, so that what the machine does besides meets both.
        ratios.push(ours / alone);
        rates.push((ours, alone));
    }
    let at_a_time = std::thread::available_parallelism().map_or(1, usize::from).min(callers) as f64;
    let with_guest = |(ours, alone): &(f64, f64)| {
        let both = (1.0 / alone + bare.as_secs_f64()) / at_a_time;
        ours * both.max(1.0 / alone)
    };
    let with_guest = rates.iter().map(with_guest).collect();
    let (ours, alone): (Vec<_>, Vec<_>) = rates.into_iter().unzip();
    println!(
        "{guest}: durable ask, {callers:>3} callers: {:>7.0}/s in groups of {:>5.1}, SQLite alone {:>7.0}/s, ratio {:.2} (at least 0.80), \
         SQLite and the guest {:.2}",
        middle(ours),
        middle(sizes),
        middle(alone),
        middle(ratios),
        middle(with_guest)
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

/// A store that notes what is committed to it. Noting is part of the runtime's time.
struct Noted {
    store: Arc<Sqlite>,
    commits: Mutex<Vec<Batch>>,
}

impl Noted {
    fn take(&self) -> Vec<Batch> {
        std::mem::replace(&mut *self.commits.lock().unwrap(), Vec::with_capacity(ROOM))
    }
}

#[async_trait::async_trait]
impl Store for Noted {
    fn backend(&self) -> &'static str {
        self.store.backend()
    }

    fn limits(&self) -> &plexspaces_store::Limits {
        self.store.limits()
    }

    async fn get(&self, partition: &Partition, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.store.get(partition, key).await
    }

    async fn scan(&self, partition: &Partition, range: Range, limit: usize) -> Result<Page, Error> {
        self.store.scan(partition, range, limit).await
    }

    async fn commit(&self, batch: Batch) -> Result<(), Error> {
        self.commits.lock().unwrap().push(batch.clone());
        self.store.commit(batch).await
    }
}

/// A file of SQLite's own with the table and the settings of the store.
fn plain_file(directory: &Path) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(directory.join("plain.db")).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4096; PRAGMA cache_size = -16384; \
             CREATE TABLE entries (partition BLOB NOT NULL, key BLOB NOT NULL, sum INTEGER NOT NULL, value BLOB NOT NULL, \
             PRIMARY KEY (partition, key)) WITHOUT ROWID",
        )
        .unwrap();
    connection
}

/// What SQLite has to do for these commits, and nothing else: it reads what each requires, puts and deletes what each puts and deletes,
/// as many in one synced transaction as the store had in its groups. Commits per second.
///
/// The file has had all earlier commits, so its tree is as large, its pages are as full and the places that a group touches lie as far
/// apart as in the store: each turn adds a row to its own actor's history, a page for almost every turn of a group. Replacing one row of
/// each actor instead would touch a few hot pages, and be several times faster than any store of histories can be.
fn sqlite_alone(connection: &rusqlite::Connection, commits: &[Batch], groups: &[usize]) -> f64 {
    let prepare = |text| connection.prepare(text).unwrap();
    let (mut begin, mut commit) = (prepare("BEGIN IMMEDIATE"), prepare("COMMIT"));
    let mut get = prepare("SELECT sum, value FROM entries WHERE partition = ?1 AND key = ?2");
    let mut put = prepare("REPLACE INTO entries (partition, key, sum, value) VALUES (?1, ?2, ?3, ?4)");
    let mut delete = prepare("DELETE FROM entries WHERE partition = ?1 AND key = ?2");
    let (mut rest, mut sizes, started) = (commits, groups.iter(), Instant::now());
    while !rest.is_empty() {
        let (group, later) = rest.split_at(sizes.next().map_or(rest.len(), |size| *size).min(rest.len()));
        rest = later;
        begin.execute([]).unwrap();
        for batch in group {
            let partition = batch.partition.as_bytes();
            for precondition in &batch.preconditions {
                let (key, expected) = match precondition {
                    Precondition::Absent { key } => (key, None),
                    Precondition::Equals { key, value } => (key, Some(value.as_ref())),
                };
                let mut rows = get.query((partition, key.as_ref())).unwrap();
                let found = rows.next().unwrap();
                assert_eq!(found.map(|row| row.get_ref(1).unwrap().as_blob().unwrap()), expected);
            }
            for write in &batch.writes {
                match write {
                    Write::Put { key, value } => put.execute((partition, key.as_ref(), i64::MAX, value.as_ref())).unwrap(),
                    Write::Delete { key } => delete.execute((partition, key.as_ref())).unwrap(),
                };
            }
        }
        commit.execute([]).unwrap();
    }
    commits.len() as f64 / started.elapsed().as_secs_f64()
}

/// A node's way from nothing to answering, with many durable actors on disk.
async fn start_up(engine: &Engine, wasm: Bytes, scratch: &Path) {
    let path = scratch.join("store.db");
    let config = plexspaces_app::Config {
        components: scratch.join("components"),
        limits: Limits::default(),
        outbound: plexspaces_outbound::Client::new(plexspaces_outbound::Config::default()).unwrap(),
        clock: Clock::system(),
    };
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
            earlier: Vec::new(),
            outbound: None,
            channels: std::collections::BTreeMap::new(),
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

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
