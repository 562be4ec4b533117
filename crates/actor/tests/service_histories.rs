//! What actors see of services while they are killed and stopped, give up, and the node is cut off and started anew, recorded and checked:
//! there is one order of all operations in which each has its effect and its reply, and what a durable actor has done stands in it once.
//!
//! Each run has a seed, which a failure prints. `PLEXSPACES_SEED=7` runs one, `PLEXSPACES_HISTORIES=1000` that many; time is simulated.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/scripts.rs"]
mod scripts;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use plexspaces_actor::{Profile, Target};
use plexspaces_store::{Batch, Error, Limits, Memory, Page, Partition, Range, Store};
use plexspaces_testkit::histories::workload::{self, Client, Workload};
use plexspaces_testkit::histories::{Call, History, Judged};
use plexspaces_types::Clock;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use scripts::{Cut, Node, ctx};
use serde_json::{Value, json};

/// How many runs of each kind there are unless more are asked for.
const RUNS: u64 = 20;

const CLIENTS: usize = 4;
const CALLS: usize = 8;

/// How often one operation may be done in all, by turns of which all but one were killed.
const KILLS: usize = 3;

/// How often the node is cut off at the most: the last one is let live.
const CUTS: u64 = 6;

/// When the simulated clock begins.
const BEGIN_MS: u64 = 1_700_000_000_000;

/// How late the end of a lease may be seen: a node that starts then has to come to life first.
const LATE_MS: u64 = 200;

/// How long a client waits before it asks again: the node may be gone.
const PATIENCE: Duration = Duration::from_millis(100);

/// A store that takes its time, and is cut off at one of its commits.
struct Slow {
    cut: Arc<Cut>,
    rng: Mutex<StdRng>,
}

impl Slow {
    async fn take_time(&self) {
        let milliseconds = self.rng.lock().unwrap().random_range(0..3);
        if milliseconds > 0 {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        }
        if self.cut.gone.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl Store for Slow {
    fn backend(&self) -> &'static str {
        "slow"
    }
    fn limits(&self) -> &Limits {
        self.cut.limits()
    }
    async fn get(&self, partition: &Partition, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.take_time().await;
        self.cut.get(partition, key).await
    }
    async fn scan(&self, partition: &Partition, range: Range, limit: usize) -> Result<Page, Error> {
        self.take_time().await;
        self.cut.scan(partition, range, limit).await
    }
    async fn commit(&self, batch: Batch) -> Result<(), Error> {
        self.take_time().await;
        self.cut.commit(batch).await?;
        self.take_time().await;
        Ok(())
    }
}

/// One of the nodes that follow one another.
#[derive(Clone)]
struct Place {
    /// How many there were before it.
    number: u64,
    node: Arc<Node>,
    store: Arc<Cut>,
}

struct World {
    workload: Workload,
    durable: bool,
    seed: u64,
    history: History,
    clock: Clock,
    disk: Arc<Memory>,
    place: Mutex<Option<Place>>,
    /// How often each client's actor was killed.
    kills: [AtomicUsize; CLIENTS],
}

impl World {
    fn rng(&self, stream: u64) -> StdRng {
        StdRng::seed_from_u64(self.seed.wrapping_mul(1000).wrapping_add(stream))
    }

    fn place(&self) -> Place {
        self.place.lock().unwrap().clone().unwrap()
    }

    /// Starts the next node, which is cut off at one of its first commits unless it is the last.
    async fn start(&self, number: u64) {
        let mut rng = self.rng(number.wrapping_add(500));
        // A turn that is not durable commits nothing itself.
        let most = if self.durable { 60 } else { 15 };
        let commits = if number < CUTS { rng.random_range(5..most) } else { usize::MAX };
        let cut = Cut::new(&self.disk, commits, rng.random());
        let store = Arc::new(Slow { cut: cut.clone(), rng: Mutex::new(rng) });
        let profile = Profile { durable: self.durable, ..Profile::default() };
        let node = Arc::new(Node::at(self.clock.clone(), store, profile, None).await);
        *self.place.lock().unwrap() = Some(Place { number, node, store: cut });
    }

    /// Kills and stops actors, and starts the next node when one is gone.
    async fn disturb(self: Arc<Self>) {
        let mut rng = self.rng(900);
        loop {
            tokio::time::sleep(Duration::from_millis(rng.random_range(5..40))).await;
            let Place { number, node, store } = self.place();
            if store.gone.load(Ordering::SeqCst) {
                self.start(number + 1).await;
                continue;
            }
            let number = rng.random_range(0..CLIENTS);
            let key = number.to_string();
            let target = Target { name: "script", key: Some(&key) };
            match rng.random_range(0..10) {
                0..3 => {
                    self.kills[number].fetch_add(1, Ordering::SeqCst);
                    node.runtime.kill_actor(&ctx(), target).unwrap();
                }
                3 => drop(node.runtime.stop_actor(&ctx(), target).unwrap()),
                _ => {}
            }
        }
    }
}

/// What has no result. It leaves with the end of a durable turn, or when the turn waits.
fn is_post(operation: &str) -> bool {
    matches!(operation, "write" | "put" | "send" | "ack" | "nack" | "publish")
}

async fn work(world: Arc<World>, number: usize) {
    let World { workload, history, clock, .. } = &*world;
    let kills = || world.kills[number].load(Ordering::SeqCst);
    let mut client = Client::new(format!("a{number}"), world.rng(number as u64));
    let (look, payload) = match workload.service {
        "kv" => ("get", json!({"key": "a"})),
        "locks" => ("get", json!({"key": "door"})),
        "tuples" => ("count", json!({"pattern": [null]})),
        _ => ("status", json!({})),
    };
    let look = json!({"do": "service", "service": workload.service, "op": look, "payload": payload});
    for call in 0..CALLS {
        tokio::time::sleep(Duration::from_millis(client.rng.random_range(0..6))).await;
        let (operation, arguments) = client.next(workload);
        let steps = json!({"steps": [
            {"do": "service", "service": workload.service, "op": operation, "payload": arguments, "whole": true},
            // What a turn looks at after it has posted comes after what it has posted.
            look,
            {"do": "note", "payload": call},
        ]});
        // A request whose turn was killed is carried out anew when it comes again, whatever the turn has done already.
        let earlier = [(); KILLS].map(|()| history.begin(&client.name, operation, &arguments, clock.now_ms()));
        let killed = kills();
        let begun = history.begin(&client.name, operation, &arguments, clock.now_ms());
        let key = world.durable.then(|| format!("key-{number}-{call}"));
        let gives_up = client.rng.random_bool(0.03);
        let patience = if gives_up { Duration::from_millis(client.rng.random_range(0..20)) } else { PATIENCE };
        for _ in 0..if world.durable && !gives_up { 100 } else { 1 } {
            let place = world.place();
            // A durable turn that was cut off goes on in the next node.
            if !world.durable {
                history.sent(begun, place.number);
            }
            let target = format!("script/{number}");
            let answer = tokio::time::timeout(patience, place.node.keyed(&target, "run", steps.clone(), key.as_deref())).await;
            match answer {
                Ok(Ok(results)) => {
                    client.learn(&arguments, &results[0]);
                    match results[0]["refused"].as_str() {
                        Some(code) => history.end(begun, Err(code.to_owned()), clock.now_ms()),
                        None if world.durable && is_post(operation) => history.done(begun, clock.now_ms()),
                        None => history.end(begun, Ok(results[0].clone()), clock.now_ms()),
                    }
                    break;
                }
                // It was killed or stopped: nobody knows how far it came.
                Ok(Err(failure)) => {
                    assert_eq!(failure.code.name(), "unavailable", "{operation} {arguments}: {failure}");
                    break;
                }
                Err(_) => {}
            }
        }
        let killed = if world.durable { kills() - killed } else { 0 };
        earlier.into_iter().skip(killed).for_each(|begun| history.withdraw(begun));
    }
}

/// Gives the calls of a history, and how many nodes there were.
async fn history(workload: Workload, durable: bool, seed: u64) -> (Vec<Call>, u64) {
    let (clock, disk) = (Clock::manual(BEGIN_MS), Arc::new(Memory::new()));
    let ticking = clock.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
            ticking.advance(1);
        }
    });
    let world = Arc::new(World {
        workload,
        durable,
        seed,
        history: History::default(),
        clock,
        disk,
        place: Mutex::default(),
        kills: Default::default(),
    });
    world.start(0).await;
    let disturbing = tokio::spawn(world.clone().disturb());
    let clients: Vec<_> = (0..CLIENTS).map(|number| tokio::spawn(work(world.clone(), number))).collect();
    for client in clients {
        client.await.unwrap();
    }
    disturbing.abort();
    let nodes = world.place().number + 1;
    world.place().store.gone.store(true, Ordering::SeqCst);
    world.start(u64::MAX).await;
    let node = world.place().node;
    // What a durable actor still has to send or to do is done now, and leases end.
    for number in 0..CLIENTS {
        node.ask(&format!("script/{number}"), "notes", json!({})).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(15)).await;
    let ask = async |operation: &str, arguments: Value| {
        let begun = world.history.begin("auditor", operation, &arguments, world.clock.now_ms());
        world.history.sent(begun, u64::MAX);
        let reply = node.service(workload.service, "default", operation, arguments).await;
        world.history.end(begun, Ok(reply.clone()), world.clock.now_ms());
        reply
    };
    workload::audit(&workload, ask).await;
    (world.history.calls(workload.looks), nodes)
}

fn run(durable: bool) {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let runs = number("PLEXSPACES_HISTORIES").unwrap_or(RUNS);
    let seeds = number("PLEXSPACES_SEED").map_or(0..runs, |seed| seed..seed + 1);
    let (mut known, mut unknown, mut restarts, mut judged) = (0, 0, 0, Judged::default());
    for (seed, workload) in seeds.flat_map(|seed| workload::ALL.map(|workload| (seed, workload))) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let (calls, nodes) = runtime.block_on(history(workload, durable, seed));
        // Nodes that were cut off would wait for ever.
        runtime.shutdown_background();
        let answered = calls.iter().filter(|call| call.certain || call.reply.is_some()).count();
        (known, unknown, restarts) = (known + answered, unknown + calls.len() - answered, restarts + nodes - 1);
        let name = format!("PLEXSPACES_SEED={seed} {}, durable {durable}", workload.service);
        if let Err(why) = judged.add(&name, &workload, &calls, LATE_MS) {
            panic!("{name}: {why}");
        }
    }
    println!("{judged}; {known} calls with an outcome, {unknown} without, {restarts} restarts");
    assert!(judged.is_enough() && known > unknown && restarts > 0, "{judged}");
}

#[test]
fn histories_of_durable_actors_that_use_services_are_linearizable() {
    run(true);
}

#[test]
fn histories_of_plain_actors_that_use_services_are_linearizable() {
    run(false);
}
