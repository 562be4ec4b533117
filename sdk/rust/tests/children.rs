//! Workflows that workflows start.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use plexspaces_sdk::{
    ActorContext, BehaviorError, Code, Message, Node, NodeBuilder, RequestContext, Value, gen_server_actor, handler, json,
    plexspaces_handlers, run_handler, workflow_actor,
};
use plexspaces_store::Memory;
use serde::{Deserialize, Serialize};

const PATIENCE: Duration = Duration::from_secs(5);

/// Starts a run for each parcel and waits for all.
#[workflow_actor(durable)]
#[derive(Default, Serialize, Deserialize)]
struct Order {
    cleaned: bool,
}

#[plexspaces_handlers]
impl Order {
    #[run_handler]
    async fn run(&mut self, ctx: &ActorContext, msg: &Message) -> Result<Value, BehaviorError> {
        let order: Value = msg.json()?;
        let mut parcels = Vec::new();
        for (n, parcel) in order["parcels"].as_array().unwrap().iter().enumerate() {
            let id = format!("{}-{n}", order["id"].as_str().unwrap());
            parcels.push(match parcel["within_ms"].as_u64().map(Duration::from_millis) {
                Some(within) => ctx.start_workflow_within("parcel", &id, parcel, within, PATIENCE).await?,
                None => ctx.start_workflow("parcel", &id, parcel, PATIENCE).await?,
            });
        }
        let mut weights = Vec::new();
        for parcel in &parcels {
            let limit = order["limit_ms"].as_u64().map(Duration::from_millis);
            match parcel.result(ctx, limit).await {
                Ok(weight) => weights.push(weight),
                Err(failure) if failure.code == Code::Cancelled => {
                    ctx.tell("ledger/main", Message::new("note", &json!("order cancelled"))?).await?;
                    self.cleaned = true;
                    return Ok(json!("cancelled"));
                }
                Err(failure) => weights.push(json!([failure.code.name(), failure.message])),
            }
        }
        Ok(json!(weights))
    }
}

#[workflow_actor(durable)]
#[derive(Default, Serialize, Deserialize)]
struct Parcel {
    weighed: bool,
}

#[plexspaces_handlers]
impl Parcel {
    #[run_handler]
    async fn run(&mut self, ctx: &ActorContext, msg: &Message) -> Result<Value, BehaviorError> {
        let parcel: Value = msg.json()?;
        ctx.ask("ledger/main", Message::new("note", &parcel["weight"])?, PATIENCE).await?;
        let slept = ctx.sleep(Duration::from_millis(parcel["ms"].as_u64().unwrap_or(0))).await;
        if slept.as_ref().is_err_and(|failure| failure.code == Code::Cancelled) {
            ctx.tell("ledger/main", Message::new("note", &json!("parcel cancelled"))?).await?;
            return Ok(json!("cancelled"));
        }
        slept?;
        if parcel["weight"] == 0 {
            return Err("it weighs nothing".into());
        }
        self.weighed = true;
        Ok(parcel["weight"].clone())
    }
}

#[gen_server_actor(durable)]
#[derive(Default, Serialize, Deserialize)]
struct Ledger {
    notes: Vec<Value>,
}

#[plexspaces_handlers]
impl Ledger {
    #[handler("note")]
    async fn note(&mut self, _ctx: &ActorContext, msg: &Message) -> Result<(), BehaviorError> {
        self.notes.push(msg.json()?);
        Ok(())
    }

    #[handler("notes")]
    async fn notes(&mut self, _ctx: &ActorContext, _msg: &Message) -> Result<Vec<Value>, BehaviorError> {
        Ok(self.notes.clone())
    }

    #[handler("start")]
    async fn start(&mut self, ctx: &ActorContext, _msg: &Message) -> Result<Value, BehaviorError> {
        let child = ctx.start_workflow("parcel", "of-a-ledger", &json!({"weight": 9}), PATIENCE).await?;
        Ok(json!(child.result(ctx, None).await.unwrap_err().message))
    }
}

fn ctx() -> RequestContext {
    RequestContext::new_without_auth("acme".into(), "default".into())
}

async fn node(store: &Arc<Memory>) -> Node {
    let node = NodeBuilder::new("node1").store(store.clone()).build().await;
    let registry = node.service_locator();
    let registry = registry.actor_registry();
    registry.register("order", |_| Order::default()).unwrap();
    registry.register("parcel", |_| Parcel::default()).unwrap();
    registry.register("ledger", |_| Ledger::default()).unwrap();
    node
}

async fn ask(node: &Node, actor: &str, operation: &str, arguments: Value) -> Result<Value, plexspaces_sdk::Failure> {
    let actor = node.service_locator().actor_ref(&ctx(), actor).unwrap();
    let reply = actor.ask(Message::new(operation, &arguments).unwrap(), PATIENCE).await?;
    Ok(reply.json().unwrap())
}

/// The notes of the ledger, once there are so many.
async fn notes(node: &Node, count: usize) -> Vec<Value> {
    for _ in 0..1000 {
        let notes = ask(node, "ledger/main", "notes", json!({})).await.unwrap().as_array().unwrap().clone();
        if notes.len() >= count {
            return notes;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not {count} notes: {:?}", ask(node, "ledger/main", "notes", json!({})).await);
}

#[tokio::test]
async fn a_run_starts_others_and_is_given_their_results() {
    let node = node(&Arc::default()).await;
    let parcels = json!([{"weight": 3, "ms": 40}, {"weight": 0}, {"weight": 5, "ms": 1}]);
    let result = ask(&node, "order/1", "workflow_run", json!({"id": "1", "parcels": parcels})).await.unwrap();
    assert_eq!((&result[0], &result[1][1], &result[2]), (&json!(3), &json!("it weighs nothing"), &json!(5)), "{result}");
    // The same runs again: each is done once.
    let again = ask(&node, "order/2", "workflow_run", json!({"id": "1", "parcels": parcels})).await.unwrap();
    assert_eq!(again, result);
    assert_eq!(notes(&node, 3).await.len(), 3);
    let other = json!({"id": "1", "parcels": [{"weight": 4}]});
    assert_eq!(ask(&node, "order/3", "workflow_run", other).await.unwrap_err().code, Code::Conflict);
    let late = json!({"id": "4", "limit_ms": 10, "parcels": [{"weight": 4, "ms": 60_000}]});
    assert_eq!(ask(&node, "order/4", "workflow_run", late).await.unwrap()[0][0], "deadline_exceeded");
    // One that was given too little time.
    let hasty = json!({"id": "5", "parcels": [{"weight": 4, "ms": 60_000, "within_ms": 30}]});
    let failure = ask(&node, "order/5", "workflow_run", hasty).await.unwrap()[0].clone();
    assert_eq!(failure, json!(["deadline_exceeded", "the run was not done by its deadline"]));
    let told = ask(&node, "ledger/main", "start", json!({})).await;
    assert!(told.as_ref().is_ok_and(|text| text.as_str().unwrap().contains("for workflows")), "{told:?}");
}

#[tokio::test]
async fn who_cancels_a_run_cancels_those_that_it_has_started() {
    let node = node(&Arc::default()).await;
    let order = json!({"id": "1", "parcels": [{"weight": 3, "ms": 60_000}, {"weight": 4, "ms": 60_000}]});
    let cancel = async {
        notes(&node, 2).await;
        ask(&node, "order/1", "workflow_cancel", json!({})).await.unwrap();
    };
    let (result, ()) = tokio::join!(ask(&node, "order/1", "workflow_run", order), cancel);
    assert_eq!(result.unwrap(), "cancelled");
    let mut notes: Vec<String> = notes(&node, 5).await.iter().map(Value::to_string).collect();
    notes.sort_unstable();
    assert_eq!(notes, ["\"order cancelled\"", "\"parcel cancelled\"", "\"parcel cancelled\"", "3", "4"]);
}

#[tokio::test]
async fn a_run_and_those_that_it_has_started_go_on_in_another_node() {
    let store: Arc<Memory> = Arc::default();
    let first = node(&store).await;
    let order = json!({"id": "1", "parcels": [{"weight": 3, "ms": 300}, {"weight": 4, "ms": 1}]});
    let start = async |node: &Node| {
        let message = Message::new("workflow_start", &order).unwrap().with_idempotency_key("order-1");
        node.service_locator().actor_ref(&ctx(), "order/1").unwrap().ask(message, PATIENCE).await.unwrap().json::<Value>().unwrap()
    };
    let started = start(&first).await;
    assert_eq!(started["ended"], false);
    notes(&first, 2).await;
    // It ends in the middle.
    assert!(first.shutdown().await);
    let second = node(&store).await;
    // The registered types are there as soon as somebody names them.
    for actor in ["ledger/main", "parcel/1-0", "order/1"] {
        second.service_locator().actor_ref(&ctx(), actor).unwrap();
    }
    let mut ended = json!({});
    for _ in 0..1000 {
        ended = start(&second).await;
        if ended["ended"] == true {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(ended["result"], json!([3, 4]));
    assert_eq!(notes(&second, 2).await.len(), 2);
}
