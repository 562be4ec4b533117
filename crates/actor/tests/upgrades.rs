//! Guarantees of new versions of code: what goes on with the version that it began with, and how a state comes to the next.
//! `docs/semantics.md` names these tests.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/scripts.rs"]
mod scripts;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use plexspaces_actor::{Moment, RunFilter, RunStatus, Target};
use plexspaces_store::Memory;
use plexspaces_types::{Code, Name};
use scripts::{Cut, Node, Scripts, ctx, durable, until};
use serde_json::{Value, json};

/// Version 2 of the code tells the recorder something else.
fn tells_and_sleeps(ms: u64) -> Value {
    let tell = |n: u32| json!({"do": "tell", "target": "script/recorder", "op": "note", "payload": n});
    json!({"steps": [tell(1), {"do": "sleep", "ms": ms}, tell(2)]})
}

fn flow(key: &str) -> Target<'_> {
    Target { name: "flow", key: Some(key) }
}

#[tokio::test]
async fn a_pinned_run_ends_with_the_version_that_it_began_with_also_in_a_new_node() {
    let disk = Arc::new(Memory::new());
    let store = Cut::new(&disk, usize::MAX, true);
    let (one, two) = (Scripts::new(1), Scripts::new(2));
    let first = Node::of(store.clone(), &one, &[]).await;
    first.tell("flow/a", "workflow_run", tells_and_sleeps(5000)).await.unwrap();
    first.notes("script/recorder", &json!([1])).await;
    let broken = first.runtime.would_break(&durable(&two, &[])).await.unwrap();
    assert_eq!(
        broken.iter().map(|(id, failure)| (id.to_string(), failure.code)).collect::<Vec<_>>(),
        [("default/flow/a".to_owned(), Code::NonDeterministic)]
    );
    assert_eq!(first.runtime.would_break(&durable(&two, &[&one])).await.unwrap(), []);
    first.upgrade(&two, &[&one]).await;
    let pinned = first.runtime.workflow(&ctx(), flow("a")).await.unwrap();
    assert_eq!((pinned.status, pinned.code, pinned.pinned), (RunStatus::Running, 1, true));
    // The node dies; a new one has both versions.
    store.gone.store(true, Ordering::SeqCst);
    let (one, two) = (Scripts::new(1), Scripts::new(2));
    let second = Node::of(disk.clone(), &two, &[&one]).await;
    // What begins now runs the new version.
    second.ask("script/b", "note", json!("new")).await.unwrap();
    second.notes("script/recorder", &json!([1, 2])).await;
    until("its end", async || second.runtime.workflow(&ctx(), flow("a")).await.unwrap().status == RunStatus::Completed).await;
    assert_eq!(one.handled(), ["workflow_run"], "and nothing else");
    assert!(!two.handled().contains(&"workflow_run".to_owned()), "{:?}", two.handled());
    // With its next message the actor runs the new version, from the state that the earlier left.
    assert_eq!(second.ask("flow/a", "notes", json!({})).await, Ok(json!([])));
    assert_eq!(two.handled().last().unwrap(), "notes");
    // Nothing needs the earlier version any more.
    assert_eq!(second.runtime.release_earlier(&durable(&two, &[&one])).await, Ok(vec![]));
}

#[tokio::test]
async fn an_earlier_version_is_kept_while_something_goes_on_with_it() {
    let (one, two, three) = (Scripts::new(1), Scripts::new(2), Scripts::new(3));
    let node = Node::of(Arc::new(Memory::new()), &one, &[]).await;
    let waits = json!({"steps": [{"do": "note", "payload": "begun"}, {"do": "sleep", "ms": 60_000}]});
    node.tell("flow/a", "workflow_run", waits.clone()).await.unwrap();
    node.notes("flow/a", &json!(["begun"])).await;
    node.upgrade(&two, &[&one]).await;
    node.tell("flow/b", "workflow_run", waits).await.unwrap();
    node.notes("flow/b", &json!(["begun"])).await;
    node.upgrade(&three, &[&one, &two]).await;
    let present = durable(&three, &[&one, &two]);
    assert_eq!(node.runtime.release_earlier(&present).await, Ok(vec![1, 2]));
    let mut under_way = node.runtime.under_way(&present).await.unwrap();
    under_way.sort();
    let under_way: Vec<_> = under_way.iter().map(|(id, code)| (id.key.to_string(), *code)).collect();
    assert_eq!(under_way, [("a".to_owned(), 1), ("b".to_owned(), 2)]);
    node.ask("flow/a", "workflow_cancel", json!({})).await.unwrap();
    node.notes("flow/a", &json!(["begun", "compensated"])).await;
    until("the first version is let go", async || node.runtime.release_earlier(&present).await == Ok(vec![2])).await;
}

#[tokio::test]
async fn a_run_migrates_to_a_new_version_at_its_next_checkpoint() {
    let (one, three) = (Scripts::new(1), Scripts::new(3));
    let disk = Arc::new(Memory::new());
    let node = Node::of(disk.clone(), &one, &[]).await;
    let pass = |name: &str| json!({"do": "pass", "name": name});
    let (wait, moment) = (json!({"do": "sleep", "ms": 1500}), json!({"do": "sleep", "ms": 0}));
    let tell = |n: u32| json!({"do": "tell", "target": "script/recorder", "op": "note", "payload": n});
    let steps =
        json!({"steps": [pass("a"), tell(1), wait, pass("b"), tell(2), moment, pass("c"), json!({"do": "heed", "ms": 60_000}), tell(3)]});
    node.tell("flow/a", "workflow_run", steps).await.unwrap();
    node.notes("script/recorder", &json!([1])).await;
    node.upgrade(&three, &[]).await;
    // What begins runs the new version; the run is between two checkpoints, and stays with the old one.
    assert_eq!(node.ask("script/b", "note", json!(1)).await, Ok(json!(1)));
    let run = || three.handled().iter().filter(|handled| *handled != "note" && *handled != "notes").cloned().collect::<Vec<_>>();
    assert!(run().is_empty(), "{:?}", run());
    node.notes("script/recorder", &json!([1, 2])).await;
    // From its next checkpoint on all is done by the new one, long before the end of the run.
    until("it has come to its next wait", async || run() == ["workflow_run", "a", "b", "c"]).await;
    assert_eq!(node.runtime.workflow(&ctx(), flow("a")).await.unwrap().status, RunStatus::Running);
    assert_eq!(one.handled().iter().filter(|handled| *handled != "note" && *handled != "notes").collect::<Vec<_>>(), ["workflow_run", "a"]);
    node.ask("flow/a", "workflow_signal:go", json!({})).await.unwrap();
    until("its end", async || node.runtime.workflow(&ctx(), flow("a")).await.unwrap().status == RunStatus::Completed).await;
    node.notes("script/recorder", &json!([1, 2, 3])).await;
    assert_eq!(run(), ["workflow_run", "a", "b", "c"], "it was not run again for its end");
}

#[tokio::test]
async fn a_run_that_a_new_version_would_not_carry_on_stands_still_at_its_next_checkpoint() {
    let (one, two) = (Scripts::new(1), Scripts::new(2));
    let node = Node::of(Arc::new(Memory::new()), &one, &[]).await;
    node.tell("flow/a", "workflow_run", tells_and_sleeps(1000)).await.unwrap();
    node.notes("script/recorder", &json!([1])).await;
    node.upgrade(&two, &[]).await;
    let is_stopped = async || {
        let asked = node.ask("flow/a", "workflow_signal:any", json!({})).await;
        asked.is_err_and(|failure| failure.code == Code::NonDeterministic)
    };
    until("it stands still", is_stopped).await;
    node.notes("script/recorder", &json!([1])).await;
    // With code that fits it goes on.
    node.upgrade(&Scripts::new(1), &[]).await;
    node.notes("script/recorder", &json!([1, 2])).await;
}

#[tokio::test]
async fn a_run_that_migrates_while_somebody_waits_for_it_answers_them() {
    let (one, three) = (Scripts::new(1), Scripts::new(3));
    let node = Node::of(Arc::new(Memory::new()), &one, &[]).await;
    let steps = json!({"steps": [{"do": "note", "payload": "begun"}, {"do": "sleep", "ms": 1500}, {"do": "sleep", "ms": 20}]});
    let upgrade = async {
        node.notes("flow/a", &json!(["begun"])).await;
        node.upgrade(&three, &[]).await;
    };
    let (done, ()) = tokio::join!(node.ask("flow/a", "workflow_run", steps), upgrade);
    assert_eq!(done, Ok(json!([null, null, null])));
    assert!(!three.handled().contains(&"workflow_run".to_owned()));
}

#[tokio::test]
async fn a_version_without_a_type_that_is_under_way_is_refused() {
    let (one, two) = (Scripts::new(1), Scripts::new(1));
    let node = Node::of(Arc::new(Memory::new()), &one, &[]).await;
    node.tell("flow/a", "workflow_run", json!({"steps": [{"do": "sleep", "ms": 60_000}]})).await.unwrap();
    let mut without = durable(&two, &[&one]);
    without.types.retain(|spec| spec.name.as_str() != "flow");
    let broken = node.runtime.would_break(&without).await.unwrap();
    assert_eq!(broken[0].1.message, "the new version has no type flow");
}

#[tokio::test]
async fn a_state_of_another_version_is_migrated_once() {
    let disk: Arc<Memory> = Arc::new(Memory::new());
    let node = Node::of(disk.clone(), &Scripts::new(1), &[]).await;
    node.ask("script/a", "note", json!("old")).await.unwrap();
    let ten = Scripts::new(10);
    node.upgrade(&ten, &[]).await;
    node.notes("script/a", &json!(["old", "for 10"])).await;
    node.ask("script/a", "note", json!("new")).await.unwrap();
    // Its own states it takes as they are.
    let ten = Scripts::new(10);
    let node = Node::of(disk.clone(), &ten, &[]).await;
    node.notes("script/a", &json!(["old", "for 10", "new"])).await;
    assert!(!ten.handled().contains(&"__MIGRATE__".to_owned()));
    // Nothing was kept in between: the state is migrated again, and not twice.
    let eleven = Scripts::new(11);
    for _ in 0..2 {
        let node = Node::of(disk.clone(), &eleven, &[]).await;
        node.notes("script/a", &json!(["old", "for 10", "new", "for 11"])).await;
    }
    // Older states in the history are shown as the present version sees them.
    let node = Node::of(disk, &eleven, &[]).await;
    let (_, state) = node.runtime.state_at(&ctx(), Target { name: "script", key: Some("a") }, Moment::Turn(1)).await.unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&state).unwrap(), json!({"notes": ["old", "for 11"]}));
}

#[tokio::test]
async fn a_run_that_the_new_version_carries_on_begins_with_the_migrated_state() {
    let disk = Arc::new(Memory::new());
    let store = Cut::new(&disk, usize::MAX, true);
    let first = Node::of(store.clone(), &Scripts::new(1), &[]).await;
    first.ask("flow/a", "note", json!("old")).await.unwrap();
    let steps = json!({"steps": [{"do": "note", "payload": "begun"}, {"do": "sleep", "ms": 2000}, {"do": "note", "payload": "done"}]});
    first.tell("flow/a", "workflow_run", steps).await.unwrap();
    store.gone.store(true, Ordering::SeqCst);
    let second = Node::of(disk.clone(), &Scripts::new(10), &[]).await;
    second.notes("flow/a", &json!(["old", "for 10", "begun", "done"])).await;
    // Its end is of the new version.
    let third = Node::of(disk, &Scripts::new(10), &[]).await;
    third.notes("flow/a", &json!(["old", "for 10", "begun", "done"])).await;
}

#[tokio::test]
async fn workflows_are_listed_with_what_became_of_them_also_after_a_crash() {
    let disk = Arc::new(Memory::new());
    let store = Cut::new(&disk, usize::MAX, true);
    let first = Node::on(store.clone()).await;
    first.ask("flow/quick", "workflow_run", json!({"steps": []})).await.unwrap();
    let wrong = json!({"steps": [{"do": "ask", "target": "script/recorder", "op": "strange"}]});
    first.ask("flow/wrong", "workflow_run", wrong).await.unwrap_err();
    for key in ["a", "b"] {
        first.tell(&format!("flow/{key}"), "workflow_run", json!({"steps": [{"do": "sleep", "ms": 60_000}]})).await.unwrap();
    }
    first.ask("flow/b", "workflow_pause", json!({})).await.unwrap();
    // Only asked, never run.
    first.ask("flow/never", "workflow_query:notes", json!({})).await.unwrap();
    store.gone.store(true, Ordering::SeqCst);
    let node = Node::on(disk).await;
    let tenant = Name::default_scope();
    let list = async |filter: RunFilter, after: Option<String>, limit: usize| {
        let (runs, next) = node.runtime.workflows(&tenant, &filter, after.as_deref(), limit).await.unwrap();
        (runs.iter().map(|run| (run.id.key.to_string(), run.status)).collect::<Vec<_>>(), next)
    };
    let run = |key: &str, status| (key.to_owned(), status);
    let all =
        [run("a", RunStatus::Running), run("b", RunStatus::Paused), run("quick", RunStatus::Completed), run("wrong", RunStatus::Failed)];
    assert_eq!(list(RunFilter::default(), None, 10).await, (all.to_vec(), None));
    let (page, next) = list(RunFilter::default(), None, 3).await;
    assert_eq!(page, all[..3]);
    assert_eq!(list(RunFilter::default(), next, 3).await, (all[3..].to_vec(), None));
    let paused = RunFilter { status: Some(RunStatus::Paused), ..RunFilter::default() };
    assert_eq!(list(paused, None, 1).await.0, all[1..2]);
    let elsewhere = RunFilter { namespace: Some(scripts::name("elsewhere")), ..RunFilter::default() };
    assert_eq!(list(elsewhere, None, 10).await, (vec![], None));
    let other = Name::new("tenant", "other").unwrap();
    assert!(node.runtime.workflows(&other, &RunFilter::default(), None, 10).await.unwrap().0.is_empty());
}
