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
use scripts::{Node, PATIENCE, Scripts, ctx, durable, name, until};
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

async fn node(store: &Arc<Memory>, broker: &Arc<impl Broker>, default: Option<&str>, channels: &[(&str, &str)]) -> Node {
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

#[tokio::test]
async fn a_channel_in_memory_is_selected_by_name_and_ends_with_its_node() {
    let (store, broker) = (Arc::new(Memory::new()), Arc::new(Stubborn::default()));
    let channels = [("quick", "memory"), ("kept", "store")];
    let before = node(&store, &broker, Some("mq"), &channels).await;
    let ready = async |node: &Node, channel: &str| node.service("channels", channel, "status", json!({})).await["ready"].as_u64().unwrap();
    // A durable actor's message is there once.
    before.ask("script/main", "run", json!({"steps": [send("quick", "m1"), send("kept", "m1")]})).await.unwrap();
    for channel in ["quick", "kept"] {
        until("the message is there", async || ready(&before, channel).await == 1).await;
    }
    let quick = before.service("channels", "quick", "receive", json!({})).await;
    assert_eq!((&quick["message"]["msg_id"], &quick["message"]["channel"]), (&json!("m1"), &json!("quick")));
    let refused = async |service: &str| {
        let request = Request { operation: "status".to_owned(), payload: Payload::from_value(&json!({})), idempotency_key: None };
        before.runtime.ask_service(&ctx(), service, "quick", request).await.unwrap_err().code
    };
    assert_eq!(refused("channels.memory").await, Code::NotFound, "there is no second way to a channel");
    assert!(before.runtime.shutdown(PATIENCE).await);
    let after = node(&store, &broker, Some("mq"), &channels).await;
    assert_eq!((ready(&after, "quick").await, ready(&after, "kept").await), (0, 1));
    assert_eq!(after.service("channels", "quick", "status", json!({})).await["in_flight"], json!(0));
    assert_eq!(broker.heard(), Vec::<String>::new());
}

#[tokio::test]
async fn channels_are_listed_with_what_they_are_and_where() {
    let (store, broker) = (Arc::new(Memory::new()), Arc::new(Stubborn::default()));
    let channels = [("far", "mq"), ("news", "process_group"), ("quick", "memory")];
    let lab = node(&store, &broker, None, &channels).await;
    let ask = async |node: &Node, channel: &str, operation: &str, payload: Value| {
        drop(node.service("channels", channel, operation, payload).await)
    };
    let list = async |node: &Node, payload: Value| node.service("channels", "default", "list", payload).await;
    assert_eq!(list(&lab, json!({})).await, json!({"channels": [], "next": null}));
    let given = |number: u64| json!({"payload": number, "msg_id": format!("m{number}")});
    // One that is only looked at is not there.
    ask(&lab, "looked-at", "status", json!({})).await;
    ask(&lab, "looked-at", "receive", json!({})).await;
    for number in 1..=3 {
        ask(&lab, "jobs", "send", given(number)).await;
        ask(&lab, "quick", "publish", given(number)).await;
    }
    ask(&lab, "jobs", "receive", json!({})).await;
    ask(&lab, "jobs", "send", json!({"payload": 1, "delay_ms": 60_000})).await;
    ask(&lab, "quick", "send", given(1)).await;
    ask(&lab, "news", "publish", given(1)).await;
    ask(&lab, "waiting", "next", json!({"subscriber": "s"})).await;
    ask(&lab, "far", "send", given(1)).await;
    // What a durable actor sends counts as well.
    lab.ask("script/main", "run", json!({"steps": [send("by-actor", "m1")]})).await.unwrap();
    until("it has arrived", async || lab.service("channels", "by-actor", "status", json!({})).await["ready"] == json!(1)).await;

    let own = |channel: &str, kind: &str, backend: &str, depth: u64, published: u64| json!({"channel": channel, "kind": kind, "backend": backend, "depth": depth, "published": published});
    let expected = |quick: [u64; 2]| {
        vec![
            own("by-actor", "queue", "store", 1, 0),
            json!({"channel": "far", "kind": "queue", "backend": "mq", "error": "the status cannot be read: missing field `ready` at line 1 column 15"}),
            own("jobs", "queue", "store", 4, 0),
            own("news", "topic", "process_group", 0, 0),
            own("quick", "both", "memory", quick[0], quick[1]),
            own("waiting", "topic", "store", 0, 0),
        ]
    };
    let all = list(&lab, json!({})).await;
    assert_eq!(all, json!({"channels": expected([1, 3]), "next": null}));
    // Page by page, on another node too.
    let after = node(&store, &broker, None, &channels).await;
    let (mut pages, mut next) = (Vec::new(), Value::Null);
    loop {
        let page = list(&after, json!({"limit": 2, "after": next})).await;
        pages.extend(page["channels"].as_array().unwrap().clone());
        next = page["next"].clone();
        if next.is_null() {
            break;
        }
    }
    assert_eq!(pages, expected([0, 0]));
    assert_eq!(list(&lab, json!({"prefix": "qu", "limit": 1})).await["channels"][0]["channel"], "quick");
    assert_eq!(list(&lab, json!({"prefix": "qux"})).await["channels"], json!([]));
    let mut elsewhere = ctx();
    elsewhere.tenant = name("other");
    let request = |payload: Value| Request { operation: "list".to_owned(), payload: Payload::from_value(&payload), idempotency_key: None };
    let reply = lab.runtime.ask_service(&elsewhere, "channels", "default", request(json!({}))).await.unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&reply).unwrap()["channels"], json!([]), "a tenant sees its own");
    let refused = lab.runtime.ask_service(&ctx(), "channels", "default", request(json!({"limit": 1001}))).await.unwrap_err();
    assert_eq!(refused.field.as_deref(), Some("limit"));
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
    assert!(before.runtime.shutdown(2 * PATIENCE).await, "what waits for a broker holds nothing up");
    assert!(began.elapsed() < PATIENCE);
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
    assert_eq!(refused.message, "this node has no channel backend \"kafka\", it has store, memory, process_group, mq");
    other.channels = BTreeMap::from([("elsewhere".to_owned(), "mq".to_owned())]);
    lab.runtime.deploy(&other).await.unwrap();
    given("elsewhere").await;
    assert_eq!(broker.heard().len(), 2);
    lab.runtime.undeploy(&other.tenant, &other.namespace, &other.name).await.unwrap();
    assert_eq!(lab.service("channels", "elsewhere", "status", json!({})).await["ready"], json!(1), "it is the node's own again");
}

#[tokio::test]
async fn a_channel_of_several_applications_stays_where_it_is_until_the_last_of_them_goes() {
    let (store, broker) = (Arc::new(Memory::new()), Arc::new(Stubborn::default()));
    let lab = node(&store, &broker, None, &[("shared", "mq")]).await;
    let first = durable(&Scripts::new(1), &[]);
    let mut other = first.clone();
    (other.name, other.types) = (name("other"), Vec::new());
    other.channels = BTreeMap::from([("shared".to_owned(), "mq".to_owned())]);
    lab.runtime.deploy(&other).await.unwrap();
    let send = async |id: &str| drop(lab.service("channels", "shared", "send", json!({"payload": 1, "msg_id": id})).await);
    lab.runtime.undeploy(&first.tenant, &first.namespace, &first.name).await.unwrap();
    send("m1").await;
    assert_eq!(broker.heard(), ["shared send m1"]);
    // The other says where it is from now on.
    other.channels = BTreeMap::from([("shared".to_owned(), "store".to_owned())]);
    lab.runtime.deploy(&other).await.unwrap();
    send("m2").await;
    other.channels = BTreeMap::from([("shared".to_owned(), "mq".to_owned())]);
    lab.runtime.deploy(&other).await.unwrap();
    lab.runtime.undeploy(&other.tenant, &other.namespace, &other.name).await.unwrap();
    send("m3").await;
    assert_eq!(broker.heard().len(), 1);
    assert_eq!(lab.service("channels", "shared", "status", json!({})).await["ready"], json!(2));
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

/// A broker that is far away, and may not take each message at the first time.
#[derive(Default)]
struct Distant {
    fails_at_times: bool,
    /// It answers nobody before so many ask at a time.
    gathers: usize,
    under_way: AtomicUsize,
    most: AtomicUsize,
    asked: AtomicUsize,
    heard: Mutex<Vec<String>>,
}

#[async_trait]
impl Broker for Distant {
    async fn ask(&self, _: &ActorId, request: BrokerRequest<'_>) -> Result<Payload, Failure> {
        let arguments: Value = serde_json::from_slice(request.payload.as_bytes()).unwrap();
        self.most.fetch_max(self.under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let deadline = Instant::now() + PATIENCE;
        while self.most.load(Ordering::SeqCst) < self.gathers && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        if self.fails_at_times && self.asked.fetch_add(1, Ordering::SeqCst).is_multiple_of(7) {
            return Err(Failure::new(Code::Unavailable, "not now"));
        }
        self.heard.lock().unwrap().push(arguments["msg_id"].as_str().unwrap().to_owned());
        Ok(Payload::empty())
    }
}

#[tokio::test]
async fn posts_of_several_senders_go_side_by_side_and_those_of_one_in_their_order() {
    let (store, broker) = (Arc::new(Memory::new()), Arc::new(Distant { fails_at_times: true, gathers: 8, ..Distant::default() }));
    let node = node(&store, &broker, Some("mq"), &[]).await;
    for sender in 0..16 {
        let steps: Vec<Value> = (0..5).map(|number| send("work", &format!("{sender}/{number}"))).collect();
        node.ask(&format!("script/{sender}"), "run", json!({"steps": steps})).await.unwrap();
    }
    until("all have arrived", async || broker.heard.lock().unwrap().len() >= 80).await;
    let heard = broker.heard.lock().unwrap().clone();
    assert_eq!(heard.len(), 80);
    for sender in 0..16 {
        let own: Vec<&String> = heard.iter().filter(|id| id.starts_with(&format!("{sender}/"))).collect();
        assert_eq!(own, (0..5).map(|number| format!("{sender}/{number}")).collect::<Vec<_>>().iter().collect::<Vec<_>>());
    }
    assert!(broker.most.load(Ordering::SeqCst) >= 8, "{:?} at a time", broker.most);
}

#[tokio::test]
async fn posts_that_are_under_way_are_finished_before_the_node_ends() {
    let (store, broker) = (Arc::new(Memory::new()), Arc::new(Distant::default()));
    let node = node(&store, &broker, Some("mq"), &[]).await;
    for sender in 0..3 {
        let steps: Vec<Value> = (0..5).map(|number| send("work", &format!("{sender}/{number}"))).collect();
        node.ask(&format!("script/{sender}"), "run", json!({"steps": steps})).await.unwrap();
    }
    assert!(node.runtime.shutdown(PATIENCE).await);
    assert_eq!(broker.heard.lock().unwrap().len(), 15);
}

#[tokio::test]
async fn posts_of_several_senders_that_wait_for_their_broker_hold_nothing_up() {
    let (store, broker) = (Arc::new(Memory::new()), Arc::new(Stubborn::default()));
    broker.refusals.store(usize::MAX, Ordering::SeqCst);
    let node = node(&store, &broker, Some("mq"), &[]).await;
    for sender in 0..5 {
        node.ask(&format!("script/{sender}"), "run", json!({"steps": [send("work", "m1"), send("work", "m2")]})).await.unwrap();
    }
    let began = Instant::now();
    assert!(node.runtime.shutdown(2 * PATIENCE).await);
    assert!(began.elapsed() < PATIENCE);
    assert_eq!(broker.heard(), Vec::<String>::new());
}

#[tokio::test]
async fn a_channel_that_is_a_process_group_tells_its_members_and_keeps_nothing() {
    let (store, broker) = (Arc::new(Memory::new()), Arc::new(Stubborn::default()));
    let lab = node(&store, &broker, None, &[("news", "process_group")]).await;
    let step = |service: &str, name: &str, op: &str, payload: Value| json!({"do": "service", "service": service, "name": name, "op": op, "payload": payload});
    let run = async |actor: &str, step: Value| lab.ask(&format!("script/{actor}"), "run", json!({"steps": [step]})).await.unwrap();
    let publish = |number: u64| json!({"payload": number, "msg_type": "note", "msg_id": format!("m{number}")});
    assert_eq!(lab.service("channels", "news", "publish", publish(1)).await, json!({"msg_id": "m1"}));
    for actor in ["a", "b"] {
        run(actor, step("channels", "news", "subscribe", json!({}))).await;
    }
    run("c", step("groups", "default", "join", json!({"group": "news", "topics": ["weather"]}))).await;
    lab.service("channels", "news", "subscribe", json!({"subscriber": "default/script/c"})).await;
    let members = lab.service("groups", "default", "members", json!({"group": "news", "topic": "sport"})).await;
    assert_eq!(members["members"], json!(["default/script/a", "default/script/b"]), "c keeps its topics");
    assert_eq!(lab.service("channels", "news", "status", json!({})).await["subscribers"], json!(3));
    lab.service("channels", "news", "publish", publish(2)).await;
    run("b", step("channels", "news", "unsubscribe", json!({}))).await;
    until("b is gone", async || lab.service("channels", "news", "status", json!({})).await["subscribers"] == json!(2)).await;
    run("poster", step("channels", "news", "publish", publish(3))).await;
    lab.notes("script/a", &json!([2, 3])).await;
    lab.notes("script/c", &json!([2, 3])).await;
    lab.notes("script/b", &json!([2])).await;
    // Under one key a message is published once.
    for _ in 0..2 {
        let request =
            Request { operation: "publish".to_owned(), payload: Payload::from_value(&publish(4)), idempotency_key: Some("k".to_owned()) };
        lab.runtime.ask_service(&ctx(), "channels", "news", request).await.unwrap();
    }
    lab.notes("script/a", &json!([2, 3, 4])).await;

    let refused = async |operation: &str, payload: Value| {
        let request = Request { operation: operation.to_owned(), payload: Payload::from_value(&payload), idempotency_key: None };
        let refused = lab.runtime.ask_service(&ctx(), "channels", "news", request).await.unwrap_err();
        (refused.code, refused.field.unwrap_or_default(), refused.message)
    };
    let ack = || json!({"msg_id": "m"});
    let queue = [
        ("send", json!({"payload": 1})),
        ("receive", json!({})),
        ("ack", ack()),
        ("nack", ack()),
        ("dead_letters", json!({})),
        ("redrive", json!({})),
    ];
    for (operation, payload) in queue {
        let (code, field, message) = refused(operation, payload).await;
        assert_eq!((code, field.as_str()), (Code::InvalidArgument, "channel"), "{operation}: {message}");
        assert!(
            message.starts_with(&format!("the channel \"news\" is a process group, which has no queue: {operation} needs")),
            "{message}"
        );
    }
    for (operation, payload) in [("next", json!({"subscriber": "default/script/a"})), ("tail", json!({}))] {
        let (code, field, message) = refused(operation, payload).await;
        assert_eq!((code, field.as_str()), (Code::InvalidArgument, "channel"), "{operation}: {message}");
        assert!(message.contains("keeps nothing"), "{message}");
    }
    assert_eq!(refused("subscribe", json!({"subscriber": "somebody"})).await.1, "subscriber");
    // What a durable actor sends there is a dead letter.
    run("poster", step("channels", "news", "send", json!({"payload": 1, "msg_id": "m"}))).await;
    until("there is a dead letter", async || !lab.runtime.dead_letters(&ctx(), None, 10).await.unwrap().0.is_empty()).await;
    assert_eq!(broker.heard(), Vec::<String>::new());
}

#[tokio::test]
async fn channels_that_no_application_names_can_be_process_groups() {
    let (store, broker) = (Arc::new(Memory::new()), Arc::new(Stubborn::default()));
    let lab = node(&store, &broker, Some("process_group"), &[("jobs", "store")]).await;
    lab.service("channels", "jobs", "send", json!({"payload": 1})).await;
    assert_eq!(lab.service("channels", "jobs", "status", json!({})).await["ready"], json!(1));
    let request = Request { operation: "send".to_owned(), payload: Payload::from_value(&json!({"payload": 1})), idempotency_key: None };
    let refused = lab.runtime.ask_service(&ctx(), "channels", "news", request).await.unwrap_err();
    assert!(refused.message.contains("is a process group"), "{refused}");
}
