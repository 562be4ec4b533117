//! Guarantees of virtual actors under pressure. `docs/semantics.md` names these tests.
#![allow(missing_docs)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use plexspaces_actor::{ActorFilter, ActorOrder, Budget, Profile};
use plexspaces_store::Memory;
use plexspaces_types::Clock;
use serde_json::json;
use support::Lab;

async fn crowded(profile: Profile) -> Lab {
    let budget = Budget { memory_bytes: None, actors: Some(10) };
    Lab::within(budget, Clock::manual(1_000_000), Arc::new(Memory::new()), profile, Vec::new()).await
}

#[tokio::test(start_paused = true)]
async fn under_pressure_the_actors_used_longest_ago_leave_memory_and_lose_nothing() {
    let lab = crowded(Profile { durable: true, ..Profile::default() }).await;
    for number in 0..10 {
        lab.ask(&number.to_string(), "add", json!({"by": number})).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    lab.ask("0", "add", json!({"by": 100})).await.unwrap();
    lab.ask("10", "add", json!({"by": 10})).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let filter = ActorFilter { tenant: &lab.application.tenant, namespace: None, actor_type: None };
    let left: Vec<String> = lab.runtime.list_actors(filter, None, 100).0.iter().map(|actor| actor.id.key.to_string()).collect();
    assert_eq!(left, ["0", "10", "2", "3", "4", "5", "6", "7", "8", "9"]);
    assert_eq!((lab.count("1").await, lab.count("0").await), (1, 100));
}

#[tokio::test(start_paused = true)]
async fn who_comes_waits_for_a_place_and_so_the_budget_holds() {
    let lab = Arc::new(crowded(Profile { durable: true, ..Profile::default() }).await);
    let began = tokio::time::Instant::now();
    let mut asks = tokio::task::JoinSet::new();
    for number in 0..60 {
        let lab = lab.clone();
        asks.spawn(async move {
            lab.ask(&number.to_string(), "add", json!({"by": number})).await.unwrap();
            lab.runtime.census().live
        });
    }
    while let Some(live) = asks.join_next().await {
        assert!(live.unwrap() <= 10);
    }
    for number in 0..60 {
        assert_eq!(lab.count(&number.to_string()).await, number);
        assert!(lab.runtime.census().live <= 10);
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

/// Lets actors begin turns that last until the gate is opened.
async fn keep_busy(lab: &Arc<Lab>, keys: std::ops::Range<usize>) {
    let count = keys.len();
    for key in keys {
        let lab = lab.clone();
        tokio::spawn(async move { lab.ask(&key.to_string(), "hold", json!({})).await });
    }
    while lab.runtime.census().live < count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_nobody_can_leave_finds_what_there_is() {
    for what in ["turns", "timers"] {
        let lab = Arc::new(crowded(Profile { durable: true, ..Profile::default() }).await);
        if what == "turns" {
            keep_busy(&lab, 0..10).await;
        } else {
            for key in 0..10 {
                lab.ask(&key.to_string(), "timer", json!({"every": 3_600_000, "op": "get"})).await.unwrap();
            }
        }
        let began = tokio::time::Instant::now();
        for key in 10..20 {
            lab.ask(&key.to_string(), "add", json!({"by": key})).await.unwrap();
            assert!(lab.runtime.census().live <= 12, "those that can leave do");
        }
        assert!(began.elapsed() < Duration::from_secs(1), "{what}: {:?}", began.elapsed());
        lab.factory.gate.add_permits(10);
        for key in 10..20 {
            assert_eq!(lab.count(&key.to_string()).await, key);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_can_leave_goes_before_those_that_cannot() {
    let lab = Arc::new(crowded(Profile { durable: true, ..Profile::default() }).await);
    // They were used longest ago.
    keep_busy(&lab, 0..9).await;
    lab.ask("9", "add", json!({})).await.unwrap();
    let began = tokio::time::Instant::now();
    for key in 10..20 {
        lab.ask(&key.to_string(), "add", json!({})).await.unwrap();
        assert!(lab.runtime.census().live <= 10);
    }
    assert!(began.elapsed() < Duration::from_millis(50), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn actors_that_would_lose_their_state_and_eager_ones_stay() {
    for profile in [Profile::default(), Profile { durable: true, eager: true, ..Profile::default() }] {
        let lab = crowded(profile).await;
        for number in 0..20 {
            lab.ask(&number.to_string(), "add", json!({})).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(lab.runtime.actors(), 20);
    }
}

#[tokio::test]
async fn the_busiest_actors_are_found_and_pages_are_in_order() {
    let lab = Lab::volatile().await;
    for number in 0..30 {
        for _ in 0..=number {
            lab.ask(&format!("{number:02}"), "add", json!({})).await.unwrap();
        }
    }
    let filter = ActorFilter { tenant: &lab.application.tenant, namespace: Some("default"), actor_type: Some("probe") };
    let busiest = lab.runtime.busiest_actors(filter, ActorOrder::Messages, 2);
    let busiest: Vec<_> = busiest.iter().map(|actor| (actor.id.key.to_string(), actor.messages)).collect();
    assert_eq!(busiest, [("29".to_owned(), 30), ("28".to_owned(), 29)]);
    let (first, more) = lab.runtime.list_actors(filter, None, 20);
    let (second, last) = lab.runtime.list_actors(filter, Some(&first[19].id.to_string()), 20);
    assert_eq!((first.len(), more, second.len(), last), (20, true, 10, false));
    let all: Vec<String> = first.iter().chain(&second).map(|actor| actor.id.key.to_string()).collect();
    assert_eq!(all, (0..30).map(|number| format!("{number:02}")).collect::<Vec<_>>());
}
