//! A process that runs out of memory maps refuses new actors and keeps the old ones. Alone in its process, which it fills with maps.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "guests/support.rs"]
#[allow(dead_code)]
mod support;

use plexspaces_testkit::guests;
use plexspaces_types::{Code, Payload};
use support::{Node, call, json, rejection, spec, try_create};
use wasmtime::{InstanceAllocationStrategy, PoolingAllocationConfig};

#[tokio::test]
async fn a_system_without_room_refuses_new_actors_only() {
    let node = Node::new();
    let component = node.load(guests::echo()).await;
    let mut first = try_create(&component, &spec("echo")).await.unwrap();

    let Ok(limit) = std::fs::read_to_string("/proc/sys/vm/max_map_count") else { return println!("skipped: no limit of maps here") };
    let used = std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
    let spare = limit.trim().parse::<usize>().unwrap().saturating_sub(used);
    if spare > 1_000_000 {
        return println!("skipped: {spare} maps are more than a test should make");
    }
    // Each stack of a pool is two maps from the start.
    let mut pool = PoolingAllocationConfig::default();
    pool.total_stacks(u32::try_from(spare / 2 - 40).unwrap()).total_memories(1).total_tables(1);
    let mut config = wasmtime::Config::new();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    let _hog = wasmtime::Engine::new(&config).unwrap();

    let mut live = Vec::new();
    let refused = loop {
        match try_create(&component, &spec("echo")).await {
            Ok(instance) => live.push(instance),
            refused => break refused,
        }
    };
    let (code, message) = rejection(refused);
    assert_eq!(code, Code::Overloaded, "{message}");
    assert!(message.starts_with("the system has no room for another instance: "), "{message}");
    assert!(live.len() < 49, "{} instances", live.len());
    println!("{message} after {} more", live.len());
    assert_eq!(call(&mut *first, "count", Payload::empty()).await.unwrap(), json("1"));
    live.clear();
    assert!(try_create(&component, &spec("echo")).await.is_ok());
}
