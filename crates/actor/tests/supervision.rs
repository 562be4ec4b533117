//! Guarantees of supervision. `docs/semantics.md` names these tests.
#![allow(missing_docs)]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use plexspaces_actor::Profile;
use plexspaces_types::Code;
use serde_json::json;
use support::{Lab, child};

fn resident() -> Profile {
    Profile::default()
}

#[tokio::test]
async fn a_failure_costs_only_its_own_actor_its_state() {
    let lab = Lab::volatile().await;
    lab.ask("a", "add", json!({"by": 1})).await.unwrap();
    lab.ask("b", "add", json!({"by": 2})).await.unwrap();
    let failure = lab.ask("a", "crash", json!({})).await.unwrap_err();
    assert_eq!(failure.code, Code::HandlerFailed);
    assert!(!failure.message.contains("trace"), "{failure}");
    assert_eq!((lab.count("a").await, lab.count("b").await), (0, 2));
}

#[tokio::test]
async fn a_refused_message_costs_nothing() {
    let lab = Lab::volatile().await;
    lab.ask("a", "add", json!({"by": 1})).await.unwrap();
    let refused = lab.ask("a", "reject", json!({})).await.unwrap_err();
    assert_eq!((refused.code, refused.field.as_deref()), (Code::InvalidArgument, Some("by")));
    assert_eq!(lab.ask("a", "nonsense", json!({})).await.unwrap_err().code, Code::UnknownOperation);
    assert_eq!((lab.count("a").await, lab.made()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_fails_again_and_again_comes_back_later_and_later() {
    let lab = Lab::volatile().await;
    let app = &lab.application;
    for _ in 0..3 {
        lab.ask("a", "crash", json!({})).await.unwrap_err();
    }
    assert!(!lab.runtime.is_degraded(&app.tenant, &app.namespace, &app.name));
    let mut refused = None;
    for _ in 0..20 {
        let failure = lab.ask("a", "crash", json!({})).await.unwrap_err();
        if failure.code == Code::Unavailable {
            refused = Some(failure);
            break;
        }
    }
    assert!(refused.unwrap().retry_after.unwrap() > Duration::from_secs(1));
    assert!(lab.runtime.is_degraded(&app.tenant, &app.namespace, &app.name));
    // Nobody else waits, and the application is well again when the window has passed without failure.
    assert_eq!(lab.ask("b", "add", json!({})).await, Ok(json!({"count": 1})));
    lab.clock.advance(60_000);
    assert!(!lab.runtime.is_degraded(&app.tenant, &app.namespace, &app.name));
}

#[tokio::test]
async fn children_start_with_their_application_and_know_who_they_are() {
    let mut profile = resident();
    profile.args.insert("colour".into(), json!("red"));
    let lab = Lab::with(Profile::default(), vec![child("alice", profile), child("bob", resident())]).await;
    assert_eq!((lab.runtime.actors(), lab.made()), (2, 2));
    let config = lab.ask("alice", "config", json!({})).await.unwrap();
    assert_eq!(config["args"], json!({"colour": "red", "role": "probe"}));
    assert_eq!((&config["application"], &config["name"]), (&json!("lab"), &json!("alice")));
    assert_eq!(lab.ask("bob", "config", json!({})).await.unwrap()["args"], json!({"role": "probe"}));
}

#[tokio::test(start_paused = true)]
async fn a_child_comes_back_without_a_message() {
    let lab = Lab::with(Profile::default(), vec![child("alice", resident())]).await;
    lab.ask("alice", "crash", json!({})).await.unwrap_err();
    while lab.made() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn an_application_whose_child_cannot_start_is_not_deployed() {
    let lab = Lab::volatile().await;
    let factory = support::ProbeFactory::new("v1");
    factory.watch.fail_init.store(true, Ordering::SeqCst);
    let mut broken = support::application(factory, Profile::default(), vec![child("zoe", resident())]);
    broken.name = support::name("broken");
    broken.namespace = support::name("elsewhere");
    let failure = lab.runtime.deploy(&broken).await.unwrap_err();
    assert_eq!(failure.message, "child \"zoe\" did not start: init failed");
    let mut ctx = lab.ctx();
    ctx.namespace = broken.namespace.clone();
    let target = plexspaces_actor::Target { name: "probe", key: None };
    let gone = lab.runtime.ask(&ctx, target, support::request("get", &json!({}), None)).await.unwrap_err();
    assert_eq!(gone.code, Code::NotFound);
}
