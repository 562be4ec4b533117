//! Each thing that a hostile guest can do ends that guest with a precise error, and no other actor notices.

use std::time::Duration;

use plexspaces_actor::{Fault, Instance};
use plexspaces_testkit::guests;
use plexspaces_types::{Code, Payload};

use crate::support::{Node, call, crash, create, json, limits, rejection, spec, try_create};

/// Runs one hostile operation while another actor of the same engine answers without a break, and after it once more.
async fn attack(operation: &str) -> (Code, String, String) {
    let node = Node::new();
    let mut bystander = create(&*node.load(guests::echo()).await, "echo").await;
    let mut hostile = create(&*node.load(guests::hostile()).await, "hostile").await;
    let ended = {
        let attack = call(&mut *hostile, operation, Payload::empty());
        tokio::pin!(attack);
        loop {
            tokio::select! {
                biased;
                ended = &mut attack => break ended,
                reply = call(&mut *bystander, "echo", json("[1]")) => assert_eq!(reply.unwrap(), json("[1]")),
            }
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(call(&mut *bystander, "count", json("{}")).await.unwrap(), json("1"), "the bystander lives on");
    let again = crash(call(&mut *hostile, "count", Payload::empty()).await);
    assert_eq!(again.1, "the instance was used again after it had failed or was cancelled");
    drop(hostile);
    let mut next = create(&*node.load(guests::hostile()).await, "hostile").await;
    assert_eq!(call(&mut *next, "count", Payload::empty()).await.unwrap(), json("1"), "a new one begins anew");
    crash(ended)
}

#[tokio::test]
async fn a_loop_without_end_uses_up_its_time() {
    let (code, message, trace) = attack("spin").await;
    assert_eq!((code, message.as_str()), (Code::LimitExceeded, "the actor used more than 100ms of CPU time in one turn"));
    assert!(trace.contains("wasm backtrace"), "{trace:?}");
}

#[tokio::test]
async fn endless_allocation_meets_the_limit() {
    let (code, message, _) = attack("allocate").await;
    assert_eq!((code, message.as_str()), (Code::LimitExceeded, "the actor used more than 16 MiB of memory"));
}

#[tokio::test]
async fn endless_recursion_meets_the_limit() {
    let (code, message, _) = attack("recurse").await;
    assert_eq!((code, message.as_str()), (Code::LimitExceeded, "the actor recursed too deeply"));
}

#[tokio::test]
async fn a_trap_is_a_crash_with_a_backtrace() {
    let (code, message, trace) = attack("trap").await;
    assert_eq!((code, message.as_str()), (Code::HandlerFailed, "the actor's code trapped: unreachable instruction"));
    assert!(trace.contains("explode"), "{trace:?}");
}

#[tokio::test]
async fn garbage_is_named() {
    for (operation, code, expected) in [
        ("bad_pointer", Code::HandlerFailed, "the actor's code broke the contract: string pointer/length out of bounds of memory"),
        ("bad_utf8", Code::HandlerFailed, "the actor's code broke the contract: invalid utf-8 sequence of 1 bytes from index 0"),
        (
            "not_json",
            Code::HandlerFailed,
            "the actor's reply is not the JSON text that it is said to be: EOF while parsing a value at line 1 column 0",
        ),
    ] {
        let (found, message, _) = attack(operation).await;
        assert_eq!((found, message.as_str()), (code, expected), "{operation}");
    }
}

#[tokio::test]
async fn a_huge_reply_is_refused() {
    let node = Node::new();
    let component = node.load(guests::hostile()).await;
    let mut spec = spec("hostile");
    spec.limits.memory_bytes = 64 << 20;
    let mut instance = try_create(&component, &spec).await.unwrap();
    let (code, message, _) = crash(call(&mut *instance, "huge", Payload::empty()).await);
    assert_eq!(code, Code::PayloadTooLarge);
    assert_eq!(message, "the actor's reply is 33554432 bytes, more than the limit of 1048576 bytes");
}

#[tokio::test]
async fn a_value_beyond_the_limit_is_refused_to_the_guest() {
    let node = Node::new();
    let mut instance = create(&*node.load(guests::hostile()).await, "hostile").await;
    let large = json(&format!("\"{}\"", "x".repeat(limits().payload_bytes)));
    for (operation, what) in [("kv_put", "value"), ("ask", "message"), ("tell", "message")] {
        let (_, message) = rejection(call(&mut *instance, operation, large.clone()).await);
        assert_eq!(message, format!("the {what} is 1048578 bytes, more than the limit of 1048576 bytes"));
    }
    assert_eq!(call(&mut *instance, "count", Payload::empty()).await.unwrap(), json("1"), "it lives on");
}

#[tokio::test]
async fn a_cancelled_call_leaves_an_unusable_instance_and_a_free_thread() {
    let node = Node::new();
    let component = node.load(guests::hostile()).await;
    let mut spec = spec("hostile");
    spec.limits.turn_cpu = Duration::from_secs(3600);
    let mut instance = try_create(&component, &spec).await.unwrap();
    let spin = tokio::time::timeout(Duration::from_millis(50), call(&mut *instance, "spin", Payload::empty())).await;
    assert!(spin.is_err(), "the caller's time limit ends a turn, even on one thread");
    let (code, _, _) = crash(call(&mut *instance, "count", Payload::empty()).await);
    assert_eq!(code, Code::Internal);
    drop(instance);
    assert!(try_create(&component, &spec).await.is_ok());
}

#[tokio::test]
async fn an_exhausted_pool_says_so() {
    let node = Node::with(|config| config.instances = 2);
    let component = node.load(guests::echo()).await;
    let first = create(&component, "echo").await;
    let _second = create(&component, "echo").await;
    let (code, message) = rejection(try_create(&component, &spec("echo")).await.map(|_: Box<dyn Instance>| ()));
    assert_eq!((code, message.as_str()), (Code::Overloaded, "the node's instance limit of 2 is reached"));
    drop(first);
    assert!(try_create(&component, &spec("echo")).await.is_ok(), "what is dropped can be used again");
}

#[tokio::test]
async fn too_little_memory_for_the_start_is_a_limit_as_well() {
    let node = Node::new();
    let component = node.load(guests::echo()).await;
    let mut spec = spec("echo");
    spec.limits.memory_bytes = 64 << 10;
    let result: Result<Box<dyn Instance>, Fault> = try_create(&component, &spec).await;
    let (code, message, _) = crash(result);
    assert_eq!((code, message.as_str()), (Code::LimitExceeded, "the actor used more than 65536 bytes of memory"));
}
