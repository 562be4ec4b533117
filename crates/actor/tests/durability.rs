//! Guarantees of durable turns. `docs/semantics.md` names these tests.
#![allow(missing_docs)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use plexspaces_actor::{Profile, Target};
use plexspaces_store::{Batch, Error, Limits, Memory, Page, Partition, Range, Store};
use plexspaces_types::{ActorId, Code, Name};
use serde_json::json;
use support::Lab;

fn durable() -> Profile {
    Profile { durable: true, ..Profile::default() }
}

/// A store that fails commits when it is told to, and counts them.
#[derive(Default)]
struct Faulty {
    inner: Memory,
    failing: std::sync::atomic::AtomicBool,
    commits: std::sync::atomic::AtomicUsize,
    /// So many commits of this partition fail first.
    refused: parking_lot::Mutex<Option<(Partition, usize)>>,
}

#[async_trait]
impl Store for Faulty {
    fn backend(&self) -> &'static str {
        "faulty"
    }
    fn limits(&self) -> &Limits {
        self.inner.limits()
    }
    async fn get(&self, partition: &Partition, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.inner.get(partition, key).await
    }
    async fn scan(&self, partition: &Partition, range: Range, limit: usize) -> Result<Page, Error> {
        self.inner.scan(partition, range, limit).await
    }
    async fn commit(&self, batch: Batch) -> Result<(), Error> {
        if self.failing.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(Error::Full("the disk".into()));
        }
        if let Some((_, left)) = self.refused.lock().as_mut().filter(|(refused, left)| *refused == batch.partition && *left > 0) {
            *left -= 1;
            return Err(Error::Unavailable("for a moment".into()));
        }
        self.commits.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        self.inner.commit(batch).await
    }
}

#[tokio::test]
async fn an_acknowledged_change_is_there_in_a_new_node() {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let first = Lab::on(store.clone(), durable(), Vec::new()).await;
    first.ask("a", "add", json!({"by": 5})).await.unwrap();
    first.tell("a", "add", json!({"by": 2})).await.unwrap();
    // The first node is not stopped: it is as if it had been cut off.
    let second = Lab::on(store, durable(), Vec::new()).await;
    assert_eq!(second.count("a").await, 7);
}

#[tokio::test]
async fn a_tell_to_a_durable_actor_returns_when_it_is_committed() {
    let store = Arc::new(Faulty::default());
    let lab = Lab::on(store.clone(), durable(), Vec::new()).await;
    lab.tell("a", "add", json!({})).await.unwrap();
    assert_eq!(store.commits.load(std::sync::atomic::Ordering::SeqCst), 1);
    store.failing.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(lab.tell("a", "add", json!({})).await.unwrap_err().code, Code::StorageFull);
}

#[tokio::test]
async fn a_turn_that_cannot_be_committed_leaves_no_trace() {
    let store = Arc::new(Faulty::default());
    let lab = Lab::on(store.clone(), durable(), Vec::new()).await;
    lab.ask("a", "add", json!({"by": 1})).await.unwrap();
    store.failing.store(true, std::sync::atomic::Ordering::SeqCst);
    let failure = lab.ask("a", "add", json!({"by": 10})).await.unwrap_err();
    assert_eq!(failure.code, Code::StorageFull);
    store.failing.store(false, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(lab.count("a").await, 1);
    lab.ask("a", "add", json!({"by": 1})).await.unwrap();
    assert_eq!(lab.count("a").await, 2);
}

#[tokio::test]
async fn a_failed_turn_is_rolled_back_with_its_keys_and_its_messages() {
    let lab = Lab::durable().await;
    lab.ask("a", "add", json!({"by": 4})).await.unwrap();
    let failure = lab.ask("a", "crash", json!({"tell": "probe/b"})).await.unwrap_err();
    assert_eq!((failure.code, failure.message.as_str()), (Code::HandlerFailed, "boom"));
    assert_eq!(lab.count("a").await, 4);
    assert_eq!(lab.ask("a", "read", json!({"key": "k"})).await, Ok(json!(null)));
    assert_eq!(lab.count("b").await, 0);
}

#[tokio::test]
async fn a_turn_that_changes_nothing_commits_nothing() {
    let store = Arc::new(Faulty::default());
    let lab = Lab::on(store.clone(), durable(), Vec::new()).await;
    lab.ask("a", "add", json!({})).await.unwrap();
    for _ in 0..10 {
        lab.count("a").await;
    }
    assert_eq!(store.commits.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_turns_messages_leave_after_its_commit() {
    let store = Arc::new(Faulty::default());
    let lab = Lab::on(store.clone(), durable(), Vec::new()).await;
    lab.ask("a", "tell", json!({"target": "probe/b", "op": "add"})).await.unwrap();
    while lab.count("b").await == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(lab.count("b").await, 1);
}

#[tokio::test]
async fn a_message_whose_commit_the_store_does_not_take_is_tried_again() {
    for (times, count, letters) in [(2, 1, 0), (3, 0, 1)] {
        let store = Arc::new(Faulty::default());
        let lab = Lab::on(store.clone(), durable(), Vec::new()).await;
        let receiver = ActorId::parse(&Name::default_scope(), "default/probe/b").unwrap();
        *store.refused.lock() = Some((Partition::actor(&receiver), times));
        lab.ask("a", "tell", json!({"target": "probe/b", "op": "add"})).await.unwrap();
        let lost = async || lab.runtime.dead_letters(&lab.ctx(), None, 10).await.unwrap().0.len();
        while lab.count("b").await < count || lost().await < letters {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Nor does it come twice.
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!((lab.count("b").await, lost().await), (count, letters));
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_of_which_no_dead_letter_can_be_written_is_not_let_go() {
    let store = Arc::new(Faulty::default());
    let lab = Lab::on(store.clone(), durable(), Vec::new()).await;
    let letters = Partition::namespace(&Name::default_scope(), &Name::default_scope(), "dead-letters");
    *store.refused.lock() = Some((letters, 5));
    lab.ask("a", "tell", json!({"target": "probe/b", "op": "crash"})).await.unwrap();
    lab.ask("a", "tell", json!({"target": "probe/b", "op": "add"})).await.unwrap();
    let lost = async || lab.runtime.dead_letters(&lab.ctx(), None, 10).await.unwrap().0;
    while lost().await.is_empty() {
        // What came later waits for it.
        assert_eq!(lab.factory.watch.handled.lock().unwrap().iter().filter(|operation| *operation == "add").count(), 0);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!((lost().await.len(), lost().await[0].operation.as_str()), (1, "crash"));
    assert_eq!(lab.count("b").await, 1);
}

#[tokio::test]
async fn what_is_told_to_an_actor_that_is_stopped_or_killed_is_a_dead_letter() {
    for kill in [false, true] {
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        let lab = Lab::on(store, durable(), Vec::new()).await;
        let target = Target { name: "probe", key: Some("b") };
        lab.ask("a", "tell", json!({"target": "probe/b", "op": "hold"})).await.unwrap();
        while !lab.factory.watch.handled.lock().unwrap().iter().any(|operation| operation == "hold") {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for _ in 0..2 {
            lab.ask("a", "tell", json!({"target": "probe/b", "op": "add"})).await.unwrap();
        }
        if kill {
            assert!(lab.runtime.kill_actor(&lab.ctx(), target).unwrap());
        } else {
            assert!(lab.runtime.stop_actor(&lab.ctx(), target).unwrap());
            lab.factory.gate.add_permits(1);
        }
        // The message of the turn that was killed is one too.
        let lost = async || lab.runtime.dead_letters(&lab.ctx(), None, 10).await.unwrap().0;
        while lost().await.len() < 2 + usize::from(kill) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let lost = lost().await;
        assert_eq!(lost.iter().filter(|letter| letter.operation == "add").count(), 2);
        // What comes later is its successor's.
        lab.ask("a", "tell", json!({"target": "probe/b", "op": "add"})).await.unwrap();
        while lab.count("b").await == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(lab.count("b").await, 1);
    }
}

#[tokio::test]
async fn an_idempotency_key_applies_a_request_once_and_gives_the_stored_reply() {
    for lab in [Lab::durable().await, Lab::volatile().await] {
        let key = Some("0123456789abcdef");
        let first = lab.request("a", "add", json!({"by": 5}), key).await.unwrap();
        lab.ask("a", "add", json!({"by": 1})).await.unwrap();
        assert_eq!(lab.request("a", "add", json!({"by": 5}), key).await.unwrap(), first);
        assert_eq!(lab.count("a").await, 6);
        let conflict = lab.request("a", "add", json!({"by": 6}), key).await.unwrap_err();
        assert_eq!(conflict.code, Code::Conflict);
        assert_eq!(conflict.field.as_deref(), Some("Idempotency-Key"));
    }
}

#[tokio::test]
async fn a_stored_reply_survives_the_node_and_expires_after_a_day() {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let key = Some("0123456789abcdef");
    let first = Lab::on(store.clone(), durable(), Vec::new()).await;
    first.request("a", "add", json!({"by": 5}), key).await.unwrap();
    let second = Lab::on(store.clone(), durable(), Vec::new()).await;
    assert_eq!(second.request("a", "add", json!({"by": 5}), key).await, Ok(json!({"count": 5})));
    second.clock.advance(24 * 60 * 60 * 1000);
    assert_eq!(second.request("a", "add", json!({"by": 5}), key).await, Ok(json!({"count": 10})));
}

#[tokio::test]
async fn a_failed_request_may_be_repeated_under_its_key() {
    let lab = Lab::durable().await;
    let key = Some("0123456789abcdef");
    assert!(lab.request("a", "crash", json!({}), key).await.is_err());
    assert!(lab.request("a", "crash", json!({}), key).await.is_err());
    assert_eq!(lab.request("a", "add", json!({}), key).await, Ok(json!({"count": 1})));
}

#[tokio::test]
async fn of_two_activations_only_the_newer_can_write() {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let old = Lab::on(store.clone(), durable(), Vec::new()).await;
    old.ask("a", "add", json!({"by": 1})).await.unwrap();
    let new = Lab::on(store.clone(), durable(), Vec::new()).await;
    new.ask("a", "add", json!({"by": 10})).await.unwrap();
    let fenced = old.ask("a", "add", json!({"by": 100})).await.unwrap_err();
    assert_eq!(fenced.code, Code::Fenced);
    assert_eq!(new.count("a").await, 11);
}

#[tokio::test]
async fn private_keys_are_the_actors_own_and_commit_with_the_turn() {
    for lab in [Lab::durable().await, Lab::volatile().await] {
        let put = lab.ask("a", "put", json!({"key": "k1", "value": "v"})).await;
        assert_eq!(put, Ok(json!({"read": "v"})));
        assert_eq!(lab.ask("b", "read", json!({"key": "k1"})).await, Ok(json!(null)));
        assert_eq!(lab.ask("a", "cas", json!({"key": "k1", "expected": "x", "value": "w"})).await, Ok(json!(false)));
        assert_eq!(lab.ask("a", "cas", json!({"key": "k1", "expected": "v", "value": "w"})).await, Ok(json!(true)));
        assert_eq!(lab.ask("a", "cas", json!({"key": "k2", "value": "n"})).await, Ok(json!(true)));
        assert_eq!(lab.ask("a", "read", json!({"key": "k1"})).await, Ok(json!("w")));
        assert_eq!(lab.ask("a", "list", json!({"prefix": "k"})).await, Ok(json!(["k1", "k2"])));
        assert_eq!(lab.ask("a", "list", json!({"prefix": "k", "after": "k1"})).await, Ok(json!(["k2"])));
        assert_eq!(lab.ask("a", "delete", json!({"key": "k1"})).await, Ok(json!(true)));
        assert_eq!(lab.ask("a", "delete", json!({"key": "k1"})).await, Ok(json!(false)));
        assert_eq!(lab.ask("a", "list", json!({"prefix": ""})).await, Ok(json!(["k2"])));
    }
}

#[tokio::test]
async fn a_pair_ends_with_its_time() {
    let lab = Lab::durable().await;
    lab.ask("a", "put", json!({"key": "k", "value": "v", "ttl": 1000})).await.unwrap();
    assert_eq!(lab.ask("a", "read", json!({"key": "k"})).await, Ok(json!("v")));
    lab.clock.advance(1000);
    assert_eq!(lab.ask("a", "read", json!({"key": "k"})).await, Ok(json!(null)));
    assert_eq!(lab.ask("a", "list", json!({"prefix": ""})).await, Ok(json!([])));
    let zero = lab.ask("a", "put", json!({"key": "k", "value": "v", "ttl": 0})).await.unwrap_err();
    assert_eq!(zero.field.as_deref(), Some("ttl_ms"));
}

#[tokio::test]
async fn an_instance_that_has_grown_is_replaced_without_the_actor_noticing() {
    for lab in [Lab::durable().await, Lab::volatile().await] {
        lab.ask("a", "add", json!({"by": 9})).await.unwrap();
        lab.ask("a", "grow", json!({})).await.unwrap();
        assert_eq!(lab.count("a").await, 9);
        assert_eq!(lab.made(), 2);
    }
}

#[tokio::test]
async fn what_init_writes_is_kept() {
    let mut profile = durable();
    profile.args.insert("greet".into(), json!(true));
    let lab = Lab::with(profile, Vec::new()).await;
    assert_eq!(lab.ask("a", "read", json!({"key": "greeted"})).await, Ok(json!("yes")));
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_takes_too_long_is_ended_and_rolled_back() {
    let mut profile = durable();
    profile.limits.turn_time = Duration::from_secs(1);
    let lab = Lab::with(profile, Vec::new()).await;
    lab.ask("a", "add", json!({"by": 2})).await.unwrap();
    assert_eq!(lab.ask("a", "spin", json!({})).await.unwrap_err().code, Code::LimitExceeded);
    assert_eq!(lab.count("a").await, 2);
}
