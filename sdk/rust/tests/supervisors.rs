//! Supervision trees of native actors.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use plexspaces_sdk::{
    ActorContext, BehaviorError, ChildState, Code, Message, Node, NodeBuilder, RequestContext, Restart, RunningSupervisor, ServiceLocator,
    Strategy, Supervised, Supervisor, Value, call_message, gen_server_actor, handler, init_handler, json, plexspaces_handlers,
};

const PATIENCE: Duration = Duration::from_secs(5);

#[gen_server_actor]
struct Worker {
    /// Which of all that were made it is.
    number: usize,
    args: Value,
}

#[plexspaces_handlers]
impl Worker {
    #[init_handler]
    async fn init(&mut self, _ctx: &ActorContext, config: &Value) -> Result<(), BehaviorError> {
        self.args = config["args"].clone();
        tokio::time::sleep(Duration::from_millis(self.args["wait_ms"].as_u64().unwrap_or(0))).await;
        if self.args["refuses"] == true {
            return Err(BehaviorError::ProcessingError("it refuses to live".to_owned()));
        }
        Ok(())
    }

    #[handler("number")]
    async fn number(&mut self, _ctx: &ActorContext, _msg: &Message) -> Result<Value, BehaviorError> {
        Ok(json!({"number": self.number, "args": self.args}))
    }

    #[handler("fail")]
    async fn fail(&mut self, _ctx: &ActorContext, _msg: &Message) -> Result<Value, BehaviorError> {
        panic!("as it was told");
    }
}

/// A node that knows the type `worker`, and who asks it.
async fn node() -> (Node, Arc<ServiceLocator>, RequestContext) {
    let node = NodeBuilder::new("node1").build().await;
    let locator = node.service_locator();
    let made = AtomicUsize::new(0);
    let make = move |_: &ActorContext| Worker { number: made.fetch_add(1, Ordering::SeqCst), args: Value::Null };
    locator.actor_registry().register("worker", make).unwrap();
    (node, locator, RequestContext::new_without_auth("acme".into(), "default".into()))
}

async fn ask(locator: &Arc<ServiceLocator>, ctx: &RequestContext, key: &str, operation: &str) -> Result<Value, plexspaces_sdk::Failure> {
    let worker = locator.actor_ref(ctx, format!("worker/{key}").as_str())?;
    let reply = worker.ask(call_message(json!({"op": operation})), PATIENCE).await?;
    Ok(serde_json::from_slice(&reply.payload).unwrap())
}

/// One that is being restarted is unavailable.
async fn numbers(locator: &Arc<ServiceLocator>, ctx: &RequestContext, keys: &[&str]) -> Vec<u64> {
    let mut numbers = Vec::new();
    for key in keys {
        let mut number = None;
        until(async || {
            number = ask(locator, ctx, key, "number").await.ok().and_then(|reply| reply["number"].as_u64());
            number.is_some()
        })
        .await;
        numbers.extend(number);
    }
    numbers
}

async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "it never came to pass");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn restarts(tree: &RunningSupervisor, path: &str) -> Vec<(String, u64)> {
    let level = tree.children(path, None, 100).await.unwrap();
    level.children.iter().map(|(view, _)| (view.name().to_owned(), view.restarts)).collect()
}

#[tokio::test]
async fn a_native_supervisor_restarts_what_its_strategy_says() {
    let (node, locator, ctx) = node().await;
    let children = ["a", "b", "c"].map(|key| Supervised::new("worker", key));
    let inner =
        Supervisor::new("inner").strategy(Strategy::OneForAll).child(Supervised::new("worker", "d")).child(Supervised::new("worker", "e"));
    let tree = children.into_iter().fold(Supervisor::new("pool").strategy(Strategy::RestForOne), Supervisor::child).child(inner);
    let tree = tree.start(&ctx, locator.clone()).await.unwrap();
    let keys = ["a", "b", "c", "d", "e"];
    assert_eq!(numbers(&locator, &ctx, &keys).await, [0, 1, 2, 3, 4], "they start in their order");
    let level = tree.children("", None, 2).await.unwrap();
    assert!(level.more && level.children.iter().all(|(view, _)| view.state == ChildState::Running));

    ask(&locator, &ctx, "e", "fail").await.unwrap_err();
    until(async || numbers(&locator, &ctx, &["d", "e"]).await.iter().all(|number| *number > 4)).await;
    assert_eq!(numbers(&locator, &ctx, &keys[..3]).await, [0, 1, 2], "one_for_all beneath leaves those above alone");

    let before = numbers(&locator, &ctx, &["e"]).await[0];
    ask(&locator, &ctx, "b", "fail").await.unwrap_err();
    until(async || numbers(&locator, &ctx, &keys[1..]).await.iter().all(|number| *number > before)).await;
    assert_eq!(numbers(&locator, &ctx, &["a"]).await, [0], "rest_for_one restarts what was started after it");
    assert_eq!(restarts(&tree, "pool").await[..2], [("a".to_owned(), 0), ("b".to_owned(), 1)]);
    assert!(!tree.history(0, 100).await.unwrap().0.is_empty());
    tree.stop().await.unwrap();
    assert!(node.shutdown().await);
}

#[tokio::test]
async fn a_native_child_is_restarted_as_it_was_asked_for_and_is_given_its_arguments() {
    let (_node, locator, ctx) = node().await;
    let args = json!({"size": 3}).as_object().unwrap().clone();
    let tree = Supervisor::new("pool")
        .intensity(100, Duration::from_secs(60))
        .child(Supervised::new("worker", "stays").args(args).shutdown(Duration::from_secs(1)))
        .child(Supervised::new("worker", "goes").restart(Restart::Temporary));
    let tree = tree.start(&ctx, locator.clone()).await.unwrap();
    assert_eq!(ask(&locator, &ctx, "stays", "number").await.unwrap()["args"]["size"], 3);
    for key in ["stays", "goes"] {
        ask(&locator, &ctx, key, "fail").await.unwrap_err();
    }
    until(async || numbers(&locator, &ctx, &["stays"]).await == [2]).await;
    assert_eq!(ask(&locator, &ctx, "goes", "number").await.unwrap_err().code, Code::NotFound);
    tree.stop().await.unwrap();
}

#[tokio::test]
async fn a_native_tree_that_cannot_be_is_refused_and_leaves_nothing() {
    let (_node, locator, ctx) = node().await;
    let start = |tree: Supervisor| tree.start(&ctx, locator.clone());
    let unknown = start(Supervisor::new("pool").child(Supervised::new("nobody", "a"))).await.unwrap_err();
    assert_eq!(unknown.message, "no actor type \"nobody\" is registered; there are: worker");
    assert_eq!(start(Supervisor::new("pool")).await.unwrap_err().message, "the supervisor pool has no actor: expected one at least");
    let twice = Supervisor::new("pool").child(Supervised::new("worker", "a")).child(Supervised::new("worker", "a"));
    assert_eq!(start(twice).await.unwrap_err().message, "the names of a supervisor's children must differ, found pool/a twice");
    let refuses = json!({"refuses": true}).as_object().unwrap().clone();
    let failing = Supervisor::new("pool").child(Supervised::new("worker", "a")).child(Supervised::new("worker", "b").args(refuses));
    assert!(start(failing).await.unwrap_err().message.contains("it refuses to live"));

    let pool = || Supervisor::new("pool").child(Supervised::new("worker", "a"));
    let running = start(pool()).await.unwrap();
    assert_eq!(start(pool()).await.unwrap_err().message, "a supervisor pool runs already");
    let other = Supervisor::new("other").child(Supervised::new("worker", "z"));
    let taken = start(other.clone()).await.unwrap_err();
    assert_eq!((taken.code, taken.field.as_deref()), (Code::Conflict, Some("children")));
    running.stop().await.unwrap();
    let running = start(other).await.unwrap();
    assert!(ask(&locator, &ctx, "z", "number").await.is_ok(), "what has ended is no hindrance");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_native_tree_whose_start_is_given_up_is_stopped_again() {
    let (_node, locator, ctx) = node().await;
    let slow = json!({"wait_ms": 300}).as_object().unwrap().clone();
    let tree = Supervisor::new("pool").child(Supervised::new("worker", "a")).child(Supervised::new("worker", "b").args(slow));
    let given_up = tokio::time::timeout(Duration::from_millis(50), tree.start(&ctx, locator.clone())).await;
    assert!(given_up.is_err());
    let mut again = None;
    until(async || {
        again = Supervisor::new("pool").child(Supervised::new("worker", "a")).start(&ctx, locator.clone()).await.ok();
        again.is_some()
    })
    .await;
    assert!(ask(&locator, &ctx, "a", "number").await.is_ok());
    again.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn who_asks_for_ever_waits_as_long_as_it_takes() {
    let (_node, locator, ctx) = node().await;
    let worker = locator.actor_ref(&ctx, "worker/a").unwrap();
    assert!(worker.ask(call_message(json!({"op": "number"})), Duration::MAX).await.is_ok());
}
