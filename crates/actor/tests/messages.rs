//! Guarantees of messages: order, bounds, deadlines, addresses. `docs/semantics.md` names these tests.
#![allow(missing_docs)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use plexspaces_actor::{Profile, Target};
use plexspaces_types::{Code, Key, Name};
use serde_json::{Value, json};
use support::{Lab, child, limits, request};

#[tokio::test]
async fn an_ask_brings_an_actor_to_life_and_answers() {
    let lab = Lab::volatile().await;
    assert_eq!(lab.runtime.actors(), 0);
    assert_eq!(lab.ask("a", "add", json!({"by": 2})).await, Ok(json!({"count": 2})));
    assert_eq!(lab.ask("b", "add", json!({"by": 1})).await, Ok(json!({"count": 1})));
    assert_eq!((lab.runtime.actors(), lab.made()), (2, 2));
}

#[tokio::test]
async fn messages_of_one_sender_are_handled_in_their_order() {
    let lab = Lab::volatile().await;
    for tag in 0..200 {
        lab.tell("a", "add", json!({"tag": tag.to_string()})).await.unwrap();
    }
    assert_eq!(lab.count("a").await, 200);
    let expected: Vec<String> = (0..200).map(|tag| format!("add{tag}")).chain(["get".to_owned()]).collect();
    assert_eq!(*lab.factory.watch.handled.lock().unwrap(), expected);
}

#[tokio::test]
async fn an_actor_handles_one_message_at_a_time() {
    let lab = Arc::new(Lab::volatile().await);
    let asks = (0..64).map(|_| {
        let lab = lab.clone();
        tokio::spawn(async move { lab.ask("a", "add", json!({})).await.unwrap() })
    });
    let mut counts: Vec<i64> = Vec::new();
    for ask in asks.collect::<Vec<_>>() {
        counts.push(ask.await.unwrap()["count"].as_i64().unwrap());
    }
    counts.sort_unstable();
    assert_eq!(counts, (1..=64).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_full_mailbox_refuses_a_tell_and_makes_an_ask_wait() {
    let lab = Lab::with(limits(|limits| limits.mailbox = 2), Vec::new()).await;
    lab.tell("a", "hold", json!({})).await.unwrap();
    while lab.factory.watch.handled.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    lab.tell("a", "add", json!({})).await.unwrap();
    lab.tell("a", "add", json!({})).await.unwrap();
    let refused = lab.tell("a", "add", json!({})).await.unwrap_err();
    assert_eq!(refused.code, Code::Overloaded);
    assert!(refused.message.contains("the mailbox of default/probe/a is full: 2 messages wait"), "{refused}");
    assert!(refused.retry_after.is_some());
    let (count, ()) = tokio::join!(lab.count("a"), async { lab.factory.gate.add_permits(1) });
    assert_eq!(count, 2);
}

#[tokio::test(start_paused = true)]
async fn a_timers_message_for_which_there_is_no_room_is_a_dead_letter() {
    let lab = Lab::with(limits(|limits| limits.mailbox = 1), Vec::new()).await;
    lab.ask("a", "timer", json!({"after": 100, "op": "add", "name": "once", "payload": {"by": 5}})).await.unwrap();
    lab.tell("a", "hold", json!({})).await.unwrap();
    while !lab.factory.watch.handled.lock().unwrap().contains(&"hold".to_owned()) {
        tokio::task::yield_now().await;
    }
    lab.tell("a", "add", json!({})).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (letters, _) = lab.runtime.dead_letters(&lab.ctx(), None, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].operation.as_str(), letters[0].key.as_str()), ("add", "a"));
    lab.factory.gate.add_permits(1);
    assert_eq!(lab.count("a").await, 1);
    lab.runtime.redrive(&lab.ctx(), &letters[0].id).await.unwrap();
    assert_eq!(lab.count("a").await, 6);
}

#[tokio::test(start_paused = true)]
async fn an_ask_ends_at_its_deadline_and_the_actor_goes_on() {
    let lab = Lab::volatile().await;
    let late = lab.ask("a", "hold", json!({})).await.unwrap_err();
    assert_eq!(late.code, Code::DeadlineExceeded);
    lab.factory.gate.add_permits(1);
    assert_eq!(lab.count("a").await, 0);
}

#[tokio::test]
async fn a_message_whose_deadline_has_passed_is_not_handled() {
    let lab = Lab::volatile().await;
    let ctx = lab.ctx().with_deadline(tokio::time::Instant::now().into_std() - Duration::from_millis(1));
    let target = Target { name: "probe", key: Some("a") };
    let failure = lab.runtime.ask(&ctx, target, request("add", &json!({}), None)).await.unwrap_err();
    assert_eq!(failure.code, Code::DeadlineExceeded);
    assert_eq!(lab.count("a").await, 0);
}

#[tokio::test]
async fn names_mean_children_types_and_roles() {
    let lab = Lab::with(Profile::default(), vec![child("alice", Profile::default()), child("bob", Profile::default())]).await;
    let id = async |name: &str, key: Option<&str>| {
        let reply = lab.runtime.ask(&lab.ctx(), Target { name, key }, request("config", &json!({}), None)).await?;
        let config: Value = serde_json::from_slice(reply.as_bytes()).unwrap();
        Ok::<_, plexspaces_types::Failure>(config["actor_id"].as_str().unwrap().to_owned())
    };
    assert_eq!(id("alice", None).await.unwrap(), "default/probe/alice");
    assert_eq!(id("probe", None).await.unwrap(), "default/probe/probe");
    assert_eq!(id("probe", Some("carol")).await.unwrap(), "default/probe/carol");
    assert_eq!(id("probe_actor", None).await.unwrap(), "default/probe/probe");
    let unknown = id("nobody", None).await.unwrap_err();
    assert_eq!(unknown.code, Code::NotFound);
    assert!(unknown.message.contains("known are: guard, probe"), "{unknown}");
    assert_eq!(id("probe", Some("a/b")).await.unwrap_err().field.as_deref(), Some("actor_id"));
}

#[tokio::test]
async fn an_only_child_is_what_its_type_means() {
    let lab = Lab::with(Profile::default(), vec![child("branch", Profile::default())]).await;
    let reply = lab.runtime.ask(&lab.ctx(), Target { name: "probe", key: None }, request("config", &json!({}), None)).await.unwrap();
    let config: Value = serde_json::from_slice(reply.as_bytes()).unwrap();
    assert_eq!(config["actor_id"], "default/probe/branch");
}

#[tokio::test]
async fn another_tenant_reaches_nothing() {
    let lab = Lab::volatile().await;
    let mut ctx = lab.ctx();
    ctx.tenant = Name::new("tenant", "other").unwrap();
    let failure = lab.runtime.ask(&ctx, Target { name: "probe", key: None }, request("get", &json!({}), None)).await.unwrap_err();
    assert_eq!(failure.code, Code::NotFound);
}

#[tokio::test]
async fn actors_reach_one_another_by_every_spelling() {
    let lab = Lab::volatile().await;
    for target in ["probe/b", "default/probe/b", "probe/b@node1"] {
        let reply = lab.ask("a", "ask", json!({"target": target, "op": "add", "payload": {"by": 1}})).await.unwrap();
        assert!(reply["count"].is_number(), "{target}: {reply}");
    }
    assert_eq!(lab.count("b").await, 3);
    let sender = lab.ask("a", "ask", json!({"target": "probe/b", "op": "sender"})).await;
    assert_eq!(sender, Ok(json!("default/probe/a")));
    let unknown = lab.ask("a", "ask", json!({"target": "nobody", "op": "get"})).await.unwrap();
    assert_eq!(unknown["code"], "not_found");
}

#[tokio::test]
async fn a_request_that_would_wait_for_itself_is_answered_at_once_with_the_chain() {
    let lab = Lab::volatile().await;
    let inner = json!({"target": "probe/a", "op": "get"});
    let reply = lab.ask("a", "ask", json!({"target": "probe/b", "op": "ask", "payload": inner})).await.unwrap();
    assert_eq!(reply["code"], "deadlock");
    assert!(reply["message"].as_str().unwrap().ends_with("default/probe/a -> default/probe/b -> default/probe/a"), "{reply}");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_inherited_down_the_call_chain() {
    let lab = Lab::volatile().await;
    let started = tokio::time::Instant::now();
    let ctx = lab.ctx().with_deadline(tokio::time::Instant::now().into_std() + Duration::from_millis(50));
    let payload = json!({"target": "probe/b", "op": "hold", "timeout": 60_000});
    let target = Target { name: "probe", key: Some("a") };
    let failure = lab.runtime.ask(&ctx, target, request("ask", &payload, None)).await.unwrap_err();
    assert_eq!(failure.code, Code::DeadlineExceeded);
    // The inner ask ended with the outer one, so `a` is free again.
    assert_eq!(lab.count("a").await, 0);
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_shutdown_handles_what_was_accepted_and_refuses_the_rest() {
    let lab = Lab::volatile().await;
    lab.tell("a", "hold", json!({})).await.unwrap();
    for _ in 0..50 {
        lab.tell("a", "add", json!({})).await.unwrap();
    }
    let runtime = lab.runtime.clone();
    let shutdown = tokio::spawn(async move { runtime.shutdown(Duration::from_secs(60)).await });
    let refused = loop {
        match lab.tell("b", "get", json!({})).await {
            Ok(()) => tokio::task::yield_now().await,
            Err(failure) => break failure,
        }
    };
    assert_eq!(refused.code, Code::Unavailable);
    lab.factory.gate.add_permits(1);
    assert!(shutdown.await.unwrap());
    assert_eq!(lab.factory.watch.handled.lock().unwrap().iter().filter(|handled| *handled == "add").count(), 50);
}

#[tokio::test]
async fn a_replaced_application_keeps_state_and_an_undeployed_one_is_gone() {
    let lab = Lab::volatile().await;
    lab.ask("a", "add", json!({"by": 7})).await.unwrap();
    let second = support::application(support::ProbeFactory::new("v2"), Profile::default(), Vec::new());
    lab.runtime.deploy(&second).await.unwrap();
    assert_eq!(lab.ask("a", "version", json!({})).await, Ok(json!("v2")));
    assert_eq!(lab.count("a").await, 7);
    lab.runtime.undeploy(&second.tenant, &second.namespace, &second.name).await.unwrap();
    assert_eq!(lab.ask("a", "get", json!({})).await.unwrap_err().code, Code::NotFound);
}

#[tokio::test]
async fn a_name_that_another_application_has_is_a_conflict() {
    let lab = Lab::volatile().await;
    let mut other = lab.application.clone();
    other.name = support::name("other");
    let conflict = lab.runtime.deploy(&other).await.unwrap_err();
    assert_eq!(conflict.code, Code::Conflict);
    assert!(conflict.message.contains("belongs to application lab"), "{conflict}");
    assert_eq!(lab.count("a").await, 0);
}

#[tokio::test(start_paused = true)]
async fn an_idle_actor_leaves_memory_and_the_next_message_brings_it_back() {
    let profile = Profile { durable: true, idle_timeout: Some(Duration::from_secs(60)), ..Profile::default() };
    let lab = Lab::with(profile, Vec::new()).await;
    lab.ask("a", "add", json!({"by": 3})).await.unwrap();
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(lab.runtime.actors(), 0);
    assert_eq!((lab.count("a").await, lab.made()), (3, 2));
}

#[tokio::test]
async fn keys_may_be_anything_printable() {
    let lab = Lab::volatile().await;
    for key in ["alice@example.com", "a b", "ä", "1"] {
        assert!(Key::new(key).is_ok());
        assert_eq!(lab.ask(key, "add", json!({})).await, Ok(json!({"count": 1})), "{key}");
    }
}

#[tokio::test]
async fn a_message_whose_asker_has_gone_is_not_handled() {
    let lab = Lab::volatile().await;
    lab.tell("a", "hold", json!({})).await.unwrap();
    {
        let asking = lab.ask("a", "add", json!({}));
        let mut asking = std::pin::pin!(asking);
        assert!(futures::poll!(asking.as_mut()).is_pending());
    }
    lab.factory.gate.add_permits(1);
    assert_eq!(lab.count("a").await, 0);
}
