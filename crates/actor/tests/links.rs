//! Guarantees of watches, links, and of starting and stopping other actors. `docs/semantics.md` names these tests.
#![allow(missing_docs)]

mod support;

use std::time::Duration;

use plexspaces_actor::Profile;
use plexspaces_types::Code;
use serde_json::{Value, json};
use support::{Lab, child};

fn down(reference: &Value, from: &str, reason: &str) -> Value {
    json!(["__DOWN__", {"monitor_ref": reference, "down_from": from, "down_reason": reason}])
}

fn exit(from: &str, reason: &str) -> Value {
    json!(["__EXIT__", {"exit_from": from, "exit_reason": reason}])
}

#[tokio::test]
async fn a_watcher_hears_of_an_end_once_whatever_the_reason() {
    let lab = Lab::volatile().await;
    lab.ask("stopped", "get", json!({})).await.unwrap();
    let crashes = lab.ask("w", "monitor", json!({"target": "probe/crashed"})).await.unwrap();
    let stops = lab.ask("w", "monitor", json!({"target": "probe/stopped"})).await.unwrap();
    lab.ask("crashed", "crash", json!({})).await.unwrap_err();
    lab.ask("crashed", "crash", json!({})).await.unwrap_err();
    assert_eq!(lab.ask("x", "stop", json!({"target": "probe/stopped"})).await, Ok(json!(true)));
    let heard = lab.heard("probe/w", 2).await;
    let expected = [down(&crashes, "default/probe/crashed", "error: boom"), down(&stops, "default/probe/stopped", "shutdown")];
    assert_eq!(heard, expected);
}

#[tokio::test]
async fn a_watch_of_nobody_is_answered_at_once_with_noproc() {
    let lab = Lab::volatile().await;
    let reference = lab.ask("w", "monitor", json!({"target": "nobody"})).await.unwrap();
    assert_eq!(lab.heard("probe/w", 1).await, [down(&reference, "nobody", "noproc")]);
}

#[tokio::test]
async fn a_watch_that_was_ended_is_silent_and_ending_it_again_does_nothing() {
    let lab = Lab::volatile().await;
    let reference = lab.ask("w", "monitor", json!({"target": "probe/a"})).await.unwrap();
    for reference in [&reference, &reference, &json!("nonsense")] {
        lab.ask("w", "demonitor", json!({"ref": reference})).await.unwrap();
    }
    lab.ask("a", "crash", json!({})).await.unwrap_err();
    assert_eq!(lab.heard("probe/w", 0).await, Vec::<Value>::new());
}

#[tokio::test]
async fn an_abnormal_exit_reaches_linked_actors_that_handle_it() {
    let lab = Lab::volatile().await;
    lab.ask_any("guard/g", "link", json!({"target": "probe/a"})).await.unwrap();
    lab.ask("a", "crash", json!({})).await.unwrap_err();
    assert_eq!(lab.heard("guard/g", 1).await, [exit("default/probe/a", "error: boom")]);
}

#[tokio::test]
async fn a_linked_actor_without_a_handler_shares_the_fate() {
    let lab = Lab::volatile().await;
    lab.ask("b", "add", json!({"by": 5})).await.unwrap();
    let reference = lab.ask("w", "monitor", json!({"target": "probe/b"})).await.unwrap();
    lab.ask("b", "link", json!({"target": "probe/a"})).await.unwrap();
    lab.ask("a", "crash", json!({})).await.unwrap_err();
    assert_eq!(lab.heard("probe/w", 1).await, [down(&reference, "default/probe/b", "error: boom")]);
    assert_eq!(lab.count("b").await, 0);
}

#[tokio::test]
async fn a_normal_exit_does_not_reach_linked_actors() {
    let lab = Lab::volatile().await;
    lab.ask("a", "get", json!({})).await.unwrap();
    lab.ask_any("guard/g", "link", json!({"target": "probe/a"})).await.unwrap();
    let reference = lab.ask_any("guard/g", "monitor", json!({"target": "probe/a"})).await.unwrap();
    lab.ask("x", "stop", json!({"target": "probe/a"})).await.unwrap();
    assert_eq!(lab.heard("guard/g", 1).await, [down(&reference, "default/probe/a", "shutdown")]);
}

#[tokio::test]
async fn an_unlinked_actor_hears_nothing() {
    let lab = Lab::volatile().await;
    lab.ask_any("guard/g", "link", json!({"target": "probe/a"})).await.unwrap();
    lab.ask("a", "unlink", json!({"target": "guard/g"})).await.unwrap();
    lab.ask("a", "crash", json!({})).await.unwrap_err();
    assert_eq!(lab.heard("guard/g", 0).await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_link_to_nobody_is_an_exit_with_noproc() {
    let lab = Lab::volatile().await;
    lab.ask_any("guard/g", "link", json!({"target": "nobody"})).await.unwrap();
    assert_eq!(lab.heard("guard/g", 1).await, [exit("nobody", "error: noproc")]);
}

#[tokio::test(start_paused = true)]
async fn a_passivated_actor_keeps_its_watches() {
    let profile = Profile { durable: true, idle_timeout: Some(Duration::from_secs(60)), ..Profile::default() };
    let lab = Lab::with(profile, Vec::new()).await;
    let reference = lab.ask("w", "monitor", json!({"target": "probe/a"})).await.unwrap();
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert_eq!(lab.runtime.actors(), 0);
    lab.ask("a", "crash", json!({})).await.unwrap_err();
    assert_eq!(lab.heard("probe/w", 1).await, [down(&reference, "default/probe/a", "error: boom")]);
}

#[tokio::test]
async fn a_spawned_actor_has_its_name_and_arguments_until_it_is_stopped() {
    let lab = Lab::volatile().await;
    let spawned = lab.ask("a", "spawn", json!({"type": "probe", "name": "kid", "args": {"colour": "red"}})).await;
    assert_eq!(spawned, Ok(json!("default/probe/kid")));
    assert_eq!(lab.ask("kid", "config", json!({})).await.unwrap()["args"]["colour"], "red");
    let again = lab.ask("a", "spawn", json!({"type": "probe", "name": "kid"})).await.unwrap_err();
    assert_eq!((again.code, again.field.as_deref()), (Code::Conflict, Some("name")));
    assert_eq!(lab.ask("a", "stop", json!({"target": "probe/kid"})).await, Ok(json!(true)));
    while lab.ask("a", "stop", json!({"target": "probe/kid"})).await == Ok(json!(true)) {}
    assert_eq!(lab.ask("kid", "config", json!({})).await.unwrap()["args"], json!({"role": "probe"}));
}

#[tokio::test]
async fn spawning_names_what_is_wrong() {
    let lab = Lab::volatile().await;
    let unknown = lab.ask("a", "spawn", json!({"type": "nonsense", "name": "kid"})).await.unwrap_err();
    assert_eq!(unknown.message, "the application lab has no actor type \"nonsense\"; it has guard, probe");
    lab.factory.watch.fail_init.store(true, std::sync::atomic::Ordering::SeqCst);
    let failed = lab.ask("a", "spawn", json!({"type": "probe", "name": "kid"})).await.unwrap_err();
    assert_eq!(failed.message, "init failed");
    lab.factory.watch.fail_init.store(false, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(lab.ask("a", "spawn", json!({"type": "probe", "name": "kid"})).await, Ok(json!("default/probe/kid")));
}

#[tokio::test]
async fn a_kill_ends_a_turn_and_the_actor_comes_back() {
    let lab = Lab::with(Profile::default(), vec![child("alice", Profile::default())]).await;
    let reference = lab.ask("w", "monitor", json!({"target": "alice"})).await.unwrap();
    lab.tell("alice", "add", json!({})).await.unwrap();
    let held = lab.ask("alice", "hold", json!({}));
    let killed = async {
        while !lab.factory.watch.handled.lock().unwrap().iter().any(|handled| handled == "hold") {
            tokio::task::yield_now().await;
        }
        let mut ctx = lab.ctx();
        ctx.principal = "operator".into();
        assert!(lab.runtime.kill_actor(&ctx, plexspaces_actor::Target { name: "alice", key: None }).unwrap());
    };
    let (held, ()) = tokio::join!(held, killed);
    assert_eq!(held.unwrap_err().code, Code::Unavailable);
    assert_eq!(lab.heard("probe/w", 1).await, [down(&reference, "default/probe/alice", "kill")]);
    assert_eq!(lab.count("alice").await, 0);
}

#[tokio::test]
async fn a_panic_costs_only_its_own_actor_its_state() {
    let lab = Lab::volatile().await;
    lab.ask("a", "add", json!({})).await.unwrap();
    let failure = lab.ask("a", "panic", json!({})).await.unwrap_err();
    assert_eq!((failure.code, failure.message.as_str()), (Code::HandlerFailed, "default/probe/a panicked: at the disco"));
    assert_eq!(lab.count("a").await, 0);
}

#[tokio::test]
async fn a_tell_whose_turn_fails_three_times_becomes_a_dead_letter_that_can_be_sent_again() {
    let lab = Lab::volatile().await;
    lab.tell("a", "crash", json!({"tag": 7})).await.unwrap();
    let (letters, more) = loop {
        let (letters, more) = lab.runtime.dead_letters(&lab.ctx(), None, 10).await.unwrap();
        if !letters.is_empty() {
            break (letters, more);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    let letter = &letters[0];
    assert_eq!((letters.len(), more, letter.attempts, letter.operation.as_str()), (1, false, 3, "crash"));
    assert_eq!((letter.key.as_str(), letter.code.as_str(), letter.reason.as_str()), ("a", "handler_failed", "boom"));
    assert_eq!(lab.factory.watch.handled.lock().unwrap().len(), 3);
    lab.runtime.redrive(&lab.ctx(), &letter.id).await.unwrap();
    while lab.factory.watch.handled.lock().unwrap().len() < 6 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let gone = lab.runtime.dead_letter(&lab.ctx(), &letter.id).await.unwrap_err();
    assert_eq!(gone.code, Code::NotFound);
}
