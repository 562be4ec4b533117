//! Guarantees of virtual actors under pressure. `docs/semantics.md` names these tests.
#![allow(missing_docs)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use plexspaces_actor::{ActorFilter, ActorOrder, Budget, Profile};
use plexspaces_store::Memory;
use plexspaces_types::Clock;
use serde_json::json;
use support::{Lab, child};

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

#[tokio::test(start_paused = true)]
async fn a_lazy_child_begins_with_its_application_and_may_leave_and_an_eager_one_stays_until_it_is_idle() {
    let idle_timeout = Some(Duration::from_secs(600));
    let lazy = Profile { durable: true, idle_timeout, ..Profile::default() };
    let eager = Profile { eager: true, ..lazy.clone() };
    let budget = Budget { memory_bytes: None, actors: Some(1) };
    let children = vec![child("lazy", lazy), child("eager", eager)];
    let lab = Lab::within(budget, Clock::manual(1_000_000), Arc::new(Memory::new()), Profile::default(), children).await;
    assert_eq!(lab.made(), 2, "the init of both has run");
    let left = || {
        let filter = ActorFilter { tenant: &lab.application.tenant, namespace: None, actor_type: None };
        lab.runtime.list_actors(filter, None, 100).0.iter().map(|actor| actor.id.key.to_string()).collect::<Vec<_>>()
    };
    lab.ask("lazy", "add", json!({"by": 7})).await.unwrap();
    while left() != ["eager"] {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!((lab.count("lazy").await, lab.count("eager").await), (7, 0));
    tokio::time::sleep(Duration::from_secs(1300)).await;
    assert_eq!(left(), Vec::<String>::new());
    assert_eq!((lab.count("lazy").await, lab.count("eager").await), (7, 0));
}

#[tokio::test]
async fn the_metrics_show_the_actors_of_each_type_together() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let lab = Lab::with(Profile::default(), vec![child("kid", Profile::default())]).await;
    for key in ["a", "b", "c"] {
        lab.ask(key, "add", json!({})).await.unwrap();
    }
    lab.ask("a", "crash", json!({})).await.unwrap_err();
    lab.ask("kid", "crash", json!({})).await.unwrap_err();
    assert_eq!((lab.count("a").await, lab.count("kid").await), (0, 0));
    lab.ask_any("guard/g", "get", json!({})).await.unwrap();
    // One works, and two wait for it.
    lab.tell("b", "hold", json!({})).await.unwrap();
    while lab.factory.watch.handled.lock().unwrap().last().unwrap() != "hold" {
        tokio::task::yield_now().await;
    }
    for _ in 0..2 {
        lab.tell("b", "add", json!({})).await.unwrap();
    }
    let shows = async |wanted: &[(&str, &str, &str)]| {
        for _ in 0..10_000 {
            lab.runtime.count_actors();
            let text = handle.render();
            let is_there = |(metric, actor_type, rest): &(&str, &str, &str)| {
                let labels = "namespace=\"default\",app=\"lab\",type=";
                text.lines().any(|line| line == format!("plexspaces_actor_{metric}{{{labels}\"{actor_type}\"{rest}"))
            };
            if wanted.iter().all(is_there) {
                return;
            }
            // What was counted a moment ago is not counted again.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("expected {wanted:?}, found {}", handle.render());
    };
    shows(&[
        ("count", "probe", "} 4"),
        ("count", "guard", "} 1"),
        ("mailbox_depth", "probe", "} 2"),
        ("mailbox_depth", "guard", "} 0"),
        ("memory_bytes", "probe", "} 0"),
        ("restarts_total", "probe", "} 2"),
        ("restarts_total", "guard", "} 0"),
        ("messages_total", "guard", ",outcome=\"handled\"} 1"),
        ("messages_total", "probe", ",outcome=\"crashed\"} 2"),
    ])
    .await;
    lab.factory.gate.add_permits(1);
    lab.count("b").await;
    shows(&[("mailbox_depth", "probe", "} 0"), ("count", "probe", "} 4")]).await;
    lab.runtime.undeploy(&lab.application.tenant, &lab.application.namespace, &lab.application.name).await.unwrap();
    shows(&[("count", "probe", "} 0"), ("count", "guard", "} 0")]).await;
}
