//! What clients of two nodes see of a channel while some are cut off: recorded and checked.
//!
//! The choices of the clients come from a seed, which is printed; `PLEXSPACES_SEED` sets it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use plexspaces_testkit::histories::workload::{self, BROKER, CHANNEL, Client, Workload};
use plexspaces_testkit::histories::{Call, History, Judged};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;

use crate::support::{Node, Place};

suite!(histories, "histories "; sqlite, kafka, redis: (
    histories_are_linearizable_though_clients_are_cut_off,
));

// In the moment in which a message comes back its server may say that there is none, or that nobody has it.
suite!(histories, "histories "; nats: (
    histories_show_nothing_lost_and_nothing_out_of_order,
));

/// Channels, so that each history is short enough to be judged.
const CHANNELS: u64 = 8;
const CLIENTS: u64 = 3;
const CALLS: u64 = 16;

/// How late the end of the time for which a message is hidden may be seen.
const LATE_MS: u64 = 2000;

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// What is carried out once when it is asked again under its key.
fn is_keyed(operation: &str) -> bool {
    operation != "ack"
}

async fn work(nodes: [Node; 2], comes_back: bool, history: History, seed: u64, number: u64) {
    let mut client = Client::new(format!("c{number}"), StdRng::seed_from_u64(seed * CLIENTS + number));
    for call in 0..CALLS {
        let (operation, arguments) = client.next(&CHANNEL);
        let begun = history.begin(&client.name, operation, &arguments, now_ms());
        let key = is_keyed(operation).then(|| format!("key-of-a-request-{seed}-{number}-{call}"));
        // Some do not wait for the answer. What they should have received comes back at NATS only after half a minute.
        let waits = operation == "receive" && !comes_back;
        let patience =
            if client.rng.random_bool(0.1) && !waits { Duration::from_micros(client.rng.random_range(0..5000)) } else { Duration::MAX };
        let ask = nodes[client.rng.random_range(0..2)].keyed(operation, arguments.clone(), key.as_deref());
        match tokio::time::timeout(patience, ask).await {
            Ok(Ok(reply)) => {
                client.learn(&arguments, &reply);
                history.end(begun, Ok(reply), now_ms());
            }
            Ok(Err(failure)) if ["conflict", "not_found"].contains(&failure.code.name()) => {
                history.end(begun, Err(failure.code.name().to_owned()), now_ms());
            }
            // Nobody knows whether it was carried out.
            Ok(Err(_)) | Err(_) => {}
        }
    }
}

async fn histories_are_linearizable_though_clients_are_cut_off(place: &Place) {
    let workload = if place.is_own() { CHANNEL } else { BROKER };
    let mut judged = Judged::default();
    for (name, calls) in recorded(place, workload).await {
        if let Err(why) = judged.add(&name, &workload, &calls, LATE_MS) {
            panic!("{name}: {why}");
        }
    }
    println!("{judged}");
    assert!(judged.is_enough(), "{judged}");
}

async fn histories_show_nothing_lost_and_nothing_out_of_order(place: &Place) {
    for (name, calls) in recorded(place, BROKER).await {
        if let Err(why) = BROKER.promise(&calls) {
            panic!("{name}: {why}");
        }
    }
}

/// What clients have seen of some channels, by names that bring it back.
async fn recorded(place: &Place, workload: Workload) -> Vec<(String, Vec<Call>)> {
    let first = std::env::var("PLEXSPACES_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| now_ms() % 1_000_000);
    let nodes = if place.is_own() {
        let node = place.node().await;
        [node.clone(), node]
    } else {
        [place.node().await, place.node().await]
    };
    let mut all = Vec::new();
    for seed in first..first + CHANNELS {
        let history = History::default();
        let nodes = nodes.each_ref().map(|node| node.other(&format!("{} {seed}", place.channel)));
        let clients: Vec<_> =
            (0..CLIENTS).map(|number| tokio::spawn(work(nodes.clone(), place.comes_back(), history.clone(), seed, number))).collect();
        all.push((seed, nodes, history, clients));
    }
    for (_, _, _, clients) in &mut all {
        for client in clients {
            client.await.unwrap();
        }
    }
    // What is in the hands of a client comes back.
    tokio::time::sleep(Duration::from_millis(3200)).await;
    let mut recorded = Vec::new();
    for (seed, [node, _], history, _) in all {
        let ask = async |operation: &str, arguments: Value| {
            let begun = history.begin("auditor", operation, &arguments, now_ms());
            let reply = node.ask(operation, arguments).await;
            history.end(begun, Ok(reply.clone()), now_ms());
            reply
        };
        workload::audit(&workload, ask).await;
        let calls = history.calls(workload.looks);
        assert!(calls.len() > 20);
        recorded.push((format!("PLEXSPACES_SEED={seed}"), calls));
    }
    recorded
}
