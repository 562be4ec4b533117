//! Guarantees of runs in their corners: standing still, other code, failure after a crash, and what is known of senders.
//! `docs/semantics.md` names these tests.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/scripts.rs"]
mod scripts;

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use plexspaces_actor::supervision::Restart;
use plexspaces_actor::{Child, ChildSpec, Profile};
use plexspaces_durable::Outgoing;
use plexspaces_store::{Batch, Memory, Partition, Range, Store as _};
use plexspaces_types::{ActorId, Code, Key, Name, Payload};
use scripts::{Cut, Node, Scripts, ctx, durable, name, until};
use serde_json::{Value, json};

#[tokio::test]
async fn what_a_run_heard_while_it_stood_still_it_hears_at_the_same_place_again() {
    let disk = Arc::new(Memory::new());
    let store = Cut::new(&disk, usize::MAX, true);
    let first = Node::on(store.clone()).await;
    let note = |text: &str| json!({"do": "note", "payload": text});
    let sleep = |ms: u64| json!({"do": "sleep", "ms": ms});
    let tell = json!({"do": "tell", "target": "script/recorder", "op": "note", "payload": "slept"});
    let steps = json!({"steps": [sleep(3000), note("after"), tell, sleep(2000), note("done")]});
    first.tell("flow/a", "workflow_run", steps).await.unwrap();
    first.ask("flow/a", "workflow_pause", json!({})).await.unwrap();
    // The sleep is over, and its result is written down.
    let over = async || {
        let target = plexspaces_actor::Target { name: "flow", key: Some("a") };
        first.runtime.workflow(&ctx(), target).await.unwrap().last_step.is_some()
    };
    until("the sleep is over", over).await;
    first.ask("flow/a", "workflow_signal:x", json!(1)).await.unwrap();
    first.ask("flow/a", "workflow_resume", json!({})).await.unwrap();
    first.notes("script/recorder", &json!(["slept"])).await;
    store.gone.store(true, Ordering::SeqCst);
    let second = Node::on(disk).await;
    second.notes("flow/a", &json!([["workflow_signal:x", 1], "after", "done"])).await;
}

#[tokio::test]
async fn an_order_that_comes_again_when_its_run_is_over_was_obeyed() {
    let node = Node::on(Arc::new(Memory::new())).await;
    node.tell("flow/a", "workflow_run", json!({"steps": [{"do": "note", "payload": "begun"}, {"do": "sleep", "ms": 60_000}]}))
        .await
        .unwrap();
    node.notes("flow/a", &json!(["begun"])).await;
    let cancel = async |key: &str, payload: Value| node.keyed("flow/a", "workflow_cancel", payload, Some(key)).await;
    cancel("c", json!({})).await.unwrap();
    node.notes("flow/a", &json!(["begun", "compensated"])).await;
    cancel("c", json!({})).await.unwrap();
    assert_eq!(cancel("c", json!({"other": 1})).await.unwrap_err().field.as_deref(), Some("Idempotency-Key"));
    assert_eq!(cancel("d", json!({})).await.unwrap_err().code, Code::Conflict);
}

#[tokio::test]
async fn the_cancellation_of_another_run_is_not_this_ones() {
    let node = Node::on(Arc::new(Memory::new())).await;
    let child = json!({"steps": [{"do": "note", "payload": "begun"}, {"do": "sleep", "ms": 60_000}]});
    let steps = json!({"steps": [{"do": "ask", "target": "flow/child", "op": "workflow_run", "payload": child}]});
    let terminate = async {
        node.notes("flow/child", &json!(["begun"])).await;
        node.ask("flow/child", "workflow_terminate", json!({})).await.unwrap();
    };
    let (done, ()) = tokio::join!(node.ask("flow/parent", "workflow_run", steps), terminate);
    // A run that is cancelled itself would clean up.
    assert_eq!(done.unwrap_err().code, Code::Conflict);
}

#[tokio::test]
async fn a_run_that_other_code_stopped_goes_on_by_itself_with_its_own() {
    let disk = Arc::new(Memory::new());
    let store = Cut::new(&disk, usize::MAX, true);
    let tell = |n: u32| json!({"do": "tell", "target": "script/recorder", "op": "note", "payload": n});
    let first = Node::of(store.clone(), &Scripts::new(1), &[]).await;
    first.tell("flow/a", "workflow_run", json!({"steps": [tell(1), {"do": "sleep", "ms": 3000}, tell(2)]})).await.unwrap();
    first.notes("script/recorder", &json!([1])).await;
    store.gone.store(true, Ordering::SeqCst);
    let two = Scripts::new(2);
    let second = Node::of(disk.clone(), &two, &[]).await;
    until("the other code was tried", async || two.handled().contains(&"workflow_run".to_owned())).await;
    let refused = second.ask("flow/a", "notes", json!({})).await.unwrap_err();
    assert_eq!(refused.code, Code::NonDeterministic);
    // It is still known to be under way, and nobody has to send it anything.
    assert_eq!(second.runtime.under_way(&durable(&two, &[])).await.unwrap().len(), 1);
    let third = Node::of(disk, &Scripts::new(1), &[]).await;
    third.notes("script/recorder", &json!([1, 2])).await;
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_turn_that_is_run_again_writes_its_log_once() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    let disk = Arc::new(Memory::new());
    let store = Cut::new(&disk, usize::MAX, true);
    let first = Node::on(store.clone()).await;
    let log = |line: &str| json!({"do": "log", "line": line});
    let put = json!({"do": "put", "key": "k", "value": "v"});
    let steps = json!({"steps": [log("line one"), put, {"do": "note", "payload": 1}, {"do": "sleep", "ms": 2000}, log("line two")]});
    first.tell("flow/a", "workflow_run", steps).await.unwrap();
    first.notes("flow/a", &json!([1])).await;
    store.gone.store(true, Ordering::SeqCst);
    let second = Node::on(disk).await;
    let count = |line: &str| String::from_utf8_lossy(&lines.0.lock().unwrap()).matches(line).count();
    until("the second line", async || count("line two") == 1).await;
    assert!(second.handled.lock().unwrap().contains(&"workflow_run".to_owned()));
    assert_eq!(count("line one"), 1);
}

#[tokio::test]
async fn a_run_that_stands_still_keeps_no_node_from_ending() {
    let disk = Arc::new(Memory::new());
    let first = Node::on(disk.clone()).await;
    let steps = json!({"steps": [{"do": "sleep", "ms": 50}, {"do": "note", "payload": "done"}]});
    first.tell("flow/a", "workflow_run", steps).await.unwrap();
    first.ask("flow/a", "workflow_pause", json!({})).await.unwrap();
    let over = async || {
        let target = plexspaces_actor::Target { name: "flow", key: Some("a") };
        first.runtime.workflow(&ctx(), target).await.unwrap().last_step.is_some()
    };
    until("the sleep is over", over).await;
    let began = Instant::now();
    assert!(first.runtime.shutdown(Duration::from_secs(10)).await);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let second = Node::on(disk).await;
    second.ask("flow/a", "workflow_resume", json!({})).await.unwrap();
    second.notes("flow/a", &json!(["done"])).await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_has_left_memory_is_left_alone_until_its_time() {
    let node = Node::on(Arc::new(Memory::new())).await;
    node.tell("flow/sleeps", "workflow_run", json!({"steps": [{"do": "sleep", "ms": 500_000}]})).await.unwrap();
    node.tell("flow/stands", "workflow_run", json!({"steps": [{"do": "sleep", "ms": 1_000}, {"do": "sleep", "ms": 1_000}]})).await.unwrap();
    node.ask("flow/stands", "workflow_pause", json!({})).await.unwrap();
    tokio::time::sleep(Duration::from_secs(40)).await;
    let runs = || node.handled.lock().unwrap().iter().filter(|operation| *operation == "workflow_run").count();
    assert_eq!((node.runtime.actors(), runs()), (0, 2));
    // A minute after their beginning they would have been looked after.
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!((node.runtime.actors(), runs()), (0, 2));
    // Who replaces the code still knows of both.
    let code = Scripts::new(2);
    assert_eq!(node.runtime.under_way(&durable(&code, &[])).await.unwrap().len(), 2);
    node.ask("flow/stands", "workflow_resume", json!({})).await.unwrap();
    until("it has ended", async || node.runtime.under_way(&durable(&code, &[])).await.unwrap().len() == 1).await;
    assert_eq!(runs(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_signal_to_a_child_that_is_restarted_waits_as_messages_do() {
    let node = Node::on(Arc::new(Memory::new())).await;
    let mut application = durable(&Scripts::new(1), &[]);
    application.supervisor.children = vec![Child::Actor(ChildSpec {
        key: Key::new("boss").unwrap(),
        actor_type: name("flow"),
        aliases: Vec::new(),
        profile: Profile { durable: true, ..Profile::default() },
        restart: Restart::Permanent,
        shutdown: Duration::from_secs(5),
    })];
    node.runtime.deploy(&application).await.unwrap();
    for _ in 0..5 {
        node.ask("flow/boss", "workflow_run", json!({"steps": [{"do": "fail"}]})).await.unwrap_err();
    }
    // After its fifth failure it waits for some 80 ms.
    let failed = tokio::time::Instant::now();
    node.ask("flow/boss", "workflow_signal:hello", json!(1)).await.unwrap();
    assert!(failed.elapsed() > Duration::from_millis(50), "{:?}", failed.elapsed());
    node.notes("flow/boss", &json!([["workflow_signal:hello", 1]])).await;
}

#[tokio::test]
async fn a_run_that_is_over_leaves_memory_with_its_state_kept() {
    let node = Node::on(Arc::new(Memory::new())).await;
    let note = |text: &str| json!({"steps": [{"do": "note", "payload": text}]});
    node.ask("flow/a", "workflow_run", note("first")).await.unwrap();
    until("it has left", async || node.runtime.actors() == 0).await;
    // What is asked of it then needs no actor, and what is sent to it finds the state.
    assert_eq!(node.ask("flow/a", "workflow_query:notes", json!({})).await, Ok(json!(["first"])));
    assert_eq!(node.runtime.actors(), 0);
    node.ask("flow/a", "workflow_run", note("second")).await.unwrap();
    node.notes("flow/a", &json!(["first", "second"])).await;
    let target = plexspaces_actor::Target { name: "flow", key: Some("a") };
    let (history, _) = node.runtime.history(&ctx(), target, 0, 9).await.unwrap();
    let kept: Vec<bool> = history.iter().map(|turn| turn.end().unwrap().state.is_some()).collect();
    assert_eq!(kept, [true, true], "nothing is run again to bring it back");
}

#[tokio::test(start_paused = true)]
async fn a_run_with_a_timer_stays_in_memory() {
    let node = Node::on(Arc::new(Memory::new())).await;
    let timer = json!({"do": "timer", "name": "t", "ms": 20_000, "op": "note", "payload": "tick"});
    node.tell("flow/a", "workflow_run", json!({"steps": [timer, {"do": "sleep", "ms": 500_000}]})).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(node.runtime.actors(), 1);
    // The timer's message waits until the run is over.
    tokio::time::sleep(Duration::from_secs(600)).await;
    node.notes("flow/a", &json!(["tick"])).await;
}

#[tokio::test]
async fn a_run_that_fails_after_a_crash_is_a_dead_letter() {
    let disk = Arc::new(Memory::new());
    let store = Cut::new(&disk, usize::MAX, true);
    let first = Node::on(store.clone()).await;
    let steps = json!({"steps": [{"do": "note", "payload": "begun"}, {"do": "sleep", "ms": 2000}, {"do": "fail"}]});
    first.tell("flow/a", "workflow_run", steps).await.unwrap();
    first.notes("flow/a", &json!(["begun"])).await;
    store.gone.store(true, Ordering::SeqCst);
    let second = Node::on(disk).await;
    let letters = async || second.runtime.dead_letters(&ctx(), None, 10).await.unwrap().0;
    until("the dead letter", async || !letters().await.is_empty()).await;
    let letters = letters().await;
    assert_eq!((letters.len(), letters[0].operation.as_str(), letters[0].attempts), (1, "workflow_run", 1));
}

fn partition(text: &str) -> Partition {
    Partition::actor(&ActorId::parse(&Name::default_scope(), text).unwrap())
}

#[tokio::test]
async fn what_is_known_of_senders_is_forgotten_when_they_keep_nothing_more() {
    let disk = Arc::new(Memory::new());
    let profile = Profile { durable: true, idle_timeout: Some(Duration::from_secs(1)), ..Profile::default() };
    let node = Node::with(disk.clone(), profile).await;
    let steps = json!({"steps": [{"do": "tell", "target": "script/hub", "op": "note", "payload": 1}]});
    for sender in 0..5 {
        node.ask(&format!("script/{sender}"), "run", steps.clone()).await.unwrap();
    }
    let known = async || disk.scan(&partition("default/script/hub"), Range::prefix(b"n/"), 100).await.unwrap().entries.len();
    until("the hub has heard them", async || known().await == 5).await;
    // One of them still keeps a message that the hub has applied: it may come again.
    let kept =
        Outgoing { number: 1, target: "default/script/hub".into(), operation: "note".into(), payload: Payload::from_value(&Value::Null) };
    let mut batch = Batch::new(partition("default/script/3"));
    batch.put([b"o/".as_slice(), &1u64.to_be_bytes()].concat(), kept.encode());
    disk.commit(batch).await.unwrap();
    until("all are at rest", async || node.runtime.actors() == 0).await;
    node.ask("script/hub", "notes", json!({})).await.unwrap();
    until("the hub rests", async || node.runtime.actors() == 0).await;
    assert_eq!(known().await, 1);
}
