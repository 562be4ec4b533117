//! Clients that use a service at random, give up, and come again.

use std::time::Duration;

use plexspaces_testkit::histories::workload::{self, Client};
use rand::Rng as _;

use crate::world::World;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_millis(40);

/// How long the auditor does: the node has to come to life first.
const PATIENCE_OF_AUDITOR: Duration = Duration::from_secs(10);

/// Refusals that say that nothing was done.
const REFUSED: [&str; 2] = ["conflict", "not_found"];

pub(crate) async fn work(world: World, number: usize, calls: usize) {
    let mut client = Client::new(format!("c{number}"), world.rng(number as u64));
    for call in 0..calls {
        tokio::time::sleep(Duration::from_millis(client.rng.random_range(0..6))).await;
        let (operation, arguments) = client.next(&world.workload);
        let begun = world.history.begin(&client.name, operation, &arguments, world.now_ms());
        let key = client.rng.random_bool(0.7).then(|| format!("key-{}-{number}-{call}", world.seed));
        let patience = if client.rng.random_bool(0.05) { Duration::from_millis(client.rng.random_range(0..5)) } else { Duration::MAX };
        // One without a key asks once; one with a key until it knows.
        for _ in 0..if key.is_some() { 30 } else { 1 } {
            let Ok(answer) = tokio::time::timeout(patience, world.ask(begun, operation, &arguments, key.clone(), PATIENCE)).await else {
                break;
            };
            match answer {
                Ok(reply) => {
                    client.learn(&arguments, &reply);
                    world.history.end(begun, Ok(reply), world.now_ms());
                    break;
                }
                Err(failure) if REFUSED.contains(&failure.code.name()) => {
                    world.history.end(begun, Err(failure.code.name().to_owned()), world.now_ms());
                    break;
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(3)).await,
            }
        }
    }
}

/// Looks at what is left in the end, when all leases are over.
pub(crate) async fn audit(world: &World) {
    tokio::time::sleep(Duration::from_secs(15)).await;
    let ask = async |operation: &str, arguments: serde_json::Value| {
        let begun = world.history.begin("auditor", operation, &arguments, world.now_ms());
        let reply = world.ask(begun, operation, &arguments, None, PATIENCE_OF_AUDITOR).await.unwrap();
        world.history.end(begun, Ok(reply.clone()), world.now_ms());
        reply
    };
    workload::audit(&world.workload, ask).await;
}
