//! What native actors were: their turns, past states, forks, and histories that run again with other code.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::Arc;
use std::time::Duration;

use plexspaces_sdk::{
    ActorContext, BehaviorError, Code, Exported, Message, Moment, Node, NodeBuilder, RequestContext, ServiceLocator, Value, call_message,
    gen_server_actor, handler, json, plexspaces_handlers,
};
use serde::{Deserialize, Serialize};

const PATIENCE: Duration = Duration::from_secs(5);

#[gen_server_actor(durable)]
#[derive(Default, Serialize, Deserialize)]
struct Account {
    balance: i64,
}

#[plexspaces_handlers]
impl Account {
    #[handler("deposit")]
    async fn deposit(&mut self, _ctx: &ActorContext, msg: &Message) -> Result<Value, BehaviorError> {
        self.balance += msg.json::<Value>()?["amount"].as_i64().unwrap_or_default();
        Ok(json!({"balance": self.balance}))
    }
}

/// Another version of it.
#[gen_server_actor(durable)]
#[derive(Default, Serialize, Deserialize)]
struct Greedy {
    balance: i64,
}

#[plexspaces_handlers]
impl Greedy {
    #[handler("deposit")]
    async fn deposit(&mut self, _ctx: &ActorContext, msg: &Message) -> Result<Value, BehaviorError> {
        self.balance += msg.json::<Value>()?["amount"].as_i64().unwrap_or_default() - 1;
        Ok(json!({"balance": self.balance}))
    }
}

async fn node() -> (Node, Arc<ServiceLocator>, RequestContext) {
    let node = NodeBuilder::new("node1").build().await;
    let locator = node.service_locator();
    (node, locator, RequestContext::new_without_auth("acme".into(), "default".into()))
}

async fn deposit(actor: &plexspaces_sdk::ActorRef, amount: i64) -> Value {
    let reply = actor.ask(call_message(json!({"op": "deposit", "amount": amount})), PATIENCE).await.unwrap();
    serde_json::from_slice(&reply.payload).unwrap()
}

/// An account with deposits of 1, 2 and 3.
async fn account(locator: &Arc<ServiceLocator>, ctx: &RequestContext) {
    locator.actor_registry().register("account", |_| Account::default()).unwrap();
    let alice = locator.actor_ref(ctx, "account/alice").unwrap();
    for amount in 1..=3 {
        deposit(&alice, amount).await;
    }
}

#[tokio::test]
async fn a_native_actors_past_can_be_shown_and_lived_from() {
    let (_node, locator, ctx) = node().await;
    account(&locator, &ctx).await;
    let history = locator.history(&ctx, "account/alice").unwrap();
    let (turns, more) = history.turns(0, 2).await.unwrap();
    assert_eq!((turns.iter().map(|turn| turn.turn).collect::<Vec<_>>(), more), (vec![1, 2], true));
    assert_eq!(turns[1].begin().unwrap().operation, "deposit");
    let (turns, more) = history.turns(2, 10).await.unwrap();
    assert_eq!((turns.len(), more), (1, false));
    for (moment, turn, balance) in [(Moment::Turn(1), 1, 1), (Moment::Turn(2), 2, 3), (Moment::Last, 3, 6)] {
        assert_eq!(history.state_at(moment).await.unwrap(), (turn, json!({"balance": balance})));
    }
    assert_eq!(history.state_at(Moment::Turn(9)).await.unwrap_err().code, Code::NotFound);

    let fork = history.fork(Moment::Turn(2), "bob").await.unwrap();
    assert_eq!(deposit(&fork, 10).await, json!({"balance": 13}));
    let other = history.fork_within(Moment::Turn(2), 0, Some(&json!({"op": "deposit", "amount": 100})), "carol").await.unwrap();
    assert_eq!(deposit(&other, 0).await, json!({"balance": 103}), "it has lived its third turn with another input");
    assert_eq!(history.fork(Moment::Last, "bob").await.unwrap_err().code, Code::Conflict);
    assert_eq!(history.state_at(Moment::Last).await.unwrap().1, json!({"balance": 6}), "it has noticed nothing");
}

#[tokio::test]
async fn a_native_history_runs_again_with_the_code_that_there_is_now() {
    let (_node, locator, ctx) = node().await;
    account(&locator, &ctx).await;
    let written = serde_json::to_string(&locator.history(&ctx, "account/alice").unwrap().export().await.unwrap()).unwrap();
    let exported: Exported = serde_json::from_str(&written).unwrap();
    let rerun = locator.replay(&exported).await.unwrap();
    assert_eq!((rerun.turns, serde_json::from_slice::<Value>(rerun.state.as_bytes()).unwrap()), (3, json!({"balance": 6})));

    let (_node, locator, _) = node().await;
    assert_eq!(locator.replay(&exported).await.unwrap_err().code, Code::NotFound, "nobody has registered the type");
    locator.actor_registry().register("account", |_| Greedy::default()).unwrap();
    assert_eq!(locator.replay(&exported).await.unwrap_err().code, Code::NonDeterministic);
    let newer = Exported { format: Exported::FORMAT + 1, ..exported };
    assert_eq!(locator.replay(&newer).await.unwrap_err().field.as_deref(), Some("format"));
}
