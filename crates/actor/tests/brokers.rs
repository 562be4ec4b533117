//! What the runtime promises of channels that are on a broker, which here is one that fails as it is told. `docs/semantics.md` names these tests.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "support/scripts.rs"]
mod scripts;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use plexspaces_actor::{Broker, BrokerRequest, Brokers, Config, Request, Runtime};
use plexspaces_store::Memory;
use plexspaces_types::{ActorId, Clock, Code, Failure, Payload};
use scripts::{Node, Scripts, ctx, durable, name, until};
use serde_json::{Value, json};

#[derive(Default)]
struct Stubborn {
    /// How many requests it does not answer.
    refusals: AtomicUsize,
    heard: Mutex<Vec<String>>,
}

#[async_trait]
impl Broker for Stubborn {
    async fn ask(&self, channel: &ActorId, request: BrokerRequest<'_>) -> Result<Payload, Failure> {
        let arguments: Value = serde_json::from_slice(request.payload.as_bytes()).unwrap();
        if self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(Failure::new(Code::Unavailable, "not now"));
        }
        if request.operation == "ack" {
            return Err(Failure::new(Code::Conflict, "not given out"));
        }
        if request.operation == "receive" {
            std::future::pending::<()>().await;
        }
        self.heard.lock().unwrap().push(format!("{} {} {}", channel.key, request.operation, arguments["msg_id"].as_str().unwrap_or("-")));
        Ok(Payload::from_value(&json!({"msg_id": arguments["msg_id"]})))
    }
}

impl Stubborn {
    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

async fn node(store: &Arc<Memory>, broker: &Arc<Stubborn>, default: Option<&str>, channels: &[(&str, &str)]) -> Node {
    let code = Scripts::new(1);
    let by_name = BTreeMap::from([("mq".to_owned(), broker.clone() as Arc<dyn Broker>)]);
    let brokers = Brokers { by_name, default: default.map(str::to_owned) };
    let config = Config::new(name("node1"), store.clone(), Clock::system());
    let runtime = Runtime::new(Config { services: plexspaces_coord::services(), brokers, ..config });
    let mut application = durable(&code, &[]);
    application.channels = channels.iter().map(|(channel, backend)| ((*channel).to_owned(), (*backend).to_owned())).collect();
    runtime.deploy(&application).await.unwrap();
    Node { runtime, version: code.version.clone(), handled: code.handled.clone() }
}

fn send(channel: &str, id: &str) -> Value {
    json!({"do": "service", "service": "channels", "name": channel, "op": "send", "payload": {"payload": 1, "msg_id": id}})
}

#[tokio::test]
async fn posts_reach_a_broker_that_fails_in_their_order_and_once() {
    let (store, broker) = (Arc::new(Memory::new()), Arc::new(Stubborn::default()));
    broker.refusals.store(4, Ordering::SeqCst);
    let node = node(&store, &broker, Some("mq"), &[]).await;
    let steps: Vec<Value> = (1..=5).map(|number| send("work", &format!("m{number}"))).collect();
    node.ask("script/main", "run", json!({"steps": steps})).await.unwrap();
    let wanted: Vec<String> = (1..=5).map(|number| format!("work send m{number}")).collect();
    until("all have arrived", async || broker.heard().len() >= 5).await;
    assert_eq!(broker.heard(), wanted);
    assert!(node.runtime.dead_letters(&ctx(), None, 10).await.unwrap().0.is_empty());
}

#[tokio::test]
async fn what_a_broker_has_not_acknowledged_is_sent_after_a_restart() {
    let (store, broker) = (Arc::new(Memory::new()), Arc::new(Stubborn::default()));
    broker.refusals.store(usize::MAX, Ordering::SeqCst);
    let before = node(&store, &broker, Some("mq"), &[]).await;
    before.ask("script/main", "run", json!({"steps": [send("work", "m1"), send("work", "m2")]})).await.unwrap();
    let began = Instant::now();
    assert!(before.runtime.shutdown(Duration::from_secs(10)).await, "what waits for a broker holds nothing up");
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(broker.heard(), Vec::<String>::new());
    broker.refusals.store(0, Ordering::SeqCst);
    let after = node(&store, &broker, Some("mq"), &[]).await;
    after.ask("script/main", "run", json!({"steps": []})).await.unwrap();
    until("both have arrived", async || broker.heard().len() >= 2).await;
    assert_eq!(broker.heard(), ["work send m1", "work send m2"]);
}

#[tokio::test]
async fn what_a_broker_refuses_is_a_dead_letter() {
    let (store, broker) = (Arc::new(Memory::new()), Arc::new(Stubborn::default()));
    let node = node(&store, &broker, Some("mq"), &[]).await;
    let ack = json!({"do": "service", "service": "channels", "name": "work", "op": "ack", "payload": {"msg_id": "m1"}});
    node.ask("script/main", "run", json!({"steps": [ack]})).await.unwrap();
    until("there is a dead letter", async || !node.runtime.dead_letters(&ctx(), None, 10).await.unwrap().0.is_empty()).await;
    let (letters, _) = node.runtime.dead_letters(&ctx(), None, 10).await.unwrap();
    assert_eq!((letters[0].operation.as_str(), letters[0].code.as_str()), ("ack", "conflict"));
}

#[tokio::test]
async fn an_application_says_where_its_channels_are() {
    let (store, broker) = (Arc::new(Memory::new()), Arc::new(Stubborn::default()));
    let lab = node(&store, &broker, None, &[("there", "mq"), ("here", "store")]).await;
    let given = async |channel: &str| drop(lab.service("channels", channel, "send", json!({"payload": 1, "msg_id": "m"})).await);
    for channel in ["there", "here", "elsewhere"] {
        given(channel).await;
    }
    assert_eq!(broker.heard(), ["there send m"]);
    assert_eq!(lab.service("channels", "elsewhere", "status", json!({})).await["ready"], json!(1));

    let mut other = durable(&Scripts::new(1), &[]);
    (other.name, other.types) = (name("other"), Vec::new());
    other.channels = BTreeMap::from([("there".to_owned(), "store".to_owned())]);
    let refused = lab.runtime.deploy(&other).await.unwrap_err();
    assert_eq!((refused.code, refused.field.as_deref()), (Code::Conflict, Some("channels.there")), "{refused}");
    other.channels = BTreeMap::from([("there".to_owned(), "kafka".to_owned())]);
    let refused = lab.runtime.deploy(&other).await.unwrap_err();
    assert_eq!(refused.message, "this node has no channel backend \"kafka\", it has store, mq");
    other.channels = BTreeMap::from([("elsewhere".to_owned(), "mq".to_owned())]);
    lab.runtime.deploy(&other).await.unwrap();
    given("elsewhere").await;
    assert_eq!(broker.heard().len(), 2);
    lab.runtime.undeploy(&other.tenant, &other.namespace, &other.name).await;
    assert_eq!(lab.service("channels", "elsewhere", "status", json!({})).await["ready"], json!(1), "it is the node's own again");
}

#[tokio::test]
async fn a_request_to_a_broker_ends_at_its_deadline() {
    let (store, broker) = (Arc::new(Memory::new()), Arc::new(Stubborn::default()));
    let node = node(&store, &broker, Some("mq"), &[]).await;
    let request = Request { operation: "receive".to_owned(), payload: Payload::from_value(&json!({})), idempotency_key: None };
    let ctx = ctx().with_deadline(Instant::now() + Duration::from_millis(50));
    let refused = node.runtime.ask_service(&ctx, "channels", "work", request).await.unwrap_err();
    assert_eq!(refused.code, Code::DeadlineExceeded);
    until("the broker's client has been let go", async || Arc::strong_count(&broker) == 3).await;
}
