//! Guarantees of workflows that start others. `docs/semantics.md` names these tests.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/scripts.rs"]
mod scripts;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use plexspaces_actor::{Profile, RunStatus, Target};
use plexspaces_store::Memory;
use plexspaces_types::{Code, Payload};
use scripts::{Cut, Node, ctx, until};
use serde_json::{Value, json};

fn note(how: &str, n: &str) -> Value {
    json!({"do": how, "target": "script/recorder", "op": "note", "payload": n})
}

/// Starts two children that run side by side, and waits for both.
fn parent() -> Value {
    let child =
        |name: &str| json!({"steps": [note("tell", &format!("{name}1")), {"do": "sleep", "ms": 3}, note("ask", &format!("{name}2"))]});
    json!({"steps": [
        {"do": "start", "target": "flow/x", "payload": child("x")},
        {"do": "start", "target": "flow/y", "payload": child("y")},
        {"do": "join", "target": "flow/x"},
        {"do": "join", "target": "flow/y"},
        note("ask", "end"),
    ]})
}

async fn recorded(node: &Node) -> Vec<String> {
    let mut notes: Vec<String> = serde_json::from_value(node.ask("script/recorder", "notes", json!({})).await.unwrap()).unwrap();
    notes.sort();
    notes
}

/// What has become of a run, where there is one.
async fn status(node: &Node, key: &str) -> Option<RunStatus> {
    node.runtime.workflow(&ctx(), Target { name: "flow", key: Some(key) }).await.ok().map(|run| run.status)
}

#[tokio::test]
async fn a_parent_and_its_children_that_are_cut_off_at_any_commit_do_each_step_once() {
    let mut commits = 0;
    for (cut_at, after) in (1..200).flat_map(|n| [(n, false), (n, true)]) {
        let disk = Arc::new(Memory::new());
        let store = Cut::new(&disk, cut_at, after);
        let first = Node::on(store.clone()).await;
        let started = first.keyed("flow/parent", "workflow_run", parent(), Some("once"));
        let in_time = store.answer(started).await;
        if !store.gone.load(Ordering::SeqCst) {
            assert!(in_time.unwrap().is_ok());
            commits = cut_at;
            break;
        }
        let second = Node::on(disk).await;
        let result = second.keyed("flow/parent", "workflow_run", parent(), Some("once")).await.unwrap();
        // How many notes there were when it made its own differs with the order of the two.
        assert_eq!((result[2].is_array(), result[3].is_array()), (true, true), "cut off at commit {cut_at}, after it: {after}: {result}");
        assert_eq!(recorded(&second).await, ["end", "x1", "x2", "y1", "y2"], "cut off at commit {cut_at}, after it: {after}");
    }
    assert!(commits > 15, "only {commits} commits");
}

#[tokio::test]
async fn an_id_is_one_run_also_where_nothing_is_durable() {
    let node = Node::with(Arc::new(Memory::new()), Profile::default()).await;
    let start = |n: &str| json!({"steps": [{"do": "start", "target": "flow/child", "payload": {"steps": [note("ask", n)]}}]});
    for _ in 0..3 {
        node.ask("script/parent", "run", start("once")).await.unwrap();
    }
    assert_eq!(node.ask("script/parent", "run", start("other")).await.unwrap_err().code, Code::Conflict);
    assert_eq!(recorded(&node).await, ["once"]);
}

#[tokio::test]
async fn a_parent_hears_that_a_child_has_failed_or_was_cancelled() {
    let node = Node::on(Arc::new(Memory::new())).await;
    let start = |child: Value| json!({"steps": [{"do": "start", "target": "flow/child", "payload": child}, {"do": "join", "target": "flow/child"}]});
    let failing = json!({"steps": [{"do": "sleep", "ms": 1}, {"do": "fail"}]});
    let result = node.ask("flow/one", "workflow_run", start(failing.clone())).await.unwrap();
    assert_eq!((&result[1]["code"], &result[1]["message"]), (&json!("handler_failed"), &json!("as it was told")));
    // Its parent knows: it is no dead letter. Nor is it begun anew under its id.
    assert!(node.runtime.dead_letters(&ctx(), None, 10).await.unwrap().0.is_empty());
    let again = node.ask("flow/two", "workflow_run", start(failing)).await.unwrap();
    assert_eq!((&again[0], &again[1]["code"]), (&json!(true), &json!("handler_failed")));
    let runs = node.runtime.history(&ctx(), Target { name: "flow", key: Some("child") }, 0, 10).await.unwrap().0;
    assert_eq!(runs.len(), 1);
}

#[tokio::test]
async fn a_run_that_a_durable_actor_tells_to_begin_is_run_once() {
    let child = json!({"steps": [note("ask", "one"), {"do": "sleep", "ms": 2}, note("ask", "two")]});
    let tells = json!({"steps": [{"do": "tell", "target": "flow/child", "op": "workflow_run", "payload": child}]});
    let mut commits = 0;
    for (cut_at, after) in (1..100).flat_map(|n| [(n, false), (n, true)]) {
        let disk = Arc::new(Memory::new());
        let store = Cut::new(&disk, cut_at, after);
        let first = Node::on(store.clone()).await;
        let whole = async {
            let _ = first.keyed("script/main", "run", tells.clone(), Some("once")).await;
            until("the child's end", async || status(&first, "child").await == Some(RunStatus::Completed)).await;
        };
        store.answer(whole).await;
        // What follows its end.
        tokio::time::sleep(Duration::from_millis(20)).await;
        if !store.gone.load(Ordering::SeqCst) {
            commits = cut_at;
            break;
        }
        let second = Node::on(disk).await;
        second.keyed("script/main", "run", tells.clone(), Some("once")).await.unwrap();
        second.notes("script/recorder", &json!(["one", "two"])).await;
        // A second run would follow at once.
        second.ask("flow/child", "notes", json!({})).await.unwrap();
        assert_eq!(recorded(&second).await, ["one", "two"], "cut off at commit {cut_at}, after it: {after}");
    }
    assert!(commits > 8, "only {commits} commits");
}

#[tokio::test]
async fn a_run_is_started_once_under_its_id() {
    let node = Node::on(Arc::new(Memory::new())).await;
    let input = json!({"steps": [note("ask", "begun"), {"do": "sleep", "ms": 3000}]});
    let target = Target { name: "flow", key: Some("a") };
    let start = async |input: &Value| node.runtime.start_workflow(&ctx(), target, Payload::from_value(input), None).await;
    start(&input).await.unwrap();
    // While it runs, and after its end.
    start(&input).await.unwrap();
    assert_eq!(status(&node, "a").await, Some(RunStatus::Running), "it does not wait for the end");
    let other = start(&json!({"steps": []})).await.unwrap_err();
    assert_eq!((other.code, other.message.as_str()), (Code::Conflict, "a run of default/flow/a is under way that was started otherwise"));
    until("its end", async || status(&node, "a").await == Some(RunStatus::Completed)).await;
    start(&input).await.unwrap();
    assert_eq!(start(&json!({"steps": []})).await.unwrap_err().code, Code::Conflict);
    assert_eq!(recorded(&node).await, ["begun"]);
}
