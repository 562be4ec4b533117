//! Python actors: that they run at all, and that a long life does not make them grow.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "guests/support.rs"]
#[allow(dead_code)]
mod support;

use std::sync::Arc;
use std::time::Duration;

use plexspaces_actor::{Factory, Instance, Limits, Spec, Turn};
use plexspaces_testkit::python;
use plexspaces_types::{Code, Payload};
use plexspaces_wasm::Component;
use support::{Node, call, crash, id, json};
use tokio::sync::OnceCell;

async fn actor(component: &dyn Factory) -> Box<dyn Instance> {
    let id = id("counter", "1");
    let limits = Limits { memory_bytes: 64 << 20, turn_cpu: Duration::from_secs(5), ..Limits::default() };
    let spec = Spec { id: id.clone(), guest_type: "counter".to_owned(), config: "{}".to_owned(), limits };
    component.create(&spec, Turn::detached(id)).await.unwrap().0
}

/// One engine for all tests here: compiling Python takes seconds.
async fn component() -> &'static Component {
    static BUILT: OnceCell<(Node, Arc<Component>)> = OnceCell::const_new();
    let build = || async {
        let node = Node::new();
        let component = node.load(std::fs::read(python::counter().unwrap()).unwrap()).await;
        (node, component)
    };
    &BUILT.get_or_init(build).await.1
}

#[tokio::test]
async fn a_python_actor_counts_prints_and_fails() {
    let component = component().await;
    let mut counter = actor(component).await;
    for n in 1..=10 {
        assert_eq!(call(&mut *counter, "count", Payload::empty()).await.unwrap(), json(&n.to_string()));
    }
    assert_eq!(call(&mut *counter, "print", json("[1, 2]")).await.unwrap(), json("[1, 2]"));
    let (code, message, trace) = crash(call(&mut *counter, "echo", json("not json")).await);
    assert_eq!(code, Code::HandlerFailed, "{message}");
    assert!(trace.contains("wasm backtrace"), "{trace}");
}

/// Calls an actor with `payload` in and out and replaces it when it asks for that, as the actor runtime does. Gives the largest size
/// that it had, in bytes, and the number of replacements.
async fn soak(calls: u64, payload: Payload) -> (usize, u64) {
    let component = component().await;
    let mut counter = actor(component).await;
    let (mut largest, mut replaced) = (0, 0);
    for _ in 0..calls {
        assert_eq!(call(&mut *counter, "echo", payload.clone()).await.unwrap(), payload);
        largest = largest.max(counter.memory_bytes());
        if counter.wants_replacement() {
            let state = counter.snapshot().await.unwrap();
            counter = actor(component).await;
            counter.restore(&state).await.unwrap();
            replaced += 1;
        }
    }
    println!("after {calls} calls: {} KiB now, {} KiB at most, replaced {replaced} times", counter.memory_bytes() >> 10, largest >> 10);
    assert_eq!(call(&mut *counter, "count", Payload::empty()).await.unwrap(), json(&(calls + 1).to_string()));
    (largest, replaced)
}

/// 16 KiB of JSON in and out, 100,000 times or as often as `PLEXSPACES_SOAK_CALLS` says.
#[tokio::test]
async fn a_python_actor_stays_small() {
    let calls = std::env::var("PLEXSPACES_SOAK_CALLS").map_or(100_000, |text| text.parse().unwrap());
    let (largest, _) = soak(calls, json(&format!("\"{}\"", "x".repeat(16 << 10)))).await;
    assert!(largest <= 33 << 20, "{largest} bytes");
}

/// Bytes leak in Python, each time as many as there are: replacement keeps even such an actor small, and it does not notice.
#[tokio::test]
async fn an_actor_that_leaks_is_replaced() {
    let (largest, replaced) = soak(5_000, Payload::Bytes(vec![7; 16 << 10].into())).await;
    assert!(largest <= 33 << 20, "{largest} bytes");
    assert!(replaced > 0, "it leaks no more, so this test proves nothing");
}
