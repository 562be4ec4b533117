//! Code that goes on while what it did is committed. `docs/semantics.md` names these tests.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/scripts.rs"]
mod scripts;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use plexspaces_actor::{Profile, Target};
use plexspaces_durable::journal::Outcome;
use plexspaces_store::{Batch, Error, Memory, Partition};
use plexspaces_types::{ActorId, Code, Name};
use scripts::{Before, Node, Says, ctx, until};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// Lets the commits of the actor `flow/a` be taken one by one, or not at all.
struct Slow {
    of: Partition,
    lets: Semaphore,
    fails: AtomicBool,
}

#[async_trait]
impl Says for Slow {
    async fn to(&self, batch: &Batch) -> Result<(), Error> {
        if batch.partition == self.of {
            self.lets.acquire().await.unwrap().forget();
            if self.fails.load(Ordering::SeqCst) {
                return Err(Error::Unavailable("as it was told".to_owned()));
            }
        }
        Ok(())
    }
}

fn slow() -> Arc<Before<Slow>> {
    let of = Partition::actor(&ActorId::parse(&Name::default_scope(), "default/flow/a").unwrap());
    Before::new(Arc::new(Memory::new()), Slow { of, lets: Semaphore::new(0), fails: AtomicBool::new(false) })
}

fn checkpoint() -> Value {
    json!({"do": "sleep", "ms": 0})
}

fn pass(name: &str) -> Value {
    json!({"do": "pass", "name": name})
}

async fn run(node: &Node, steps: Value) -> Result<Value, plexspaces_types::Failure> {
    node.ask("flow/a", "workflow_run", json!({"steps": steps})).await
}

fn has(node: &Node, what: &str) -> bool {
    node.handled.lock().unwrap().iter().any(|handled| handled == what)
}

/// Ends when nothing can go on any more: the tests' time stands still as long as something can.
async fn rest() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}

async fn chunks(node: &Node) -> u32 {
    let (history, _) = node.runtime.history(&ctx(), Target { name: "flow", key: Some("a") }, 0, 1).await.unwrap();
    history.first().map_or(0, |turn| turn.chunks)
}

#[tokio::test(start_paused = true)]
async fn code_goes_on_at_a_checkpoint_and_what_it_did_meanwhile_is_one_commit() {
    let store = slow();
    let node = Node::on(store.clone()).await;
    let steps: Vec<Value> = std::iter::repeat_n(checkpoint(), 10).chain([pass("all")]).collect();
    let let_go = async {
        until("the code has done all", async || has(&node, "all")).await;
        assert_eq!(chunks(&node).await, 0, "nothing is kept yet");
        store.says.lets.add_permits(1);
        until("the first is kept", async || chunks(&node).await == 1).await;
        store.says.lets.add_permits(1);
    };
    let (done, ()) = tokio::join!(run(&node, json!(steps)), let_go);
    done.unwrap();
    assert_eq!(chunks(&node).await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_waits_for_no_timer() {
    let node = Node::on(Arc::new(Memory::new())).await;
    let began = tokio::time::Instant::now();
    run(&node, json!(vec![checkpoint(); 10])).await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn code_that_goes_on_is_not_far_ahead_of_the_disk() {
    let store = slow();
    let node = Node::on(store.clone()).await;
    let steps: Vec<Value> = std::iter::repeat_n(checkpoint(), 200).chain([pass("200")]).chain(vec![checkpoint(); 100]).collect();
    let let_go = async {
        until("the code has gone on", async || has(&node, "200")).await;
        rest().await;
        assert!(!has(&node, "all"));
        store.says.lets.add_permits(999);
    };
    let steps: Vec<Value> = steps.into_iter().chain([pass("all")]).collect();
    let (done, ()) = tokio::join!(run(&node, json!(steps)), let_go);
    done.unwrap();
}

/// Ways out of an actor, and in.
#[tokio::test(start_paused = true)]
async fn nothing_leaves_an_actor_before_what_it_did_until_then_is_kept() {
    let recorder = |how: &str| json!({"do": how, "target": "script/recorder", "op": "note", "payload": 1});
    let tuple = |op: &str, payload: Value| json!({"do": "service", "service": "tuples", "op": op, "payload": payload});
    let ways = [
        vec![recorder("ask")],
        vec![recorder("tell")],
        vec![recorder("tell"), checkpoint()],
        vec![json!({"do": "start", "target": "flow/other", "payload": {"steps": []}})],
        vec![tuple("write", json!({"tuple": ["t"]}))],
        vec![tuple("count", json!({"pattern": ["t"]}))],
        vec![json!({"do": "put_blob", "name": "b", "content": "c"})],
        vec![json!({"do": "sleep", "ms": 5})],
        vec![],
    ];
    for way in ways {
        let dir = tempfile::tempdir().unwrap();
        let store = slow();
        let node = Node::keeping(store.clone(), Profile { durable: true, ..Profile::default() }, Some(dir.path())).await;
        let answered = AtomicBool::new(false);
        let steps: Vec<Value> = [checkpoint(), pass("on")].into_iter().chain(way.clone()).chain([checkpoint(), pass("out")]).collect();
        let let_go = async {
            until("the code has gone on", async || has(&node, "on")).await;
            rest().await;
            // What a tell or the end of the turn lets out, it lets out with a commit that comes after that.
            let goes_with_a_commit = way.is_empty() || way[0]["do"] == "tell" || way[0]["op"] == "write";
            assert_eq!(has(&node, "out"), goes_with_a_commit, "{way:?}");
            let others: Vec<String> =
                node.handled.lock().unwrap().iter().filter(|what| !["workflow_run", "on", "out"].contains(&&***what)).cloned().collect();
            assert_eq!(others, Vec::<String>::new(), "{way:?}");
            let tuples = node.service("tuples", "default", "count", json!({"pattern": ["t"]})).await;
            assert_eq!(tuples["count"], 0, "{way:?}");
            assert!(!answered.load(Ordering::SeqCst), "{way:?}");
            store.says.lets.add_permits(9);
        };
        let answer = async {
            let done = run(&node, json!(steps)).await;
            answered.store(true, Ordering::SeqCst);
            done
        };
        let (done, ()) = tokio::join!(answer, let_go);
        done.unwrap_or_else(|failure| panic!("{way:?}: {failure}"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_kept_beside_the_code_was_not_done() {
    for ending in [json!({"do": "ask", "target": "script/recorder", "op": "note", "payload": 1}), pass("end"), json!({"do": "fail"})] {
        let store = slow();
        let node = Node::on(store.clone()).await;
        let steps = json!([{"do": "note", "payload": "done"}, checkpoint(), pass("on"), ending]);
        let let_go = async {
            until("the code has gone on", async || has(&node, "on")).await;
            store.says.fails.store(true, Ordering::SeqCst);
            store.says.lets.add_permits(99);
        };
        let (done, ()) = tokio::join!(run(&node, steps), let_go);
        assert_eq!(done.unwrap_err().code, Code::Unavailable, "{ending}");
        assert!(!has(&node, "note"), "{ending}");
        store.says.fails.store(false, Ordering::SeqCst);
        assert_eq!(node.ask("flow/a", "workflow_query:notes", json!({})).await, Ok(json!([])), "{ending}");
        run(&node, json!([{"do": "note", "payload": "again"}])).await.unwrap();
        node.notes("flow/a", &json!(["again"])).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_before_a_checkpoint_leaves_though_the_run_fails_beside_an_earlier_one() {
    let store = slow();
    let node = Node::on(store.clone()).await;
    let tell = |what: &str| json!({"do": "tell", "target": "script/recorder", "op": "note", "payload": what});
    let steps = json!([checkpoint(), tell("one"), checkpoint(), tell("two"), checkpoint(), pass("on"), tell("three"), {"do": "fail"}]);
    let let_go = async {
        until("the code has gone on", async || has(&node, "on")).await;
        rest().await;
        store.says.lets.add_permits(99);
    };
    let (done, ()) = tokio::join!(run(&node, steps), let_go);
    assert_eq!(done.unwrap_err().code, Code::HandlerFailed);
    node.notes("script/recorder", &json!(["one", "two"])).await;
    rest().await;
    assert_eq!(node.ask("script/recorder", "notes", json!({})).await, Ok(json!(["one", "two"])));
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_fails_beside_its_commit_has_failed() {
    let store = slow();
    let node = Node::on(store.clone()).await;
    let let_go = async {
        until("the code has gone on", async || has(&node, "on")).await;
        rest().await;
        store.says.lets.add_permits(99);
    };
    let (done, ()) = tokio::join!(run(&node, json!([checkpoint(), pass("on"), {"do": "fail"}])), let_go);
    assert_eq!(done.unwrap_err().code, Code::HandlerFailed);
    let (history, _) = node.runtime.history(&ctx(), Target { name: "flow", key: Some("a") }, 0, 9).await.unwrap();
    assert!(matches!(history[0].end().unwrap().outcome, Outcome::Failed(_)), "it is written down, and not taken up again");
}
