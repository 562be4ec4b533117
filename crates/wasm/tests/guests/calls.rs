//! What a good guest can do.

use bytes::Bytes;
use plexspaces_actor::{Factory, Fault, Turn};
use plexspaces_testkit::guests;
use plexspaces_types::{Code, Payload};

use crate::support::{Node, call, create, id, json, message, rejection, spec, try_create};

#[tokio::test]
async fn an_instance_lives_as_long_as_its_actor() {
    let node = Node::new();
    let component = node.load(guests::echo()).await;
    let mut one = create(&component, "echo").await;
    let mut other = create(&component, "echo").await;
    for n in 1..=1000 {
        assert_eq!(call(&mut *one, "count", Payload::empty()).await.unwrap(), json(&n.to_string()));
    }
    assert_eq!(call(&mut *other, "count", Payload::empty()).await.unwrap(), json("1"), "and shares nothing");
}

#[tokio::test]
async fn both_kinds_of_payload_come_back_as_they_went() {
    let node = Node::new();
    let mut actor = create(&*node.load(guests::echo()).await, "echo").await;
    for payload in [json("{\"a\":\"ä\"}"), Payload::Bytes(Bytes::from_static(b"\0\xff")), Payload::Bytes(Bytes::new())] {
        assert_eq!(call(&mut *actor, "echo", payload.clone()).await.unwrap(), payload);
    }
}

#[tokio::test]
async fn a_state_moves_to_a_new_instance() {
    let node = Node::new();
    let component = node.load(guests::echo()).await;
    let mut old = create(&component, "echo").await;
    for _ in 0..42 {
        call(&mut *old, "count", Payload::empty()).await.unwrap();
    }
    let state = old.snapshot().await.unwrap();
    assert_eq!(state, json("42"));
    let mut new = create(&component, "echo").await;
    new.restore(&state).await.unwrap();
    assert_eq!(call(&mut *new, "count", Payload::empty()).await.unwrap(), json("43"));
}

#[tokio::test]
async fn a_turn_gives_the_state_when_it_is_wanted_and_has_changed() {
    let node = Node::new();
    let component = node.load(guests::echo()).await;
    let mut actor = create(&component, "echo").await;
    let mut states = Vec::new();
    for (operation, wanted) in [("echo", true), ("count", true), ("echo", true), ("count", false), ("echo", true)] {
        let turn = Turn::detached(id("echo", "1"));
        let (reply, _) = actor.handle(&message(operation, json("1")), turn, wanted).await.unwrap();
        states.push(reply.state);
    }
    assert_eq!(states, [Some(json("0")), Some(json("1")), None, None, Some(json("2"))]);
}

#[tokio::test]
async fn an_instance_that_has_grown_asks_for_its_replacement() {
    let node = Node::with(|config| config.replace_at_bytes = 4 << 20);
    let component = node.load(guests::echo()).await;
    let mut actor = create(&component, "echo").await;
    let at_start = actor.memory_bytes();
    let mut calls = 0;
    while !actor.wants_replacement() {
        call(&mut *actor, "leak", Payload::empty()).await.unwrap();
        calls += 1;
    }
    assert!(actor.memory_bytes() > 4 << 20 && calls < 10, "{} bytes after {calls} calls", actor.memory_bytes());
    let mut fresh = create(&component, "echo").await;
    fresh.restore(&actor.snapshot().await.unwrap()).await.unwrap();
    assert_eq!(fresh.memory_bytes(), at_start);
    assert!(!fresh.wants_replacement());
    assert_eq!(call(&mut *fresh, "count", Payload::empty()).await.unwrap(), json(&(calls + 1).to_string()));
}

#[tokio::test]
async fn host_calls_reach_the_turn() {
    let node = Node::new();
    let mut actor = create(&*node.load(guests::echo()).await, "echo").await;
    assert_eq!(call(&mut *actor, "whoami", Payload::empty()).await.unwrap(), Payload::Bytes("shop/echo/1".into()));
    assert_eq!(call(&mut *actor, "log", json("\"hello\"")).await.unwrap(), json("\"hello\""));
    assert_eq!(call(&mut *actor, "kv_put", json("7")).await.unwrap(), json("7"));
    assert_eq!(call(&mut *actor, "kv_get", Payload::empty()).await.unwrap(), json("0"), "each detached turn has its own keys");
}

#[tokio::test]
async fn a_reported_failure_keeps_what_the_guest_says() {
    let node = Node::new();
    let mut actor = create(&*node.load(guests::echo()).await, "echo").await;
    let Err(Fault::Rejected(failure)) = call(&mut *actor, "reject", json("no such thing")).await else { panic!("expected a rejection") };
    assert_eq!(
        (failure.code, failure.message.as_str(), failure.field.as_deref()),
        (Code::InvalidArgument, "no such thing", Some("reject"))
    );
    assert_eq!(call(&mut *actor, "count", Payload::empty()).await.unwrap(), json("1"), "a rejection ends nothing");
    let Err(Fault::Crashed { failure, trace }) = call(&mut *actor, "fail", json("boom")).await else { panic!("expected a crash") };
    assert_eq!((failure.code, failure.message.as_str(), trace.as_str()), (Code::HandlerFailed, "boom", "boom"));
}

#[tokio::test]
async fn an_unknown_type_is_not_found() {
    let node = Node::new();
    let component = node.load(guests::echo()).await;
    let (code, message) = rejection(try_create(&component, &spec("other")).await.map(|_| ()));
    assert_eq!((code, message.as_str()), (Code::NotFound, "the component has no actor type \"other\", it has echo"));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_actors_run_at_once() {
    let node = Node::new();
    let component = node.load(guests::echo()).await;
    let actors = (0..40).map(|_| {
        let component = component.clone();
        tokio::spawn(async move {
            let (mut actor, _) = component.create(&spec("echo"), Turn::detached(id("echo", "1"))).await.unwrap();
            for n in 1..=100 {
                assert_eq!(call(&mut *actor, "count", Payload::empty()).await.unwrap(), json(&n.to_string()));
            }
        })
    });
    for actor in actors.collect::<Vec<_>>() {
        actor.await.unwrap();
    }
}
