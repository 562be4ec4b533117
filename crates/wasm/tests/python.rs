//! Python actors: that they run at all, and that a long life does not make them grow.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "guests/support.rs"]
#[allow(dead_code)]
mod support;

use std::time::Duration;

use plexspaces_actor::{Factory, Instance, Limits, Spec, Turn};
use plexspaces_testkit::python;
use plexspaces_types::{Code, Payload};
use support::{Node, call, crash, id, json};

async fn actor(component: &dyn Factory) -> Box<dyn Instance> {
    let id = id("counter", "1");
    let limits = Limits { memory_bytes: 64 << 20, turn_cpu: Duration::from_secs(5), ..Limits::default() };
    let spec = Spec { id: id.clone(), guest_type: "counter".to_owned(), config: "{}".to_owned(), limits };
    component.create(&spec, Turn::detached(id)).await.unwrap().0
}

async fn node() -> (Node, std::sync::Arc<plexspaces_wasm::Component>) {
    let node = Node::new();
    let wasm = std::fs::read(python::counter().unwrap()).unwrap();
    let component = node.load(wasm).await;
    (node, component)
}

#[tokio::test]
async fn a_python_actor_counts_prints_and_fails() {
    let (_node, component) = node().await;
    let mut counter = actor(&*component).await;
    for n in 1..=10 {
        assert_eq!(call(&mut *counter, "count", Payload::empty()).await.unwrap(), json(&n.to_string()));
    }
    assert_eq!(call(&mut *counter, "print", json("[1, 2]")).await.unwrap(), json("[1, 2]"));
    let (code, message, trace) = crash(call(&mut *counter, "echo", json("not json")).await);
    assert_eq!(code, Code::HandlerFailed, "{message}");
    assert!(trace.contains("wasm backtrace"), "{trace}");
}

/// Calls a Python actor with 16 KiB in and out, 100,000 times or as often as `PLEXSPACES_SOAK_CALLS` says, and replaces it as the actor
/// runtime does when it asks for that.
#[tokio::test]
async fn a_python_actor_stays_as_small_as_it_was() {
    let calls: u64 = std::env::var("PLEXSPACES_SOAK_CALLS").map_or(100_000, |text| text.parse().unwrap());
    let (_node, component) = node().await;
    let mut counter = actor(&*component).await;
    let payload = json(&format!("\"{}\"", "x".repeat(16 << 10)));
    let (mut largest, mut replaced) = (0, 0);
    for n in 1..=calls {
        assert_eq!(call(&mut *counter, "echo", payload.clone()).await.unwrap(), payload);
        if counter.memory_bytes() > largest {
            largest = counter.memory_bytes();
            println!("call {n}: {} KiB", largest >> 10);
        }
        if counter.wants_replacement() {
            let state = counter.snapshot().await.unwrap();
            counter = actor(&*component).await;
            counter.restore(&state).await.unwrap();
            replaced += 1;
        }
    }
    println!("after {calls} calls: {} KiB now, {} KiB at most, replaced {replaced} times", counter.memory_bytes() >> 10, largest >> 10);
    assert_eq!(call(&mut *counter, "count", Payload::empty()).await.unwrap(), json(&(calls + 1).to_string()));
    assert!(largest <= 33 << 20, "{largest} bytes");
}
