//! What clients see of services while clients, nodes and stores fail, recorded and checked: there is one order of all operations in which
//! each has the effect and the reply that `docs/services.md` says, and each stands in it between its beginning and its end.
//!
//! Each run has a seed, which a failure prints. `PLEXSPACES_SEED=7` runs one, `PLEXSPACES_HISTORIES=1000` that many; time is simulated,
//! so that a seed gives the same run again but for random numbers that are not the test's.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod clients;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use plexspaces_testkit::histories::workload::{self, Workload};
use plexspaces_testkit::histories::{Call, Judged};
use serde_json::Value;

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

/// Runs one history after the other, each in a runtime of its own in which time is simulated, and judges them: each is to be linearizable too.
fn run(workload: Workload, judge: impl Fn(&[Call]) -> Result<(), String>) {
    let (mut known, mut unknown, mut judged) = (0, 0, Judged::default());
    for seed in seeds() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let calls = runtime.block_on(history(workload, seed));
        // Nodes that were cut off would wait for ever.
        runtime.shutdown_background();
        known += calls.iter().filter(|call| call.reply.is_some()).count();
        unknown += calls.iter().filter(|call| call.reply.is_none()).count();
        let name = format!("PLEXSPACES_SEED={seed} {}", workload.service);
        let mut is_linearizable = || judged.add(&name, &workload, &calls, LATE_MS).map_err(|refusal| refusal.to_string());
        if let Err(error) = judge(&calls).and_then(|()| is_linearizable()) {
            panic!("{name}: {error}");
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

/// The replies of an operation, without refusals.
fn replies<'a>(calls: &'a [Call], operation: &'a str) -> impl Iterator<Item = (&'a Call, &'a Value)> {
    calls.iter().filter(move |call| call.operation == operation).filter_map(|call| Some((call, call.reply.as_ref()?.as_ref().ok()?)))
}

#[test]
fn histories_of_shared_pairs_are_linearizable() {
    run(workload::PAIRS, |calls| {
        let mut values = BTreeMap::new();
        for (call, reply) in replies(calls, "cas").filter(|(_, reply)| reply["swapped"] == true) {
            if let Some(other) = values.insert(reply["version"].as_u64(), &call.arguments) {
                return Err(format!("{other} and {} have one version", call.arguments));
            }
        }
        Ok(())
    });
}

#[test]
fn histories_of_tuple_spaces_are_linearizable() {
    run(workload::TUPLES, |calls| {
        // No tuple is written twice, so none is taken twice.
        let mut taken = BTreeSet::new();
        let takes = replies(calls, "take").filter(|(call, _)| call.arguments.get("lease_ms").is_none());
        for (_, reply) in takes.filter(|(_, reply)| !reply["tuple"].is_null()) {
            if !taken.insert(reply["tuple"].to_string()) {
                return Err(format!("{} was taken twice", reply["tuple"]));
            }
        }
        Ok(())
    });
}

#[test]
fn histories_of_locks_are_linearizable() {
    run(workload::LOCKS, |calls| {
        let mut holders: BTreeMap<u64, (Value, Value)> = BTreeMap::new();
        for (call, reply) in replies(calls, "acquire") {
            let Some(version) = reply["version"].as_str() else { continue };
            let holder = (call.arguments["key"].clone(), call.arguments["holder"].clone());
            let known = holders.entry(version.parse().unwrap()).or_insert_with(|| holder.clone());
            if *known != holder {
                return Err(format!("{known:?} and {holder:?} hold version {version}"));
            }
        }
        Ok(())
    });
}

#[test]
fn histories_of_channels_are_linearizable() {
    run(workload::CHANNEL, |calls| {
        // What was acknowledged to its sender has been received by somebody in the end, if nobody said that it is done: those who subscribe to
        // the topic know of messages that others have sent to the queue too.
        let received = replies(calls, "receive").map(|(_, reply)| reply["message"]["msg_id"].to_string());
        let done = calls.iter().filter(|call| call.operation == "ack").map(|call| call.arguments["msg_id"].to_string());
        let seen: BTreeSet<_> = received.chain(done).collect();
        if let Some((call, _)) = replies(calls, "send").find(|(call, _)| !seen.contains(&call.arguments["msg_id"].to_string())) {
            return Err(format!("{} is lost", call.arguments));
        }
        Ok(())
    });
}
