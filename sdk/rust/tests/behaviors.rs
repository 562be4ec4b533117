//! The other behaviours, registered types and durable state.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::time::Duration;

use plexspaces_sdk::{
    Actor, ActorContext, ActorId, BehaviorError, Code, HandlerKind, Message, NodeBuilder, RequestContext, ServiceLocator, Value,
    call_message, event_actor, fsm_actor, gen_server_actor, handler, json, plexspaces_handlers, query_handler, run_handler, signal_handler,
    spawn_with_facets, workflow_actor,
};
use serde::{Deserialize, Serialize};

const PATIENCE: Duration = Duration::from_secs(5);

#[fsm_actor(states = ["idle", "busy"], initial = "idle")]
struct Gate {
    fsm_state: String,
}

#[plexspaces_handlers]
impl Gate {
    #[handler("go")]
    async fn go(&mut self, _ctx: &ActorContext, msg: &Message) -> Result<String, BehaviorError> {
        self.fsm_state = msg.json::<Value>()?["to"].as_str().unwrap_or_default().to_owned();
        Ok(self.fsm_state.clone())
    }

    #[handler("*")]
    async fn anything(&mut self, _ctx: &ActorContext, msg: &Message) -> Result<Value, BehaviorError> {
        Ok(json!([msg.msg_type, self.fsm_state]))
    }
}

#[workflow_actor]
struct Pipeline {
    progress: u32,
}

#[plexspaces_handlers]
impl Pipeline {
    #[run_handler]
    async fn run(&mut self, _ctx: &ActorContext, _msg: &Message) -> Result<Value, BehaviorError> {
        self.progress = 100;
        Ok(json!("done"))
    }

    #[signal_handler("reset")]
    async fn reset(&mut self, _ctx: &ActorContext, _msg: &Message) -> Result<(), BehaviorError> {
        self.progress = 0;
        Ok(())
    }

    #[query_handler("progress")]
    fn progress(&self, _ctx: &ActorContext, _msg: &Message) -> Result<u32, BehaviorError> {
        Ok(self.progress)
    }
}

#[event_actor]
struct Audit<T: Send + Sync + 'static> {
    seen: Vec<String>,
    _of: std::marker::PhantomData<T>,
}

#[plexspaces_handlers]
impl<T: Send + Sync + 'static> Audit<T> {
    #[handler("seen")]
    async fn seen(&mut self, _ctx: &ActorContext, _msg: &Message) -> Result<Vec<String>, BehaviorError> {
        Ok(self.seen.clone())
    }

    #[handler("count", "call")]
    async fn count(&mut self, _ctx: &ActorContext, _msg: &Message) -> Result<usize, BehaviorError> {
        Ok(self.seen.len())
    }

    #[handler("*", "cast")]
    async fn note(&mut self, _ctx: &ActorContext, msg: &Message) -> Result<(), BehaviorError> {
        self.seen.push(msg.msg_type.clone());
        Ok(())
    }
}

#[gen_server_actor(durable)]
#[derive(Default, Serialize, Deserialize)]
struct Account {
    owner: String,
    balance: i64,
}

#[plexspaces_handlers]
impl Account {
    #[handler("add")]
    async fn add(&mut self, _ctx: &ActorContext, msg: &Message) -> Result<Value, BehaviorError> {
        let request: Value = msg.json()?;
        self.balance += request["amount"].as_i64().unwrap_or_default();
        if self.balance < 0 {
            return Err("overdrawn".into());
        }
        if request["crash"] == true {
            panic!("after the change");
        }
        Ok(json!({"owner": self.owner, "balance": self.balance}))
    }
}

fn ctx() -> RequestContext {
    RequestContext::new_without_auth("acme".into(), "default".into())
}

async fn locator() -> std::sync::Arc<ServiceLocator> {
    NodeBuilder::new("node1").build().await.service_locator()
}

#[tokio::test]
async fn a_machine_is_never_in_a_state_that_it_does_not_declare() {
    let gate = Gate { fsm_state: String::new() };
    let gate = spawn_with_facets(&ctx(), locator().await, ActorId::from("gate"), "default", gate, vec![]).await.unwrap();
    let ask = async |request: Value| gate.ask(call_message(request), PATIENCE).await.map(|reply| reply.json::<Value>().unwrap());
    assert_eq!(ask(json!({"op": "where"})).await.unwrap(), json!(["where", "idle"]));
    assert_eq!(ask(json!({"op": "go", "to": "busy"})).await.unwrap(), "busy");
    let refused = ask(json!({"op": "go", "to": "gone"})).await.unwrap_err();
    assert_eq!(refused.message, "Gate declares no state \"gone\"; it has: idle, busy");
    assert_eq!(ask(json!({})).await.unwrap(), json!(["", "busy"]));
    let wrong = Gate { fsm_state: "nowhere".to_owned() };
    let refused = spawn_with_facets(&ctx(), locator().await, ActorId::from("gate"), "default", wrong, vec![]).await;
    assert!(refused.unwrap_err().message.contains("\"nowhere\""));
}

#[fsm_actor(states = ["shut"], initial = "shut")]
struct Secret {
    fsm_state: String,
}

#[plexspaces_handlers]
impl Secret {
    #[handler("fsm_state")]
    async fn hide(&mut self, _ctx: &ActorContext, _msg: &Message) -> Result<String, BehaviorError> {
        Ok("not told".to_owned())
    }
}

#[tokio::test]
async fn the_state_of_a_machine_can_be_asked_for() {
    let locator = locator().await;
    let gate = Gate { fsm_state: String::new() };
    let gate = spawn_with_facets(&ctx(), locator.clone(), ActorId::from("gate"), "default", gate, vec![]).await.unwrap();
    let state = async || gate.ask(call_message(json!({"op": "fsm_state"})), PATIENCE).await.unwrap().json::<Value>().unwrap();
    assert_eq!(state().await, json!({"state": "idle", "states": ["idle", "busy"]}));
    gate.ask(call_message(json!({"op": "go", "to": "busy"})), PATIENCE).await.unwrap();
    assert_eq!(state().await["state"], "busy");
    // A handler of this name comes first.
    let secret = Secret { fsm_state: String::new() };
    let secret = spawn_with_facets(&ctx(), locator, ActorId::from("secret"), "default", secret, vec![]).await.unwrap();
    let told = secret.ask(call_message(json!({"op": "fsm_state"})), PATIENCE).await.unwrap();
    assert_eq!(told.json::<Value>().unwrap(), "not told");
}

#[test]
fn handlers_of_an_event_actor_are_casts_unless_they_say_call() {
    let kinds = |operations: &[plexspaces_sdk::Operation]| operations.iter().map(|one| (one.name, one.kind)).collect::<Vec<_>>();
    let wanted = [("seen", HandlerKind::Cast), ("count", HandlerKind::Call), ("*", HandlerKind::Cast)];
    assert_eq!(kinds(Audit::<u8>::OPERATIONS), wanted);
    assert_eq!(kinds(Gate::OPERATIONS), [("go", HandlerKind::Call), ("*", HandlerKind::Call)]);
}

#[tokio::test]
async fn a_workflow_runs_takes_signals_and_answers_queries() {
    let pipeline = Pipeline { progress: 0 };
    let id = ActorId::from("pipeline");
    let pipeline = spawn_with_facets(&ctx(), locator().await, id, "default", pipeline, vec![]).await.unwrap();
    let ask = async |operation: &str| {
        let message = Message::new(operation, &json!({})).unwrap();
        pipeline.ask(message, PATIENCE).await.unwrap().json::<Value>().unwrap()
    };
    assert_eq!(ask("workflow_query:progress").await, 0);
    assert_eq!(ask("workflow_run").await, "done");
    assert_eq!(ask("workflow_query:progress").await, 100);
    assert_eq!(ask("workflow_signal:reset").await, Value::Null);
    assert_eq!(ask("workflow_query:progress").await, 0);
    assert_eq!(ask("start").await, "done");
}

#[tokio::test]
async fn events_arrive_in_the_order_of_their_sender() {
    let audit = Audit::<u8> { seen: Vec::new(), _of: std::marker::PhantomData };
    let audit = spawn_with_facets(&ctx(), locator().await, ActorId::from("audit"), "default", audit, vec![]).await.unwrap();
    for event in ["one", "two", "three"] {
        audit.tell(call_message(json!({"action": event}))).await.unwrap();
    }
    let seen = audit.ask(call_message(json!({"op": "seen"})), PATIENCE).await.unwrap();
    assert_eq!(seen.json::<Vec<String>>().unwrap(), ["one", "two", "three"]);
}

#[tokio::test]
async fn an_actor_of_a_registered_type_lives_when_it_is_needed_and_comes_back_after_a_crash() {
    let locator = locator().await;
    let made = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counted = made.clone();
    let registry = locator.actor_registry();
    registry
        .register("account", move |ctx| {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Account { owner: ctx.self_id().to_string(), balance: 0 }
        })
        .unwrap();
    assert_eq!(registry.register("account", |_| Account::default()).unwrap_err().code, Code::Conflict);
    assert_eq!(registry.types(), ["account"]);
    let account = locator.actor_ref(&ctx(), "account/7@node1").unwrap();
    let add = async |amount: i64, crash: bool| {
        let message = call_message(json!({"action": "add", "amount": amount, "crash": crash}));
        account.ask(message, PATIENCE).await.map(|reply| reply.json::<Value>().unwrap())
    };
    assert!(!account.is_live());
    assert_eq!(add(5, false).await.unwrap(), json!({"owner": "default/account/7", "balance": 5}));
    assert_eq!(add(-6, false).await.unwrap_err().message, "overdrawn");
    assert_eq!(add(1, false).await.unwrap()["balance"], 6);
    assert!(add(1, true).await.is_err());
    assert_eq!(add(1, false).await.unwrap()["balance"], 7);
    assert_eq!(made.load(std::sync::atomic::Ordering::Relaxed), 2);
}

/// The account of a later version: it counts cents.
#[gen_server_actor(durable, version = 2)]
#[derive(Default, Serialize, Deserialize)]
struct Purse {
    owner: String,
    cents: i64,
}

#[plexspaces_handlers]
impl Purse {
    #[handler("__MIGRATE__")]
    async fn migrate_state(&mut self, _ctx: &ActorContext, msg: &Message) -> Result<Value, BehaviorError> {
        let old: Value = msg.json()?;
        Ok(json!({"owner": old["owner"], "cents": old["balance"].as_i64().unwrap_or_default() * 100}))
    }

    #[handler("add")]
    async fn add(&mut self, _ctx: &ActorContext, msg: &Message) -> Result<Value, BehaviorError> {
        let request: Value = msg.json()?;
        self.cents += request["amount"].as_i64().unwrap_or_default();
        Ok(json!({"owner": self.owner, "cents": self.cents}))
    }
}

#[tokio::test]
async fn a_state_of_an_earlier_version_of_a_type_is_migrated_once() {
    let store = std::sync::Arc::new(plexspaces_store::Memory::new());
    let node = async || NodeBuilder::new("node1").store(store.clone()).build().await.service_locator();
    let add = |amount: i64| call_message(json!({"op": "add", "amount": amount}));
    let first = node().await;
    first.actor_registry().register("account", |_| Account { owner: "ada".to_owned(), balance: 0 }).unwrap();
    first.actor_ref(&ctx(), "account/7").unwrap().ask(add(3), PATIENCE).await.unwrap();
    for expected in [310, 320] {
        let later = node().await;
        later.actor_registry().register("account", |_| Purse::default()).unwrap();
        let reply = later.actor_ref(&ctx(), "account/7").unwrap().ask(add(10), PATIENCE).await.unwrap();
        assert_eq!(reply.json::<Value>().unwrap(), json!({"owner": "ada", "cents": expected}));
    }
}

#[gen_server_actor]
struct Tally {
    notes: u32,
}

#[plexspaces_handlers]
impl Tally {
    #[handler("get")]
    async fn get(&mut self, _ctx: &ActorContext, _msg: &Message) -> Result<u32, BehaviorError> {
        Ok(self.notes)
    }

    #[handler("note", "cast")]
    async fn note(&mut self, _ctx: &ActorContext, _msg: &Message) -> Result<(), BehaviorError> {
        self.notes += 1;
        Ok(())
    }
}

#[tokio::test]
async fn a_server_answers_by_operation_and_refuses_what_it_does_not_handle() {
    let tally = spawn_with_facets(&ctx(), locator().await, ActorId::from("tally"), "default", Tally { notes: 0 }, vec![]).await.unwrap();
    let ask = async |message: Message| tally.ask(message, PATIENCE).await.map(|reply| reply.json::<Value>().unwrap());
    // The operation is the message's type, or what its payload says.
    for message in [Message::new("get", &json!({})).unwrap(), call_message(json!({"op": "get"})), call_message(json!({"action": "get"}))] {
        assert_eq!(ask(message).await.unwrap(), 0);
    }
    tally.tell(call_message(json!({"op": "note"}))).await.unwrap();
    assert_eq!(ask(call_message(json!({"op": "note"}))).await.unwrap(), Value::Null, "who asks for what has no answer gets none");
    let unknown = ask(call_message(json!({"op": "forget"}))).await.unwrap_err();
    assert_eq!(unknown.code, Code::UnknownOperation);
    assert_eq!(ask(call_message(json!({"op": "get"}))).await.unwrap(), 2, "what was refused has cost nothing");
}

#[event_actor]
struct Slow {
    gate: std::sync::Arc<tokio::sync::Semaphore>,
    seen: std::sync::Arc<std::sync::atomic::AtomicU32>,
}

#[plexspaces_handlers]
impl Slow {
    #[handler("*")]
    async fn note(&mut self, _ctx: &ActorContext, _msg: &Message) -> Result<(), BehaviorError> {
        self.gate.acquire().await.unwrap().forget();
        self.seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Ok(())
    }
}

#[tokio::test]
async fn who_tells_an_event_actor_does_not_wait_for_it() {
    let (gate, seen) = (std::sync::Arc::new(tokio::sync::Semaphore::new(0)), std::sync::Arc::<std::sync::atomic::AtomicU32>::default());
    let slow = Slow { gate: gate.clone(), seen: seen.clone() };
    let slow = spawn_with_facets(&ctx(), locator().await, ActorId::from("slow"), "default", slow, vec![]).await.unwrap();
    for _ in 0..3 {
        slow.tell(call_message(json!({"op": "happened"}))).await.unwrap();
    }
    assert_eq!(seen.load(std::sync::atomic::Ordering::SeqCst), 0);
    gate.add_permits(3);
    while seen.load(std::sync::atomic::Ordering::SeqCst) < 3 {
        tokio::task::yield_now().await;
    }
}
