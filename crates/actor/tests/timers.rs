//! Guarantees of timers. `docs/semantics.md` names these tests.
#![allow(missing_docs)]

mod support;

use std::time::Duration;

use plexspaces_actor::Profile;
use serde_json::json;
use support::Lab;

async fn pass(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_timer_fires_once_after_its_delay() {
    let lab = Lab::volatile().await;
    lab.ask("a", "timer", json!({"after": 100, "op": "add", "payload": {"by": 5}})).await.unwrap();
    pass(90).await;
    assert_eq!(lab.count("a").await, 0);
    pass(500).await;
    assert_eq!(lab.count("a").await, 5);
}

#[tokio::test(start_paused = true)]
async fn a_periodic_timer_fires_until_it_is_cancelled() {
    let lab = Lab::volatile().await;
    lab.ask("a", "timer", json!({"every": 100, "op": "add", "name": "tick"})).await.unwrap();
    pass(1_050).await;
    assert_eq!(lab.count("a").await, 10);
    assert_eq!(lab.ask("a", "cancel", json!({"name": "tick"})).await, Ok(json!(true)));
    assert_eq!(lab.ask("a", "cancel", json!({"name": "tick"})).await, Ok(json!(false)));
    pass(1_000).await;
    assert_eq!(lab.count("a").await, 10);
}

#[tokio::test(start_paused = true)]
async fn a_timer_of_the_same_name_replaces_the_earlier_one() {
    let lab = Lab::volatile().await;
    for by in [1, 10] {
        lab.ask("a", "timer", json!({"after": 100, "op": "add", "name": "once", "payload": {"by": by}})).await.unwrap();
    }
    pass(300).await;
    assert_eq!(lab.count("a").await, 10);
}

#[tokio::test(start_paused = true)]
async fn a_cron_timer_fires_at_its_times() {
    let lab = Lab::volatile().await;
    // The clock of the laboratory stands at 16 minutes and 40 seconds past the hour.
    lab.ask("a", "timer", json!({"cron": "17 * * * *", "op": "add"})).await.unwrap();
    pass(19_900).await;
    assert_eq!(lab.count("a").await, 0);
    lab.clock.advance(20_000);
    pass(200).await;
    assert_eq!(lab.count("a").await, 1);
    let wrong = lab.ask("a", "timer", json!({"cron": "nonsense", "op": "add"})).await.unwrap_err();
    assert_eq!(wrong.field.as_deref(), Some("cron"));
}

#[tokio::test(start_paused = true)]
async fn timers_end_with_the_actors_failure_and_those_of_a_failed_turn_never_start() {
    let lab = Lab::volatile().await;
    lab.ask("a", "timer", json!({"every": 10, "op": "add"})).await.unwrap();
    lab.ask("a", "timer", json!({"every": 10, "op": "add", "crash": true})).await.unwrap_err();
    pass(500).await;
    assert_eq!(lab.count("a").await, 0);
}

#[tokio::test(start_paused = true)]
async fn an_actor_with_a_timer_stays_in_memory() {
    let profile = Profile { idle_timeout: Some(Duration::from_secs(1)), ..Profile::default() };
    let lab = Lab::with(profile, Vec::new()).await;
    lab.ask("a", "timer", json!({"after": 60_000, "op": "add"})).await.unwrap();
    pass(30_000).await;
    assert_eq!(lab.runtime.actors(), 1);
    pass(31_000).await;
    assert_eq!(lab.made(), 1);
    pass(5_000).await;
    assert_eq!(lab.runtime.actors(), 0);
}

fn durable() -> Profile {
    Profile { durable: true, idle_timeout: Some(Duration::from_secs(1)), ..Profile::default() }
}

/// Passes time on both clocks.
async fn live_through(lab: &Lab, milliseconds: u64) {
    for _ in 0..milliseconds / 100 {
        lab.clock.advance(100);
        pass(100).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_reminder_wakes_a_passivated_actor() {
    let lab = Lab::with(durable(), Vec::new()).await;
    lab.ask("a", "timer", json!({"after": 60_000, "op": "add", "durable": true, "payload": {"by": 5}})).await.unwrap();
    live_through(&lab, 30_000).await;
    assert_eq!(lab.runtime.actors(), 0);
    live_through(&lab, 35_000).await;
    assert_eq!(lab.made(), 2);
    assert_eq!(lab.count("a").await, 5);
    live_through(&lab, 120_000).await;
    assert_eq!(lab.count("a").await, 5);
}

#[tokio::test(start_paused = true)]
async fn a_reminder_survives_the_node_and_fires_in_time_and_once_for_each_time() {
    let store: std::sync::Arc<dyn plexspaces_store::Store> = std::sync::Arc::new(plexspaces_store::Memory::new());
    let first = Lab::on(store.clone(), durable(), Vec::new()).await;
    first.ask("a", "timer", json!({"every": 10_000, "op": "add", "durable": true, "name": "poll"})).await.unwrap();
    live_through(&first, 35_000).await;
    assert_eq!(first.count("a").await, 3);
    first.runtime.shutdown(Duration::from_secs(1)).await;
    let second = Lab::at(first.clock.clone(), store, durable(), Vec::new()).await;
    live_through(&second, 30_000).await;
    assert_eq!(second.count("a").await, 6);
    assert_eq!(second.ask("a", "cancel", json!({"name": "poll", "durable": true})).await, Ok(json!(true)));
    assert_eq!(second.ask("a", "cancel", json!({"name": "poll", "durable": true})).await, Ok(json!(false)));
    live_through(&second, 30_000).await;
    assert_eq!(second.count("a").await, 6);
}

#[tokio::test(start_paused = true)]
async fn a_reminder_whose_turn_fails_is_tried_three_times_and_comes_again_at_its_next_time() {
    let lab = Lab::with(durable(), Vec::new()).await;
    lab.ask("a", "timer", json!({"every": 60_000, "op": "crash", "durable": true})).await.unwrap();
    live_through(&lab, 70_000).await;
    let crashes = || lab.factory.watch.handled.lock().unwrap().iter().filter(|handled| *handled == "crash").count();
    assert_eq!(crashes(), 3);
    live_through(&lab, 60_000).await;
    assert_eq!(crashes(), 6);
}

#[tokio::test]
async fn an_actor_that_is_not_durable_has_no_reminders() {
    let lab = Lab::volatile().await;
    let refused = lab.ask("a", "timer", json!({"after": 1, "op": "add", "durable": true})).await.unwrap_err();
    assert!(refused.message.ends_with("default/probe/a is not durable: give it the facet durability"), "{refused}");
}
