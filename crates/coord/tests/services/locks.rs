//! Locks.

use std::sync::Arc;

use plexspaces_store::Memory;
use plexspaces_types::Clock;
use serde_json::{Value, json};

use crate::support::{Node, beside, eventually};

async fn acquire(node: &Node, key: &str, ttl_ms: u64) -> Value {
    node.ask("acquire", json!({"key": key, "ttl_ms": ttl_ms})).await["version"].clone()
}

#[tokio::test]
async fn a_lock_has_one_holder_at_a_time() {
    let node = Node::new("locks");
    let version = acquire(&node, "door", 60_000).await;
    assert!(version.is_string());
    assert_eq!(acquire(&node, "door", 60_000).await, Value::Null, "who does not say who he is may not come in again");
    assert!(acquire(&node, "window", 60_000).await.is_string());
    assert_eq!(node.ask("release", json!({"key": "door", "version": "999"})).await, json!({"released": false}));
    assert_eq!(node.ask("release", json!({"key": "door", "version": version})).await, json!({"released": true}));
    assert_eq!(node.ask("release", json!({"key": "door", "version": version})).await, json!({"released": false}));
    assert!(acquire(&node, "door", 60_000).await.is_string());
}

#[tokio::test]
async fn a_holder_that_names_itself_renews_and_keeps_its_version() {
    let node = Node::new("locks");
    let candidate = async |holder: &str| node.ask("acquire", json!({"key": "leader", "ttl_ms": 60_000, "holder": holder})).await;
    let first = candidate("a").await;
    let refused = candidate("b").await;
    assert_eq!((refused["version"].clone(), refused["holder"].clone()), (Value::Null, json!("a")));
    assert_eq!(candidate("a").await["version"], first["version"]);
    assert_eq!(node.ask("renew", json!({"key": "leader", "version": first["version"], "ttl_ms": 1})).await, json!({"renewed": true}));
    eventually("the lease is over", async || candidate("b").await["version"].is_string()).await;
    assert_eq!(node.ask("renew", json!({"key": "leader", "version": first["version"], "ttl_ms": 1})).await, json!({"renewed": false}));
}

#[tokio::test]
async fn versions_only_grow_over_releases_leases_and_restarts() {
    let mut node = Node::new("locks");
    let mut last = 0;
    for round in 0..6 {
        let version: u64 = acquire(&node, "door", 60_000).await.as_str().unwrap().parse().unwrap();
        assert!(version > last, "{version} after {last}");
        last = version;
        if round == 3 {
            node = node.restart();
            assert_eq!(acquire(&node, "door", 60_000).await, Value::Null, "a lock outlives the node");
        }
        assert_eq!(node.ask("release", json!({"key": "door", "version": last.to_string()})).await, json!({"released": true}));
    }
}

#[tokio::test]
async fn those_who_wait_are_served_in_their_order() {
    let node = Arc::new(Node::new("locks"));
    let version = acquire(&node, "door", 60_000).await;
    let mut waiting = Vec::new();
    for name in ["a", "b", "c"] {
        waiting.push(beside(&node, "acquire", json!({"key": "door", "ttl_ms": 60_000, "holder": name, "timeout_ms": 60_000})));
        // The next one comes when this one is inside.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let mut version = version;
    for (name, waiter) in ["a", "b", "c"].iter().zip(waiting) {
        node.ask("release", json!({"key": "door", "version": version})).await;
        let lock = waiter.await.unwrap();
        assert_eq!(lock["holder"], json!(name));
        version = lock["version"].clone();
    }
}

#[tokio::test]
async fn who_comes_when_a_lease_has_just_ended_does_not_overtake_those_who_wait() {
    let clock = Clock::manual(1_000_000);
    let node = Arc::new(Node::with_clock("locks", Arc::new(Memory::default()), clock.clone()));
    acquire(&node, "door", 60_000).await;
    let waiter = beside(&node, "acquire", json!({"key": "door", "ttl_ms": 60_000, "holder": "first", "timeout_ms": 3_600_000}));
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    clock.advance(60_000);
    let late = node.ask("acquire", json!({"key": "door", "ttl_ms": 60_000, "holder": "late"})).await;
    assert_eq!((&late["version"], &late["holder"]), (&Value::Null, &json!("first")));
    assert_eq!(waiter.await.unwrap()["holder"], json!("first"));
}

#[tokio::test]
async fn a_wait_ends_when_the_holders_lease_does_or_with_nothing() {
    let node = Node::new("locks");
    acquire(&node, "door", 40).await;
    let next = node.ask("acquire", json!({"key": "door", "ttl_ms": 60_000, "timeout_ms": 60_000})).await;
    assert!(next["version"].is_string());
    let late = node.ask("acquire", json!({"key": "door", "ttl_ms": 60_000, "timeout_ms": 30})).await;
    assert_eq!(late["version"], Value::Null);
}

#[tokio::test]
async fn who_names_another_holder_releases_nothing() {
    let node = Node::new("locks");
    let lock = node.ask("acquire", json!({"key": "door", "ttl_ms": 60_000, "holder": "a"})).await;
    let release = async |holder: Value| {
        let release = json!({"key": "door", "version": lock["version"], "holder": holder});
        node.ask("release", release).await["released"].clone()
    };
    assert_eq!((release(json!("b")).await, release(json!("a")).await), (json!(false), json!(true)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_two_hold_a_lock_at_the_same_time() {
    let node = Arc::new(Node::new("locks"));
    let inside = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let workers = (0..8).map(|_| {
        let (node, inside) = (node.clone(), inside.clone());
        tokio::spawn(async move {
            for _ in 0..50 {
                let lock = node.ask("acquire", json!({"key": "one", "ttl_ms": 60_000, "timeout_ms": 60_000})).await;
                assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                tokio::task::yield_now().await;
                inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                node.ask("release", json!({"key": "one", "version": lock["version"]})).await;
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
}

#[tokio::test]
async fn locks_are_listed_and_wrong_requests_named() {
    let node = Node::new("locks");
    for key in ["a/1", "a/2", "b/1"] {
        node.ask("acquire", json!({"key": key, "ttl_ms": 60_000, "holder": "me"})).await;
    }
    let page = node.ask("list", json!({"prefix": "a/", "limit": 1})).await;
    assert_eq!((page["locks"][0]["key"].clone(), page["next"].clone()), (json!("a/1"), json!("a/1")));
    let page = node.ask("list", json!({"prefix": "a/", "limit": 1, "after": "a/1"})).await;
    assert_eq!((page["locks"][0]["key"].clone(), page["next"].clone()), (json!("a/2"), Value::Null));
    assert_eq!(node.ask("get", json!({"key": "b/1"})).await["lock"]["holder"], json!("me"));
    for (operation, arguments, wrong) in [
        ("acquire", json!({"key": "", "ttl_ms": 1}), "key"),
        ("acquire", json!({"key": "a", "ttl_ms": 0}), "ttl_ms"),
        ("release", json!({"key": "a", "version": "one"}), "version"),
        ("list", json!({"limit": 0}), "limit"),
    ] {
        let (code, field, _) = node.refused(operation, arguments).await;
        assert_eq!((code, field.as_deref()), ("invalid_argument", Some(wrong)));
    }
    assert_eq!(node.refused("steal", json!({})).await.0, "unknown_operation");
}
