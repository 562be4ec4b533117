//! Guarantees of runs that have a deadline. `docs/semantics.md` names these tests.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/scripts.rs"]
mod scripts;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use plexspaces_actor::{Profile, Run, RunStatus, Target};
use plexspaces_durable::Due;
use plexspaces_store::{Memory, Partition, Range, Store as _};
use plexspaces_types::{Clock, Code, Failure, Payload};
use scripts::{Cut, Node, Scripts, ctx, durable, until};
use serde_json::{Value, json};

const HOUR_MS: u64 = 3_600_000;

fn profile() -> Profile {
    Profile { durable: true, ..Profile::default() }
}

fn tell(n: &str) -> Value {
    json!({"do": "tell", "target": "script/recorder", "op": "note", "payload": n})
}

fn sleep(ms: u64) -> Value {
    json!({"do": "sleep", "ms": ms})
}

async fn start(node: &Node, key: &str, input: &Value, run_timeout_ms: u64) -> Result<(), Failure> {
    let target = Target { name: "flow", key: Some(key) };
    node.runtime.start_workflow(&ctx(), target, Payload::from_value(input), Some(run_timeout_ms)).await.map(drop)
}

async fn run_of(node: &Node, key: &str) -> Run {
    node.runtime.workflow(&ctx(), Target { name: "flow", key: Some(key) }).await.unwrap()
}

async fn ends(node: &Node, key: &str, status: RunStatus) -> Run {
    until("its end", async || run_of(node, key).await.ended_ms.is_some()).await;
    let run = run_of(node, key).await;
    assert_eq!(run.status, status, "{run:?}");
    run
}

/// What the node's index of times has of an actor.
async fn due(disk: &Memory) -> Vec<Due> {
    let entries = disk.scan(&Partition::node("reminders"), Range::prefix(b""), 100).await.unwrap().entries;
    entries.iter().filter_map(|(key, _)| Due::parse(key)).filter(|due| due.name.contains("wake")).collect()
}

#[tokio::test]
async fn a_run_that_is_not_done_by_its_deadline_is_timed_out_and_can_clean_up() {
    let node = Node::on(Arc::new(Memory::new())).await;
    // One is in a sleep, one in an ask of an actor that does not answer, one gets there after its deadline.
    let asks = json!({"do": "ask", "target": "script/slow", "op": "run", "payload": {"steps": [sleep(60_000)]}});
    for (key, wait) in [("sleeps", sleep(60_000)), ("asks", asks), ("works", json!({"do": "work", "ms": 1200}))] {
        let steps = json!({"steps": [wait, sleep(0), tell("never")], "undo": [tell(key)]});
        start(&node, key, &steps, 1000).await.unwrap();
        let run = ends(&node, key, RunStatus::TimedOut).await;
        let (began, ended) = (run.started_ms.unwrap(), run.ended_ms.unwrap());
        assert!((began + 900..=began + 1000).contains(&run.deadline_ms.unwrap()), "{run:?}");
        assert!((began + 1000..began + 30_000).contains(&ended), "{run:?}");
        assert_eq!(run.result.unwrap(), Payload::from_value(&json!("timed_out")), "it has cleaned up and returned");
    }
    node.notes("script/recorder", &json!(["sleeps", "asks", "works"])).await;
    // One that lets the error out ends with that, and is no dead letter; it is the same run when it is started again.
    let steps = json!({"steps": [sleep(60_000)], "careless": true});
    start(&node, "careless", &steps, 50).await.unwrap();
    let run = ends(&node, "careless", RunStatus::TimedOut).await;
    assert_eq!(run.failure.as_deref(), Some("the run was not done by its deadline"));
    assert!(node.runtime.dead_letters(&ctx(), None, 10).await.unwrap().0.is_empty());
    start(&node, "careless", &steps, 50_000).await.unwrap();
    assert_eq!(run_of(&node, "careless").await.started_ms, run.started_ms);
    for wrong in [0, u64::MAX] {
        assert_eq!(start(&node, "wrong", &steps, wrong).await.unwrap_err().field.as_deref(), Some("run_timeout_ms"));
    }
}

#[tokio::test]
async fn a_run_is_timed_out_as_its_type_says_however_it_begins() {
    let profile = Profile { run_timeout: Some(Duration::from_millis(300)), ..profile() };
    let node = Node::with(Arc::new(Memory::new()), profile).await;
    let careless = json!({"steps": [sleep(60_000)], "careless": true});
    let failure = node.ask("flow/asked", "workflow_run", careless.clone()).await.unwrap_err();
    assert_eq!((failure.code, failure.code.retryable()), (Code::TimedOut, false));
    node.tell("flow/told", "workflow_run", careless.clone()).await.unwrap();
    ends(&node, "told", RunStatus::TimedOut).await;
    // The earlier of both counts.
    start(&node, "long", &careless, HOUR_MS).await.unwrap();
    let run = ends(&node, "long", RunStatus::TimedOut).await;
    assert!(run.deadline_ms.unwrap() <= run.started_ms.unwrap() + 300, "{run:?}");
    // Actors without runs take no notice.
    assert_eq!(node.ask("script/a", "run", json!({"steps": [sleep(500)]})).await, Ok(json!([null])));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_paused_or_out_of_memory_is_timed_out() {
    let (clock, disk) = (Clock::manual(1_000_000), Arc::new(Memory::new()));
    let node = Node::at(clock.clone(), disk.clone(), profile(), None).await;
    let steps = json!({"steps": [sleep(1), sleep(24 * HOUR_MS)]});
    start(&node, "asleep", &steps, HOUR_MS).await.unwrap();
    start(&node, "paused", &steps, HOUR_MS).await.unwrap();
    node.ask("flow/paused", "workflow_pause", json!({})).await.unwrap();
    until("both have left memory", async || node.runtime.actors() == 0).await;
    assert_eq!(run_of(&node, "paused").await.status, RunStatus::Paused);
    assert_eq!(run_of(&node, "asleep").await.status, RunStatus::Running);
    clock.advance(HOUR_MS);
    // In virtual time: what is not due soon is looked for every five minutes.
    tokio::time::sleep(Duration::from_secs(600)).await;
    for key in ["asleep", "paused"] {
        ends(&node, key, RunStatus::TimedOut).await;
    }
    until("nothing is left of them in the index", async || due(&disk).await.is_empty()).await;
}

#[tokio::test]
async fn a_run_is_timed_out_when_its_node_comes_back_after_its_deadline() {
    let (clock, disk) = (Clock::manual(1_000_000), Arc::new(Memory::new()));
    let store = Cut::new(&disk, usize::MAX, true);
    let first = Node::at(clock.clone(), store.clone(), profile(), None).await;
    let steps = json!({"steps": [json!({"do": "note", "payload": "begun"}), sleep(24 * HOUR_MS)], "undo": [tell("undone")]});
    start(&first, "a", &steps, HOUR_MS).await.unwrap();
    first.notes("flow/a", &json!(["begun"])).await;
    store.gone.store(true, Ordering::SeqCst);
    clock.advance(2 * HOUR_MS);
    let second = Node::at(clock, disk, profile(), None).await;
    // Nobody sends it anything.
    second.notes("script/recorder", &json!(["undone"])).await;
    let run = ends(&second, "a", RunStatus::TimedOut).await;
    assert_eq!(run.deadline_ms, Some(1_000_000 + HOUR_MS));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_done_is_not_timed_out_and_leaves_nothing_behind() {
    let (clock, disk) = (Clock::manual(1_000_000), Arc::new(Memory::new()));
    let node = Node::at(clock.clone(), disk.clone(), profile(), None).await;
    // It leaves memory until its deadline, and a signal brings it back before.
    let waits = json!({"do": "heed", "ms": 24 * HOUR_MS});
    start(&node, "done", &json!({"steps": [waits]}), HOUR_MS).await.unwrap();
    start(&node, "cancelled", &json!({"steps": [sleep(24 * HOUR_MS)], "undo": [sleep(2 * HOUR_MS)]}), HOUR_MS).await.unwrap();
    until("both have left memory", async || node.runtime.actors() == 0).await;
    assert_eq!(due(&disk).await.len(), 2);
    node.ask("flow/done", "workflow_signal:go", json!({})).await.unwrap();
    ends(&node, "done", RunStatus::Completed).await;
    until("its deadline is forgotten", async || due(&disk).await.len() == 1).await;
    // What a cancelled run does to clean up has no deadline.
    node.ask("flow/cancelled", "workflow_cancel", json!({})).await.unwrap();
    clock.advance(3 * HOUR_MS);
    ends(&node, "cancelled", RunStatus::Cancelled).await;
    assert_eq!(run_of(&node, "done").await.status, RunStatus::Completed);
    // The next run of the same actor has a deadline of its own, or none.
    assert_eq!(node.ask("flow/done", "workflow_run", json!({"steps": [sleep(5)]})).await, Ok(json!([null])));
    assert_eq!(run_of(&node, "done").await.deadline_ms, None);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_other_code_stopped_is_known_of_until_its_own_ends_it() {
    let (clock, disk) = (Clock::manual(1_000_000), Arc::new(Memory::new()));
    let first = Node::at(clock.clone(), disk.clone(), profile(), None).await;
    let steps = json!({"steps": [tell("begun"), sleep(24 * HOUR_MS)], "undo": [tell("undone")]});
    start(&first, "late", &steps, HOUR_MS).await.unwrap();
    first.tell("flow/paused", "workflow_run", json!({"steps": [tell("begun"), sleep(1)]})).await.unwrap();
    first.ask("flow/paused", "workflow_pause", json!({})).await.unwrap();
    until("both have left memory", async || first.runtime.actors() == 1).await;
    drop(first);
    // Its clock is the system's: the deadline has long passed.
    let two = Scripts::new(2);
    let second = Node::of(disk.clone(), &two, &[]).await;
    for key in ["flow/late", "flow/paused"] {
        let asked = async || second.ask(key, "workflow_signal:x", json!({})).await;
        until("it is stopped", async || asked().await.is_err_and(|failure| failure.code == Code::NonDeterministic)).await;
    }
    assert_eq!(second.runtime.under_way(&durable(&two, &[])).await.unwrap().len(), 2);
    let third = Node::of(disk, &Scripts::new(1), &[]).await;
    ends(&third, "late", RunStatus::TimedOut).await;
    third.ask("flow/paused", "workflow_resume", json!({})).await.unwrap();
    ends(&third, "paused", RunStatus::Completed).await;
    third.notes("script/recorder", &json!(["begun", "begun", "undone"])).await;
}

#[tokio::test]
async fn a_run_is_to_be_done_by_the_deadline_of_the_run_that_started_it() {
    let node = Node::on(Arc::new(Memory::new())).await;
    let child = json!({"steps": [sleep(60_000)], "undo": [tell("undone")]});
    let begin = |key: &str, run_timeout_ms: Option<u64>| json!({"do": "start", "target": format!("flow/{key}"), "payload": child.clone(), "run_timeout_ms": run_timeout_ms});
    let steps = json!({"steps": [begin("inherits", None), begin("longer", Some(HOUR_MS)), begin("shorter", Some(300)),
        {"do": "join", "target": "flow/shorter"}, sleep(60_000)]});
    start(&node, "parent", &steps, 2500).await.unwrap();
    let parent = run_of(&node, "parent").await;
    for (key, status) in [("shorter", RunStatus::TimedOut), ("parent", RunStatus::TimedOut)] {
        ends(&node, key, status).await;
    }
    for key in ["inherits", "longer"] {
        until("its end", async || run_of(&node, key).await.ended_ms.is_some()).await;
        assert_eq!(run_of(&node, key).await.deadline_ms, parent.deadline_ms, "{key}");
    }
    assert!(run_of(&node, "shorter").await.deadline_ms < parent.deadline_ms);
    node.notes("script/recorder", &json!(["undone", "undone", "undone"])).await;
    // Who waits for it hears that it was not done in time, and is not timed out itself.
    let careless = json!({"steps": [sleep(60_000)], "careless": true});
    let begin = json!({"do": "start", "target": "flow/late", "payload": careless, "run_timeout_ms": 100});
    let result = node.ask("flow/waits", "workflow_run", json!({"steps": [begin, {"do": "join", "target": "flow/late"}]})).await.unwrap();
    assert_eq!((&result[1]["code"], &result[1]["retryable"]), (&json!("deadline_exceeded"), &json!(false)));
    assert_eq!(run_of(&node, "waits").await.status, RunStatus::Completed);
    let wrong = json!({"do": "start", "target": "flow/x", "payload": {}, "run_timeout_ms": "soon"});
    let failure = node.ask("flow/wrong", "workflow_run", json!({"steps": [wrong]})).await.unwrap_err();
    assert!(failure.message.contains("expected workflow_start:MILLISECONDS"), "{failure}");
}

#[tokio::test]
async fn a_run_that_is_timed_out_and_cut_off_at_any_commit_cleans_up_once() {
    let ask = |n: &str| json!({"do": "ask", "target": "script/recorder", "op": "note", "payload": n});
    let program = json!({"steps": [tell("one"), sleep(3), ask("two"), sleep(60_000), tell("never")],
        "undo": [ask("three"), sleep(2), tell("four")]});
    let mut commits = 0;
    for (cut_at, after) in (1..100).flat_map(|n| [(n, false), (n, true)]) {
        let disk = Arc::new(Memory::new());
        let store = Cut::new(&disk, cut_at, after);
        let first = Node::on(store.clone()).await;
        let whole = async {
            start(&first, "main", &program, 150).await.unwrap();
            ends(&first, "main", RunStatus::TimedOut).await;
            first.notes("script/recorder", &json!(["one", "two", "three", "four"])).await;
        };
        store.answer(whole).await;
        if !store.gone.load(Ordering::SeqCst) {
            commits = cut_at;
            break;
        }
        let second = Node::on(disk).await;
        // The first may not have begun it.
        start(&second, "main", &program, 150).await.unwrap();
        ends(&second, "main", RunStatus::TimedOut).await;
        let case = format!("cut off at commit {cut_at}, after it: {after}");
        let is_so = async || {
            let notes = second.ask("script/recorder", "notes", json!({})).await.unwrap();
            // Where the deadline passed while no node was there, not all steps were done.
            [json!(["one", "two", "three", "four"]), json!(["one", "three", "four"])].contains(&notes)
        };
        until(&case, is_so).await;
    }
    assert!(commits > 8, "only {commits} commits");
}
