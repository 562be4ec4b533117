//! Guarantees of watches, links, and of starting and stopping other actors. `docs/semantics.md` names these tests.
#![allow(missing_docs)]

mod support;

use std::time::Duration;

use plexspaces_actor::{Profile, Target};
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
async fn what_happened_to_others_overtakes_messages() {
    let lab = Lab::volatile().await;
    lab.ask("b", "get", json!({})).await.unwrap();
    let reference = lab.ask("w", "monitor", json!({"target": "probe/b"})).await.unwrap();
    let handled = || lab.factory.watch.handled.lock().unwrap().clone();
    lab.tell("w", "hold", json!({})).await.unwrap();
    while handled().last().is_none_or(|last| last != "hold") {
        tokio::task::yield_now().await;
    }
    for _ in 0..3 {
        lab.tell("w", "add", json!({})).await.unwrap();
    }
    assert_eq!(lab.ask("x", "stop", json!({"target": "probe/b"})).await, Ok(json!(true)));
    while lab.runtime.address(&lab.ctx(), "probe/b").unwrap().is_live() {
        tokio::task::yield_now().await;
    }
    lab.factory.gate.add_permits(1);
    assert_eq!(lab.heard("probe/w", 1).await, [down(&reference, "default/probe/b", "shutdown")]);
    let after: Vec<String> = handled().into_iter().skip_while(|operation| operation != "hold").skip(1).collect();
    let place = |wanted: &str| after.iter().position(|operation| operation == wanted).unwrap();
    assert!(place("__DOWN__") < place("add"), "{after:?}");
}

#[tokio::test]
async fn who_stops_itself_has_ended_normally() {
    let lab = Lab::volatile().await;
    lab.ask("a", "get", json!({})).await.unwrap();
    let reference = lab.ask("w", "monitor", json!({"target": "probe/a"})).await.unwrap();
    assert_eq!(lab.ask("a", "stop", json!({"target": "probe/a"})).await, Ok(json!(true)));
    assert_eq!(lab.heard("probe/w", 1).await, [down(&reference, "default/probe/a", "normal")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_spawn_one_name_at_once_one_succeeds() {
    let lab = std::sync::Arc::new(Lab::volatile().await);
    for round in 0..50 {
        let spawning = (0..8).map(|number| {
            let lab = lab.clone();
            tokio::spawn(async move {
                let args = json!({"number": number}).as_object().unwrap().clone();
                let spawned = lab.runtime.spawn(&lab.ctx(), &support::name("lab"), "probe", &format!("s{round}"), args).await;
                spawned.map(|_| number)
            })
        });
        let mut numbers = Vec::new();
        for spawned in spawning.collect::<Vec<_>>() {
            match spawned.await.unwrap() {
                Ok(number) => numbers.push(number),
                Err(failure) => assert_eq!(failure.code, Code::Conflict),
            }
        }
        let config = lab.ask(&format!("s{round}"), "config", json!({})).await.unwrap();
        assert_eq!(numbers.iter().map(|number| json!(number)).collect::<Vec<_>>(), [config["args"]["number"].clone()]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_waits_to_be_restarted_is_stopped_and_killed_at_once() {
    let lab = Lab::volatile().await;
    for (key, end) in [("a", "stop"), ("b", "kill")] {
        // It fails until it would be started anew only after more than a second.
        while lab.ask(key, "crash", json!({})).await.unwrap_err().code != Code::Unavailable {}
        lab.tell(key, "add", json!({})).await.unwrap();
        tokio::task::yield_now().await;
        let began = tokio::time::Instant::now();
        let target = Target { name: "probe", key: Some(key) };
        let ended = if end == "stop" { lab.runtime.stop_actor(&lab.ctx(), target) } else { lab.runtime.kill_actor(&lab.ctx(), target) };
        assert_eq!(ended, Ok(true));
        while lab.runtime.actors() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(began.elapsed() < Duration::from_millis(100), "{end} took {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn the_end_of_an_application_is_the_end_of_its_actors_that_are_not_in_memory() {
    let profile = Profile { idle_timeout: Some(Duration::from_millis(10)), ..Profile::default() };
    let lab = Lab::with(profile, Vec::new()).await;
    let other = plexspaces_actor::Application {
        name: support::name("other"),
        types: vec![plexspaces_actor::TypeSpec {
            name: support::name("watching"),
            guest_type: "guard".into(),
            aliases: Vec::new(),
            profile: Profile::default(),
        }],
        ..lab.application.clone()
    };
    lab.runtime.deploy(&other).await.unwrap();
    let watch = lab.ask_any("watching/w", "monitor", json!({"target": "probe/away"})).await.unwrap();
    // Both are away, and neither is told.
    lab.ask("x", "link", json!({"target": "probe/away"})).await.unwrap();
    while lab.runtime.actors() > 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    lab.runtime.undeploy(&lab.application.tenant, &lab.application.namespace, &lab.application.name).await.unwrap();
    assert_eq!(lab.heard("watching/w", 1).await, [down(&watch, "default/probe/away", "shutdown")]);
    assert_eq!(lab.runtime.census().tied, 0);
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
    assert_eq!(lab.ask("kid", "config", json!({})).await.unwrap_err().code, Code::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_spawned_actor_that_was_ended_is_nobody_until_it_is_spawned_again() {
    let profile = Profile { idle_timeout: Some(Duration::from_secs(60)), ..Profile::default() };
    let lab = Lab::with(profile, Vec::new()).await;
    let spawn = async |name: &str| lab.ask("a", "spawn", json!({"type": "probe", "name": name})).await;
    let passivated = async || {
        tokio::time::sleep(Duration::from_secs(200)).await;
        assert_eq!(lab.runtime.actors(), 0);
    };
    for (kid, end) in [("stopped", "stop"), ("killed", "kill"), ("stopped-asleep", "stop"), ("killed-asleep", "kill")] {
        spawn(kid).await.unwrap();
        let identity = format!("probe/{kid}");
        let watch = lab.ask("w", "monitor", json!({"target": identity})).await.unwrap();
        if kid.ends_with("asleep") {
            // It has not ended: a message would bring it back.
            passivated().await;
            assert_eq!(lab.ask(kid, "get", json!({})).await, Ok(json!({"count": 0})));
            passivated().await;
        }
        let target = Target { name: "probe", key: Some(kid) };
        let ended = if end == "stop" { lab.runtime.stop_actor(&lab.ctx(), target) } else { lab.runtime.kill_actor(&lab.ctx(), target) };
        assert_eq!(ended, Ok(true), "{kid}");
        let full = format!("default/probe/{kid}");
        let reason = if end == "stop" { "shutdown" } else { "kill" };
        let heard = lab.heard("probe/w", 1).await;
        assert!(heard.contains(&down(&watch, &full, reason)), "{kid}: {heard:?}");

        assert_eq!(lab.ask(kid, "get", json!({})).await.unwrap_err().code, Code::NotFound, "{kid}");
        assert_eq!(lab.tell(kid, "add", json!({})).await.unwrap_err().code, Code::NotFound, "{kid}");
        let asked = lab.ask("x", "ask", json!({"target": identity, "op": "get", "payload": {}})).await.unwrap();
        assert_eq!(asked["code"], "not_found", "{kid}");
        let told = lab.ask("x", "tell", json!({"target": identity, "op": "add"})).await.unwrap();
        let letters = lab.runtime.dead_letters(&lab.ctx(), None, 100).await.unwrap().0;
        assert!(told["code"] == "not_found" || letters.iter().any(|letter| letter.key == kid), "{kid}: {told}");
        let watch = lab.ask("w", "monitor", json!({"target": identity})).await.unwrap();
        let heard = lab.heard("probe/w", 2).await;
        assert!(heard.contains(&down(&watch, &full, "noproc")), "{kid}: {heard:?}");
        lab.ask_any("guard/g", "link", json!({"target": identity})).await.unwrap();
        let heard = lab.heard("guard/g", 1).await;
        assert!(heard.contains(&exit(&full, "error: noproc")), "{kid}: {heard:?}");
        assert!(!lab.runtime.stop_actor(&lab.ctx(), target).unwrap());

        // A new version knows it too, and the name can be used again.
        lab.runtime.deploy(&lab.application).await.unwrap();
        assert_eq!(lab.ask(kid, "get", json!({})).await.unwrap_err().code, Code::NotFound, "{kid}");
        assert_eq!(spawn(kid).await, Ok(json!(full)));
        assert_eq!(lab.ask(kid, "get", json!({})).await, Ok(json!({"count": 0})));
        passivated().await;
    }
    // Nobody has spawned this one: it is a virtual actor.
    lab.ask("b", "add", json!({})).await.unwrap();
    while lab.ask("x", "stop", json!({"target": "probe/b"})).await == Ok(json!(true)) {}
    assert_eq!(lab.count("b").await, 0);
}

#[tokio::test]
async fn an_actor_is_not_tied_to_others_faster_than_it_hears_of_their_ends() {
    let lab = Lab::volatile().await;
    let refused = lab.ask("a", "watch nobody", json!({})).await.unwrap();
    assert_eq!(refused, json!([100_000, "overloaded"]));
    assert_eq!(lab.heard("probe/a", 100_000).await.len(), 100_000);
    lab.ask("a", "monitor", json!({"target": "probe/b"})).await.unwrap();
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

#[tokio::test(start_paused = true)]
async fn a_panic_while_its_state_is_taken_costs_an_actor_that_state() {
    let lab = Lab::volatile().await;
    lab.ask("a", "add", json!({})).await.unwrap();
    lab.factory.watch.fail_snapshot.store(true, std::sync::atomic::Ordering::SeqCst);
    lab.runtime.deploy(&lab.application).await.unwrap();
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
