//! What clients see of services while clients, nodes and stores fail, recorded and checked: there is one order of all operations in which
//! each has the effect and the reply that `docs/services.md` says, and each stands in it between its beginning and its end.
//!
//! Each run has a seed, which a failure prints. `PLEXSPACES_SEED=7` runs one, `PLEXSPACES_HISTORIES=1000` that many; time is simulated,
//! so that a seed gives the same run again but for random numbers that are not the test's.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod clients;
mod world;

use plexspaces_testkit::histories::workload::{self, Workload};
use plexspaces_testkit::histories::{Call, Judged};
use world::World;

/// How many runs of each kind there are unless more are asked for.
const RUNS: u64 = 30;

const CLIENTS: usize = 4;
const CALLS: usize = 8;

/// How late the end of a lease may be seen: a node that starts then has to come to life first.
const LATE_MS: u64 = 100;

fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    number("PLEXSPACES_SEED").map_or_else(|| (0..number("PLEXSPACES_HISTORIES").unwrap_or(RUNS)).collect(), |seed| vec![seed])
}

/// Runs one history after the other, each in a runtime of its own in which time is simulated, and judges them.
fn run(workload: Workload) {
    let (mut known, mut unknown, mut judged) = (0, 0, Judged::default());
    for seed in seeds() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let calls = runtime.block_on(history(workload, seed));
        // Nodes that were cut off would wait for ever.
        runtime.shutdown_background();
        known += calls.iter().filter(|call| call.reply.is_some()).count();
        unknown += calls.iter().filter(|call| call.reply.is_none()).count();
        let name = format!("PLEXSPACES_SEED={seed} {}", workload.service);
        if let Err(why) = judged.add(&name, &workload, &calls, LATE_MS) {
            panic!("{name}: {why}");
        }
    }
    println!("{judged}; {known} calls with a reply, {unknown} without");
    assert!(judged.is_enough(), "{judged}");
}

async fn history(workload: Workload, seed: u64) -> Vec<Call> {
    let world = World::new(workload, seed);
    let clients: Vec<_> = (0..CLIENTS).map(|number| tokio::spawn(clients::work(world.clone(), number, CALLS))).collect();
    let fate = tokio::spawn(world.clone().fail());
    for client in clients {
        client.await.unwrap();
    }
    fate.abort();
    world.end().await;
    clients::audit(&world).await;
    world.history.calls(workload.looks)
}

#[test]
fn histories_of_shared_pairs_are_linearizable() {
    run(workload::PAIRS);
}

#[test]
fn histories_of_tuple_spaces_are_linearizable() {
    run(workload::TUPLES);
}

#[test]
fn histories_of_locks_are_linearizable() {
    run(workload::LOCKS);
}

#[test]
fn histories_of_channels_are_linearizable() {
    run(workload::CHANNEL);
}
