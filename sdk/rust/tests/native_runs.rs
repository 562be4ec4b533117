//! Workflows that try again, undo, and hear signals while they run.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use plexspaces_sdk::{
    ActorContext, BehaviorError, Code, DurabilityFacet, Failure, Message, Node, NodeBuilder, RequestContext, RetryPolicy, Value,
    call_message, gen_server_actor, handler, json, plexspaces_handlers, query_handler, run_handler, signal_handler, workflow_actor,
};
use plexspaces_store::Memory;
use serde::{Deserialize, Serialize};

const PATIENCE: Duration = Duration::from_secs(5);

/// Notes what it is asked for, and refuses as often as it was told to.
#[gen_server_actor(durable)]
#[derive(Default, Serialize, Deserialize)]
struct Provider {
    notes: Vec<String>,
    refusals: u64,
}

#[plexspaces_handlers]
impl Provider {
    #[handler("notes")]
    async fn notes(&mut self, _ctx: &ActorContext, _msg: &Message) -> Result<Vec<String>, BehaviorError> {
        Ok(self.notes.clone())
    }

    #[handler("refuse")]
    async fn refuse(&mut self, _ctx: &ActorContext, msg: &Message) -> Result<(), BehaviorError> {
        self.refusals = msg.json::<Value>()?["times"].as_u64().unwrap();
        Ok(())
    }

    #[handler("*")]
    async fn anything(&mut self, _ctx: &ActorContext, msg: &Message) -> Result<Value, BehaviorError> {
        let request: Value = msg.json()?;
        let text = format!("{} {}", msg.msg_type, request["step"].as_str().unwrap_or_default());
        // What a refused message changes is taken back, so the refusal is an answer.
        if self.refusals > 0 {
            self.refusals -= 1;
            self.notes.push(format!("{text} refused"));
            return Ok(json!("refused"));
        }
        self.notes.push(text);
        Ok(json!("done"))
    }
}

#[workflow_actor(durable)]
#[derive(Default, Serialize, Deserialize)]
struct Trip {
    status: String,
    heard: Vec<String>,
}

impl Trip {
    async fn ask(ctx: &ActorContext, operation: &str, step: &str) -> Result<Value, Failure> {
        let request = call_message(json!({"op": operation, "step": step}));
        let reply: Value = ctx.ask("provider/main", request, PATIENCE).await?.json().map_err(Failure::from)?;
        match reply.as_str() {
            Some("refused") => Err(Failure::new(Code::Unavailable, format!("{step} is not there"))),
            _ => Ok(reply),
        }
    }

    fn quick(attempts: u32) -> RetryPolicy {
        RetryPolicy { attempts, initial: Duration::from_millis(20), jitter: 0.0, ..RetryPolicy::default() }
    }

    async fn book(&self, ctx: &ActorContext, trip: &Value) -> Result<Value, BehaviorError> {
        let mut saga = ctx.saga().policy(Self::quick(2));
        let booked = async {
            for step in ["hotel", "flight", "car"] {
                let undo = move || async move {
                    if step == "flight" && trip["bad_undo"] == true {
                        return Err(Failure::new(Code::Conflict, "it cannot be undone"));
                    }
                    ctx.tell("provider/main", call_message(json!({"op": "cancel", "step": step}))).await
                };
                saga.add(step, undo);
                Self::ask(ctx, "book", step).await?;
                if trip["fails_at"] == step {
                    return Err(BehaviorError::ProcessingError(format!("no {step}")));
                }
                ctx.sleep(Duration::from_millis(trip["ms"].as_u64().unwrap_or(0))).await?;
            }
            Ok(json!("booked"))
        }
        .await;
        let outcome = saga.finish(booked).await;
        if !saga.failed().is_empty() {
            return Err(format!("{} is left", saga.failed().len()).into());
        }
        outcome
    }
}

#[plexspaces_handlers]
impl Trip {
    #[run_handler]
    async fn run(&mut self, ctx: &ActorContext, msg: &Message) -> Result<Value, BehaviorError> {
        let trip: Value = msg.json()?;
        match trip["what"].as_str().unwrap_or_default() {
            "retry" => {
                let begun = ctx.now_ms();
                let attempts = u32::try_from(trip["attempts"].as_u64().unwrap()).unwrap();
                let done = ctx.retry(&Self::quick(attempts), || Self::ask(ctx, "try", "it")).await?;
                Ok(json!([done, ctx.now_ms() - begun]))
            }
            "hopeless" => {
                let policy = RetryPolicy { no_retry_on: vec![Code::Unavailable], ..Self::quick(5) };
                ctx.retry(&policy, || Self::ask(ctx, "try", "it")).await.map_err(BehaviorError::from)
            }
            "signals" => {
                self.status = "waiting".to_owned();
                ctx.publish(self).await?;
                ctx.checkpoint().await?;
                let go = ctx.wait_for_signal(Some("go"), None).await?.unwrap();
                let any = ctx.wait_for_signal(None, Some(PATIENCE)).await?.unwrap();
                let none = ctx.wait_for_signal(Some("never"), Some(Duration::from_millis(5))).await?;
                let went = go.json::<Value>()?;
                Ok(json!([went, any.signal_name(), none.is_none()]))
            }
            _ => self.book(ctx, &trip).await,
        }
    }

    #[signal_handler("note")]
    async fn note(&mut self, _ctx: &ActorContext, msg: &Message) -> Result<(), BehaviorError> {
        self.heard.push(msg.json::<Value>()?["text"].as_str().unwrap_or_default().to_owned());
        Ok(())
    }

    #[query_handler("look")]
    async fn look(&mut self, _ctx: &ActorContext, _msg: &Message) -> Result<Value, BehaviorError> {
        Ok(json!([self.status, self.heard]))
    }
}

fn ctx() -> RequestContext {
    RequestContext::new_without_auth("acme".into(), "default".into())
}

async fn node(store: &Arc<Memory>) -> Node {
    let node = NodeBuilder::new("node1").store(store.clone()).build().await;
    let locator = node.service_locator();
    locator.actor_registry().register("provider", |_| Provider::default()).unwrap();
    locator.actor_registry().register("trip", |_| Trip::default()).unwrap();
    // The types are there as soon as somebody names them.
    for actor in ["provider/main", "trip/1"] {
        locator.actor_ref(&ctx(), actor).unwrap();
    }
    node
}

async fn ask(node: &Node, actor: &str, operation: &str, arguments: Value) -> Result<Value, Failure> {
    let actor = node.service_locator().actor_ref(&ctx(), actor).unwrap();
    Ok(actor.ask(Message::new(operation, &arguments).unwrap(), PATIENCE).await?.json().unwrap())
}

/// The provider's notes, once there are so many.
async fn notes(node: &Node, count: usize) -> Vec<String> {
    for _ in 0..2000 {
        let notes: Vec<String> = serde_json::from_value(ask(node, "provider/main", "notes", json!({})).await.unwrap()).unwrap();
        if notes.len() >= count {
            return notes;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("not {count} notes: {:?}", ask(node, "provider/main", "notes", json!({})).await);
}

#[tokio::test]
async fn a_step_is_tried_again_with_growing_pauses_until_it_works_or_is_given_up() {
    let node = node(&Arc::default()).await;
    ask(&node, "provider/main", "refuse", json!({"times": 2})).await.unwrap();
    let tried = ask(&node, "trip/1", "workflow_run", json!({"what": "retry", "attempts": 3})).await.unwrap();
    assert_eq!(tried[0], "done");
    assert!(tried[1].as_u64().unwrap() >= 20 + 40, "{tried}");
    assert_eq!(notes(&node, 3).await, ["try it refused", "try it refused", "try it "].map(str::trim));
    ask(&node, "provider/main", "refuse", json!({"times": 9})).await.unwrap();
    let failed = ask(&node, "trip/2", "workflow_run", json!({"what": "retry", "attempts": 2})).await.unwrap_err();
    assert_eq!((failed.code, failed.message.as_str()), (Code::Unavailable, "it is not there"));
    assert_eq!(notes(&node, 5).await.len(), 5);
    let failed = ask(&node, "trip/3", "workflow_run", json!({"what": "hopeless"})).await.unwrap_err();
    assert_eq!(failed.code, Code::Unavailable);
    assert_eq!(notes(&node, 6).await.len(), 6, "it was tried once");
    let refused = ask(&node, "trip/4", "workflow_run", json!({"what": "retry", "attempts": 0})).await.unwrap_err();
    assert_eq!(refused.field.as_deref(), Some("attempts"));
}

#[tokio::test]
async fn what_a_saga_has_done_is_undone_in_reverse_order_when_a_step_fails() {
    let first = node(&Arc::default()).await;
    assert_eq!(ask(&first, "trip/1", "workflow_run", json!({})).await.unwrap(), "booked");
    assert_eq!(notes(&first, 3).await, ["book hotel", "book flight", "book car"]);
    let failed = ask(&first, "trip/2", "workflow_run", json!({"fails_at": "flight"})).await.unwrap_err();
    assert_eq!(failed.message, "no flight");
    assert_eq!(notes(&first, 7).await[3..], ["book hotel", "book flight", "cancel flight", "cancel hotel"]);
    // One that cannot be undone does not keep the others from it.
    let failed = ask(&first, "trip/3", "workflow_run", json!({"fails_at": "flight", "bad_undo": true})).await.unwrap_err();
    assert_eq!(failed.message, "1 is left");
    assert_eq!(notes(&first, 10).await[7..], ["book hotel", "book flight", "cancel hotel"]);
}

#[tokio::test]
async fn a_saga_is_undone_when_its_run_is_cancelled() {
    let node = node(&Arc::default()).await;
    let cancel = async {
        notes(&node, 1).await;
        ask(&node, "trip/1", "workflow_cancel", json!({})).await.unwrap();
    };
    let (result, ()) = tokio::join!(ask(&node, "trip/1", "workflow_run", json!({"ms": 60_000})), cancel);
    assert_eq!(result.unwrap_err().code, Code::Cancelled);
    assert_eq!(notes(&node, 2).await, ["book hotel", "cancel hotel"]);
}

#[tokio::test]
async fn a_saga_is_undone_when_its_run_is_timed_out() {
    let node = NodeBuilder::new("node1").store(Arc::new(Memory::default())).build().await;
    let locator = node.service_locator();
    let registry = locator.actor_registry();
    registry.register("provider", |_| Provider::default()).unwrap();
    registry.register("trip", |_| Trip::default()).unwrap();
    let durability = DurabilityFacet { run_timeout: Some(Duration::from_millis(300)), ..DurabilityFacet::default() };
    let refused = registry.set_facets("provider", vec![durability.clone().into()]).unwrap_err();
    assert!(refused.message.contains("run_timeout is for the runs of workflows"), "{refused}");
    registry.set_facets("trip", vec![durability.into()]).unwrap();
    let result = ask(&node, "trip/1", "workflow_run", json!({"ms": 60_000})).await;
    assert_eq!(result.unwrap_err().code, Code::TimedOut);
    assert_eq!(notes(&node, 2).await, ["book hotel", "cancel hotel"]);
}

#[tokio::test]
async fn a_saga_that_is_cut_off_goes_on_in_another_node_and_undoes_each_step_once() {
    let store: Arc<Memory> = Arc::default();
    let first = node(&store).await;
    let start = async |node: &Node| {
        let message = Message::new("workflow_start", &json!({"ms": 150, "fails_at": "car"})).unwrap().with_idempotency_key("one");
        let trip = node.service_locator().actor_ref(&ctx(), "trip/1").unwrap();
        trip.ask(message, PATIENCE).await.unwrap().json::<Value>().unwrap()
    };
    start(&first).await;
    notes(&first, 1).await;
    assert!(first.shutdown().await);
    let second = node(&store).await;
    let wanted = ["book hotel", "book flight", "book car", "cancel car", "cancel flight", "cancel hotel"];
    start(&second).await;
    assert_eq!(notes(&second, 6).await, wanted);
    for _ in 0..2000 {
        let told = start(&second).await;
        if told["ended"] == true {
            assert_eq!(told["error"]["message"], "no car", "{told}");
            return assert_eq!(notes(&second, 6).await, wanted);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("the run did not end");
}

#[tokio::test]
async fn a_run_waits_for_signals_by_name_and_its_handlers_get_the_rest() {
    let node = node(&Arc::default()).await;
    let signals = async {
        // Queries see what was published, while the run waits.
        while ask(&node, "trip/1", "workflow_query:look", json!({})).await.unwrap() != json!(["waiting", []]) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let send = async |operation: &str, arguments: Value| ask(&node, "trip/1", operation, arguments).await;
        for (operation, arguments) in [
            ("workflow_signal:other", json!({})),
            ("workflow_signal:note", json!({"text": "one"})),
            ("workflow_signal", json!({"name": "note", "text": "two"})),
            ("workflow_signal:note", json!("not what it takes")),
            ("workflow_signal:unknown", json!({})),
            ("workflow_signal", json!({"signal": "go", "n": 7})),
        ] {
            send(operation, arguments).await.unwrap_or_default();
        }
    };
    let run = ask(&node, "trip/1", "workflow_run", json!({"what": "signals"}));
    let (result, ()) = tokio::join!(run, signals);
    assert_eq!(result.unwrap(), json!([{"n": 7}, "other", true]));
    let seen = ask(&node, "trip/1", "workflow_query", json!({"query": "look"})).await.unwrap();
    assert_eq!(seen, json!(["waiting", ["one", "two", ""]]));
}
