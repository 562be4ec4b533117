//! One actor through its life: asked, told, refused, crashed, stopped.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::time::Duration;

use plexspaces_sdk::{
    ActorContext, ActorId, ActorRef, BehaviorError, Code, Failure, Message, Node, NodeBuilder, RequestContext, Value, call_message,
    cast_message, gen_server_actor, handler, init_handler, json, plexspaces_handlers, spawn_with_facets,
};

const PATIENCE: Duration = Duration::from_secs(5);

#[gen_server_actor]
struct Counter {
    count: i64,
    heard: Vec<String>,
    /// Nothing that could be cloned, made from nothing or written down.
    _opaque: std::sync::Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Counter {
    fn new() -> Self {
        Self { count: 0, heard: Vec::new(), _opaque: std::sync::Mutex::new(None) }
    }
}

#[plexspaces_handlers]
impl Counter {
    #[init_handler]
    async fn start(&mut self, ctx: &ActorContext, config: &Value) -> Result<(), BehaviorError> {
        assert_eq!(config["actor_id"], ctx.self_id().to_string());
        Ok(())
    }

    /// Adds.
    #[handler("increment")]
    async fn increment(&mut self, _ctx: &ActorContext, msg: &Message) -> Result<Value, BehaviorError> {
        let request: Value = serde_json::from_slice(&msg.payload)?;
        self.count += request["amount"].as_i64().unwrap_or(1);
        Ok(json!({"count": self.count}))
    }

    #[plexspaces_sdk::handler("get")]
    fn get(&self, _ctx: &ActorContext, _msg: &Message) -> Result<Value, BehaviorError> {
        Ok(json!({"count": self.count, "heard": self.heard}))
    }

    #[handler("poke", cast)]
    async fn poke(&mut self, _ctx: &ActorContext, msg: &Message) -> Result<(), BehaviorError> {
        self.heard.push(msg.msg_type.clone());
        Ok(())
    }

    #[handler("refuse")]
    async fn refuse(&mut self, _ctx: &ActorContext, _msg: &Message) -> Result<Value, BehaviorError> {
        Err(BehaviorError::ProcessingError("not today".to_owned()))
    }

    #[handler("crash")]
    async fn crash(&mut self, _ctx: &ActorContext, _msg: &Message) -> Result<Value, BehaviorError> {
        panic!("at the disco")
    }

    #[handler("ask")]
    async fn forward(&mut self, ctx: &ActorContext, msg: &Message) -> Result<Value, BehaviorError> {
        let request: Value = msg.json()?;
        let target = request["target"].as_str().unwrap_or_default();
        let reply = ctx.ask(target, call_message(request["message"].clone()), PATIENCE).await?;
        reply.json()
    }

    #[handler("watch")]
    async fn watch(&mut self, ctx: &ActorContext, msg: &Message) -> Result<Value, BehaviorError> {
        let request: Value = msg.json()?;
        Ok(json!(ctx.monitor(request["target"].as_str().unwrap_or_default()).await?))
    }

    #[handler("__DOWN__", "cast")]
    async fn down(&mut self, _ctx: &ActorContext, msg: &Message) -> Result<(), BehaviorError> {
        self.heard.push(format!("{} {}", msg.headers["down_from"], msg.headers["down_reason"]));
        Ok(())
    }

    #[handler("keep")]
    async fn keep(&mut self, ctx: &ActorContext, _msg: &Message) -> Result<Value, BehaviorError> {
        ctx.kv_put("k", "v").await?;
        Ok(json!([ctx.kv_get("k").await?, ctx.kv_list("", 10).await?, ctx.kv_delete("k").await?]))
    }

    #[handler("later")]
    async fn later(&mut self, ctx: &ActorContext, _msg: &Message) -> Result<Value, BehaviorError> {
        let poke = cast_message(json!({"op": "poke"}));
        Ok(json!(ctx.send_after(Duration::from_millis(1), poke).await?))
    }
}

async fn node() -> Node {
    NodeBuilder::new("node1").build().await
}

fn ctx() -> RequestContext {
    RequestContext::new_without_auth("acme".into(), "default".into())
}

async fn spawn(node: &Node, id: &str) -> Result<ActorRef, Failure> {
    spawn_with_facets(&ctx(), node.service_locator(), ActorId::from(id), "default", Counter::new(), vec![]).await
}

async fn ask(actor: &ActorRef, request: Value) -> Result<Value, Failure> {
    Ok(serde_json::from_slice(&actor.ask(call_message(request), PATIENCE).await?.payload).unwrap())
}

/// What the actor has heard, once there is something.
async fn heard(actor: &ActorRef) -> Value {
    loop {
        let state = ask(actor, json!({"op": "get"})).await.unwrap();
        if state["heard"].as_array().is_some_and(|heard| !heard.is_empty()) {
            return state["heard"].clone();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn an_actor_answers_by_op_action_and_message_type() {
    let node = node().await;
    let counter = spawn(&node, "counter@node1").await.unwrap();
    assert_eq!(ask(&counter, json!({"action": "increment", "amount": 5})).await.unwrap(), json!({"count": 5}));
    assert_eq!(ask(&counter, json!({"op": "increment"})).await.unwrap(), json!({"count": 6}));
    let named = Message::new("increment", &json!({"amount": 2})).unwrap();
    assert_eq!(&counter.ask(named, PATIENCE).await.unwrap().payload[..], br#"{"count":8}"#);
    let bytes = Message::from_bytes("", &b"{\"action\": \"increment\"}"[..]);
    assert_eq!(&counter.ask(bytes, PATIENCE).await.unwrap().payload[..], br#"{"count":9}"#);
    counter.tell(cast_message(json!({"op": "increment"}))).await.unwrap();
    assert_eq!(ask(&counter, json!({"op": "get"})).await.unwrap()["count"], 10);
}

#[tokio::test]
async fn a_refusal_is_an_answer_and_the_actor_lives_on() {
    let node = node().await;
    let counter = spawn(&node, "counter").await.unwrap();
    ask(&counter, json!({"op": "increment"})).await.unwrap();
    let refused = ask(&counter, json!({"op": "refuse"})).await.unwrap_err();
    assert_eq!(refused.to_string(), "handler_failed: not today");
    let unknown = ask(&counter, json!({"op": "nonsense"})).await.unwrap_err();
    assert_eq!(unknown.code, Code::UnknownOperation);
    assert!(unknown.message.contains("it has: __DOWN__, ask, crash"), "{unknown}");
    let invalid = counter.ask(Message::from_bytes("increment", &b"{"[..]), PATIENCE).await.unwrap_err();
    assert_eq!(invalid.code, Code::InvalidArgument);
    assert_eq!(ask(&counter, json!({"op": "get"})).await.unwrap()["count"], 1);
}

#[tokio::test]
async fn a_value_that_crashes_is_announced_and_answers_nobody_until_it_is_spawned_again() {
    let node = node().await;
    let (watcher, counter) = (spawn(&node, "watcher").await.unwrap(), spawn(&node, "counter").await.unwrap());
    ask(&watcher, json!({"op": "watch", "target": "counter@node1"})).await.unwrap();
    let crashed = ask(&counter, json!({"op": "crash"})).await.unwrap_err();
    assert!(crashed.message.contains("panicked: at the disco"), "{crashed}");
    assert_eq!(heard(&watcher).await, json!(["default/Counter/counter error: default/Counter/counter panicked: at the disco"]));
    let gone = ask(&counter, json!({"op": "get"})).await.unwrap_err();
    assert_eq!((gone.code, counter.is_live()), (Code::NotFound, false));
    assert!(gone.message.contains("has ended"), "{gone}");
    let again = spawn(&node, "counter").await.unwrap();
    assert_eq!(ask(&again, json!({"op": "get"})).await.unwrap()["count"], 0);
    assert_eq!(ask(&counter, json!({"op": "increment"})).await.unwrap()["count"], 1);
}

#[tokio::test]
async fn actors_reach_each_other_by_name_and_what_waits_for_itself_is_refused() {
    let node = node().await;
    let (one, two) = (spawn(&node, "one").await.unwrap(), spawn(&node, "two@node1").await.unwrap());
    for target in ["two", "two@node1", "Counter/two", "default/Counter/two@node1"] {
        let message = json!({"op": "increment"});
        ask(&one, json!({"op": "ask", "target": target, "message": message})).await.unwrap();
    }
    assert_eq!(ask(&two, json!({"op": "get"})).await.unwrap()["count"], 4);
    let own = json!({"op": "ask", "target": "one", "message": {"op": "get"}});
    let circle = ask(&one, json!({"op": "ask", "target": "two", "message": own})).await.unwrap_err();
    assert_eq!(circle.code, Code::Deadlock);
    let unknown = ask(&one, json!({"op": "ask", "target": "three", "message": {}})).await.unwrap_err();
    assert_eq!(unknown.code, Code::NotFound);
}

#[tokio::test]
async fn an_actor_has_keys_and_timers_of_its_own() {
    let node = node().await;
    let counter = spawn(&node, "counter").await.unwrap();
    assert_eq!(ask(&counter, json!({"op": "keep"})).await.unwrap(), json!(["v", ["k"], true]));
    ask(&counter, json!({"op": "later"})).await.unwrap();
    assert_eq!(heard(&counter).await, json!(["poke"]));
}

#[tokio::test]
async fn names_that_cannot_be_used_and_names_in_use_are_refused() {
    let node = node().await;
    spawn(&node, "counter").await.unwrap();
    assert_eq!(spawn(&node, "counter").await.unwrap_err().code, Code::Conflict);
    assert_eq!(spawn(&node, "counter@node2").await.unwrap_err().code, Code::Unavailable);
    assert_eq!(spawn(&node, "Other/counter").await.unwrap_err().code, Code::InvalidArgument);
    assert_eq!(spawn(&node, "").await.unwrap_err().code, Code::InvalidArgument);
    spawn(&node, "alice@example.com@node1").await.unwrap();
    let broken = NodeBuilder::new("a b").build().await;
    assert_eq!(spawn(&broken, "counter").await.unwrap_err().field.as_deref(), Some("node"));
}

#[tokio::test]
async fn a_node_runs_until_it_is_shut_down() {
    let node = std::sync::Arc::new(node().await);
    let running = tokio::spawn({
        let node = node.clone();
        async move { node.start().await }
    });
    let counter = spawn(&node, "counter").await.unwrap();
    assert!(!running.is_finished());
    assert!(counter.stop());
    while counter.is_live() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(ask(&counter, json!({"op": "get"})).await.unwrap_err().code, Code::NotFound);
    let counter = spawn(&node, "counter").await.unwrap();
    assert!(node.shutdown().await);
    running.await.unwrap().unwrap();
    assert_eq!(ask(&counter, json!({"op": "get"})).await.unwrap_err().code, Code::Unavailable);
}

#[gen_server_actor]
struct Link {
    next: Option<ActorRef>,
}

#[plexspaces_handlers]
impl Link {
    /// Asks as one from outside would, by a reference that it was given.
    #[handler("depth")]
    async fn depth(&mut self, _ctx: &ActorContext, _msg: &Message) -> Result<u64, BehaviorError> {
        let Some(next) = &self.next else { return Ok(0) };
        let reply = next.ask(call_message(json!({"op": "depth"})), PATIENCE).await.map_err(|failure| failure.to_string())?;
        Ok(1 + reply.json::<u64>()?)
    }
}

#[tokio::test]
async fn a_long_chain_of_asks_needs_no_deep_stack() {
    let node = NodeBuilder::new("node1").build().await;
    let ctx = RequestContext::new_without_auth("t".into(), "default".into());
    let mut next = None;
    for number in 0..1000 {
        let id = ActorId::from(number.to_string());
        next = Some(spawn_with_facets(&ctx, node.service_locator(), id, "default", Link { next }, vec![]).await.unwrap());
    }
    let reply = next.unwrap().ask(call_message(json!({"op": "depth"})), PATIENCE).await.unwrap();
    assert_eq!(reply.json::<u64>().unwrap(), 999);
}
