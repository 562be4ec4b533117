//! Other actors' lives and the actor's own timers, and that a handler which is run again does none of it twice.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use plexspaces_sdk::{
    ActorContext, ActorId, ActorRef, BehaviorError, Code, Failure, Message, Node, NodeBuilder, RequestContext, Schedule, Value,
    call_message, cast_message, gen_server_actor, handler, json, plexspaces_handlers, run_handler, spawn_with_facets, workflow_actor,
};
use plexspaces_store::Memory;
use serde::{Deserialize, Serialize};

const PATIENCE: Duration = Duration::from_secs(5);

/// Does with others what it is told to, and notes what it hears.
#[gen_server_actor]
#[derive(Default)]
struct Doer {
    heard: Vec<String>,
}

#[plexspaces_handlers]
impl Doer {
    #[handler("do")]
    async fn act(&mut self, ctx: &ActorContext, msg: &Message) -> Result<Value, BehaviorError> {
        let request: Value = msg.json()?;
        let target = request["target"].as_str().unwrap_or_default();
        let tick = |name: &str| cast_message(json!({"op": name}));
        Ok(match request["what"].as_str().unwrap_or_default() {
            "link" => json!(ctx.link(target).await?),
            "unlink" => json!(ctx.unlink(target).await?),
            "monitor" => json!(ctx.monitor(target).await?),
            "demonitor" => json!(ctx.demonitor(target).await),
            "spawn" => json!(ctx.spawn(target, Plain).await?.id().to_string()),
            "spawn_type" => json!(ctx.spawn_type("plain", target, serde_json::Map::new()).await?.id().to_string()),
            "stop" => json!(ctx.stop(target).await?),
            "stop_ref" => json!(ctx.stop(&ctx.actor_ref(target)?).await?),
            "every" => json!(ctx.send_every(Duration::from_millis(1), tick("every")).await?),
            "start" => {
                let schedule = Schedule::Every(Duration::from_millis(request["ms"].as_u64().unwrap()));
                json!(ctx.start_timer(Some(target), schedule, tick(target)).await?)
            }
            "cancel" => json!(ctx.cancel_timer(target).await?),
            "remind" => json!(ctx.start_reminder("r", Schedule::After(Duration::from_millis(1)), tick("r")).await?),
            other => panic!("{other}"),
        })
    }

    #[handler("heard")]
    async fn heard(&mut self, _ctx: &ActorContext, _msg: &Message) -> Result<Value, BehaviorError> {
        Ok(json!(std::mem::take(&mut self.heard)))
    }

    #[handler("__DOWN__", "cast")]
    async fn down(&mut self, _ctx: &ActorContext, msg: &Message) -> Result<(), BehaviorError> {
        self.heard.push(format!("down {} {}", msg.headers["down_from"], msg.headers["down_reason"]));
        Ok(())
    }

    #[handler("__EXIT__", "cast")]
    async fn exit(&mut self, _ctx: &ActorContext, msg: &Message) -> Result<(), BehaviorError> {
        self.heard.push(format!("exit {}", msg.headers["exit_from"]));
        Ok(())
    }

    #[handler("*", "cast")]
    async fn tick(&mut self, _ctx: &ActorContext, msg: &Message) -> Result<(), BehaviorError> {
        self.heard.push(msg.msg_type.clone());
        Ok(())
    }
}

#[gen_server_actor]
struct Plain;

#[plexspaces_handlers]
impl Plain {
    #[handler("ping")]
    async fn ping(&mut self, ctx: &ActorContext, _msg: &Message) -> Result<String, BehaviorError> {
        Ok(ctx.self_id().to_string())
    }

    #[handler("crash")]
    async fn crash(&mut self, _ctx: &ActorContext, _msg: &Message) -> Result<(), BehaviorError> {
        panic!("as it was told")
    }
}

fn ctx() -> RequestContext {
    RequestContext::new_without_auth("acme".into(), "default".into())
}

async fn node(store: &Arc<Memory>) -> Node {
    let node = NodeBuilder::new("node1").store(store.clone()).build().await;
    let locator = node.service_locator();
    let registry = locator.actor_registry();
    registry.register("plain", |_| Plain).unwrap();
    registry.register("notes", |_| Notes::default()).unwrap();
    registry.register("run", |_| Run::default()).unwrap();
    node
}

async fn ask(actor: &ActorRef, request: Value) -> Result<Value, Failure> {
    Ok(actor.ask(call_message(request), PATIENCE).await?.json().unwrap())
}

/// Asks until something was heard that `wanted` is about.
async fn heard(actor: &ActorRef, wanted: &str) -> Vec<String> {
    let mut heard = Vec::new();
    for _ in 0..2000 {
        let more: Vec<String> = serde_json::from_value(ask(actor, json!({"op": "heard"})).await.unwrap()).unwrap();
        heard.extend(more);
        if heard.iter().any(|one| one.starts_with(wanted)) {
            return heard;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("{wanted} was not among {heard:?}");
}

struct Bench {
    node: Node,
    doer: ActorRef,
}

async fn bench() -> Bench {
    let node = node(&Arc::default()).await;
    let doer = spawn_with_facets(&ctx(), node.service_locator(), ActorId::from("doer"), "default", Doer::default(), vec![]).await.unwrap();
    Bench { node, doer }
}

impl Bench {
    async fn act(&self, what: &str, target: &str) -> Result<Value, Failure> {
        ask(&self.doer, json!({"op": "do", "what": what, "target": target})).await
    }

    async fn crash(&self, target: &str) {
        let actor = self.node.service_locator().actor_ref(&ctx(), target).unwrap();
        assert!(ask(&actor, json!({"op": "crash"})).await.is_err());
    }
}

#[tokio::test]
async fn linked_actors_hear_of_each_others_failures_until_they_are_untied() {
    let bench = bench().await;
    for peer in ["one", "two"] {
        bench.act("spawn", peer).await.unwrap();
        bench.act("link", peer).await.unwrap();
    }
    bench.act("unlink", "one").await.unwrap();
    bench.crash("one").await;
    bench.crash("two").await;
    assert_eq!(heard(&bench.doer, "exit default/Plain/two").await, ["exit default/Plain/two"]);
    // Who ties itself to nobody hears of it at once.
    bench.act("link", "nobody").await.unwrap();
    assert_eq!(heard(&bench.doer, "exit").await, ["exit nobody"]);
}

#[tokio::test]
async fn an_actor_starts_watches_and_stops_others() {
    let bench = bench().await;
    assert_eq!(bench.act("spawn", "a").await.unwrap(), "default/Plain/a");
    assert_eq!(bench.act("spawn", "a").await.unwrap_err().code, Code::Conflict);
    assert_eq!(bench.act("spawn_type", "b").await.unwrap(), "default/plain/b");
    assert_eq!(bench.act("spawn_type", "b").await.unwrap_err().code, Code::Conflict);
    let made = bench.act("spawn_type", "").await.unwrap();
    assert!(made.as_str().unwrap().starts_with("default/plain/plain-"), "{made}");
    for target in ["a", "plain/b"] {
        let reference = bench.act("monitor", target).await.unwrap();
        bench.act("demonitor", reference.as_str().unwrap()).await.unwrap();
    }
    bench.act("monitor", "plain/b").await.unwrap();
    assert_eq!(bench.act("stop", "a").await.unwrap(), true);
    assert_eq!(bench.act("stop_ref", "plain/b@node1").await.unwrap(), true);
    assert_eq!(heard(&bench.doer, "down").await, ["down default/plain/b shutdown"]);
    for gone in ["a", "plain/b", "never"] {
        assert_eq!(bench.act("stop", gone).await.unwrap(), false, "{gone}");
    }
}

#[tokio::test]
async fn timers_come_again_and_again_until_they_are_cancelled() {
    let bench = bench().await;
    let every = bench.act("every", "").await.unwrap();
    heard(&bench.doer, "every").await;
    heard(&bench.doer, "every").await;
    assert_eq!(bench.act("cancel", every.as_str().unwrap()).await.unwrap(), true);
    assert_eq!(bench.act("cancel", every.as_str().unwrap()).await.unwrap(), false);
    // One of the same name is replaced.
    for ms in [600_000, 1] {
        let started = ask(&bench.doer, json!({"op": "do", "what": "start", "target": "tick", "ms": ms})).await.unwrap();
        assert_eq!(started, "tick");
    }
    heard(&bench.doer, "tick").await;
    assert_eq!(bench.act("cancel", "tick").await.unwrap(), true);
    // What was on its way when it was cancelled comes first.
    ask(&bench.doer, json!({"op": "heard"})).await.unwrap();
    ask(&bench.doer, json!({"op": "do", "what": "start", "target": "later", "ms": 20})).await.unwrap();
    assert_eq!(heard(&bench.doer, "later").await, ["later"]);
    let refused = bench.act("remind", "").await.unwrap_err();
    assert_eq!(refused.code, Code::Conflict);
    assert!(refused.message.contains("not durable"), "{refused}");
}

/// A durable actor that reminds itself.
#[gen_server_actor(durable)]
#[derive(Default, Serialize, Deserialize)]
struct Notes {
    notes: Vec<Value>,
}

#[plexspaces_handlers]
impl Notes {
    #[handler("note")]
    async fn note(&mut self, _ctx: &ActorContext, msg: &Message) -> Result<(), BehaviorError> {
        self.notes.push(msg.json()?);
        Ok(())
    }

    #[handler("notes")]
    async fn notes(&mut self, _ctx: &ActorContext, _msg: &Message) -> Result<Vec<Value>, BehaviorError> {
        Ok(self.notes.clone())
    }

    #[handler("remind")]
    async fn remind(&mut self, ctx: &ActorContext, msg: &Message) -> Result<(), BehaviorError> {
        let request: Value = msg.json()?;
        let after = Duration::from_millis(request["ms"].as_u64().unwrap());
        let note = Message::new("note", &json!(request["name"]))?;
        Ok(ctx.start_reminder(request["name"].as_str().unwrap(), Schedule::After(after), note).await?)
    }

    #[handler("forget")]
    async fn forget(&mut self, ctx: &ActorContext, msg: &Message) -> Result<bool, BehaviorError> {
        Ok(ctx.cancel_reminder(msg.json::<Value>()?["name"].as_str().unwrap()).await?)
    }
}

/// The notes, once there are so many.
async fn notes(node: &Node, count: usize) -> Vec<Value> {
    let notes = node.service_locator().actor_ref(&ctx(), "notes/main").unwrap();
    for _ in 0..2000 {
        let found = ask(&notes, json!({"op": "notes"})).await.unwrap().as_array().unwrap().clone();
        if found.len() >= count {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("not {count} notes");
}

#[tokio::test]
async fn a_reminder_comes_in_the_next_node_unless_it_was_cancelled() {
    let store: Arc<Memory> = Arc::default();
    let first = node(&store).await;
    let actor = first.service_locator().actor_ref(&ctx(), "notes/main").unwrap();
    for (name, ms) in [("cancelled", 1000), ("kept", 1000)] {
        ask(&actor, json!({"op": "remind", "name": name, "ms": ms})).await.unwrap();
    }
    assert_eq!(ask(&actor, json!({"op": "forget", "name": "cancelled"})).await.unwrap(), true);
    assert_eq!(ask(&actor, json!({"op": "forget", "name": "cancelled"})).await.unwrap(), false);
    assert!(first.shutdown().await);
    let second = node(&store).await;
    assert_eq!(notes(&second, 1).await, ["kept"]);
}

/// Waits in the middle of what must come out the same when it is run again.
#[workflow_actor(durable)]
#[derive(Default, Serialize, Deserialize)]
struct Run {}

#[plexspaces_handlers]
impl Run {
    #[run_handler]
    async fn run(&mut self, ctx: &ActorContext, msg: &Message) -> Result<Value, BehaviorError> {
        let kind: String = msg.json()?;
        let before = match kind.as_str() {
            "clock" => {
                let (begun, number, id) = (ctx.now_ms(), ctx.random().await, ctx.fresh_id().await);
                ctx.kv_put("begun", format!("{begun} {number} {id}")).await?;
                json!([begun, number, id])
            }
            "lives" => {
                let value = ctx.spawn("helper", Plain).await?.id().to_string();
                let typed = ctx.spawn_type("plain", "", serde_json::Map::new()).await?;
                let asked: String = ctx.ask("helper", call_message(json!({"op": "ping"})), PATIENCE).await?.json()?;
                let reference = ctx.monitor("helper").await?;
                json!([value, typed.id().to_string(), asked, reference, ctx.stop("helper").await?, ctx.stop(&typed).await?])
            }
            other => panic!("{other}"),
        };
        ctx.tell("notes/main", Message::new("note", &before)?).await?;
        ctx.sleep(Duration::from_millis(300)).await?;
        Ok(json!([before, ctx.now_ms()]))
    }
}

/// A run that is cut off where it waits and goes on in another node: what it noted before, and its result.
async fn cut_off(kind: &str) -> (Value, Value) {
    let store: Arc<Memory> = Arc::default();
    let first = node(&store).await;
    let start = async |node: &Node| {
        let message = Message::new("workflow_start", &json!(kind)).unwrap().with_idempotency_key("one");
        let run = node.service_locator().actor_ref(&ctx(), "run/1").unwrap();
        run.ask(message, PATIENCE).await.unwrap().json::<Value>().unwrap()
    };
    start(&first).await;
    let noted = notes(&first, 1).await.remove(0);
    assert!(first.shutdown().await);
    let second = node(&store).await;
    second.service_locator().actor_ref(&ctx(), "notes/main").unwrap();
    for _ in 0..2000 {
        let told = start(&second).await;
        if told["ended"] == true {
            assert_eq!(notes(&second, 1).await.len(), 1, "it was sent once");
            assert_eq!(told.get("error"), None, "{told}");
            return (noted, told["result"].clone());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("the run did not end");
}

#[tokio::test]
async fn a_run_that_goes_on_in_another_node_reads_the_same_clock_and_random_numbers() {
    let (noted, result) = cut_off("clock").await;
    assert_eq!(result[0], noted);
    let (begun, ended) = (noted[0].as_u64().unwrap(), result[1].as_u64().unwrap());
    assert!(ended >= begun + 300, "the clock goes on where it waits: {begun}, {ended}");
}

#[tokio::test]
async fn a_run_that_goes_on_in_another_node_starts_asks_watches_and_stops_nobody_again() {
    let (noted, result) = cut_off("lives").await;
    assert_eq!(result[0], noted);
    assert_eq!((&noted[0], &noted[2]), (&json!("default/Plain/helper"), &json!("default/Plain/helper")));
    assert_eq!((&noted[4], &noted[5]), (&json!(true), &json!(true)));
}
