//! However much is due at once, and however large it is: a service does it in parts, each of which the store takes and an asker can hold.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use plexspaces_store::{Batch, Error, Limits, Memory, Page, Partition, Range, Store};
use plexspaces_types::{ActorId, Clock, Name};
use serde_json::{Value, json};

use crate::support::{Node, beside, eventually};

/// A store that takes batches of 12 MiB, which is less than others do.
struct Narrow {
    disk: Memory,
    limits: Limits,
}

impl Narrow {
    fn new() -> Arc<Self> {
        let disk = Memory::default();
        let limits = Limits { batch_bytes: 12 << 20, ..*disk.limits() };
        Arc::new(Self { disk, limits })
    }
}

#[async_trait]
impl Store for Narrow {
    fn backend(&self) -> &'static str {
        "narrow"
    }
    fn limits(&self) -> &Limits {
        &self.limits
    }
    async fn get(&self, partition: &Partition, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.disk.get(partition, key).await
    }
    async fn scan(&self, partition: &Partition, range: Range, limit: usize) -> Result<Page, Error> {
        self.disk.scan(partition, range, limit).await
    }
    async fn commit(&self, batch: Batch) -> Result<(), Error> {
        self.limits.check(&batch)?;
        self.disk.commit(batch).await
    }
}

/// What is just small enough for one value or payload.
fn large() -> String {
    "x".repeat((1 << 20) - 100)
}

/// Together they are more than the store takes at once.
const MANY: usize = 16;

#[tokio::test]
async fn leases_of_locks_that_end_by_the_thousand_end() {
    const LOCKS: usize = 10_100;
    let clock = Clock::manual(1_000_000);
    let node = Node::with_clock("locks", Arc::new(Memory::default()), clock.clone());
    for number in 0..LOCKS {
        node.ask("acquire", json!({"key": format!("k{number}"), "ttl_ms": 1000})).await;
    }
    clock.advance(1000);
    let node = Node::with_clock("locks", node.store, clock.clone());
    let last = json!({"key": format!("k{}", LOCKS - 1), "ttl_ms": 60_000});
    let version: usize = node.ask("acquire", last.clone()).await["version"].as_str().unwrap().parse().unwrap();
    assert_eq!(version, LOCKS + 1);
    let partition = Partition::actor(&ActorId::parse(&Name::default_scope(), "default/plexspaces.locks/default").unwrap());
    eventually("all but that one are free", async || {
        node.store.scan(&partition, Range::prefix(b"xl"), 10).await.unwrap().entries.len() == 1
    })
    .await;
    assert_eq!(node.ask("acquire", last).await["version"], Value::Null);
}

#[tokio::test]
async fn messages_that_come_back_at_once_come_back_though_they_are_large() {
    let clock = Clock::manual(1_000_000);
    let node = Node::with_clock("channels", Narrow::new(), clock.clone());
    for number in 0..MANY {
        node.ask("send", json!({"payload": large(), "msg_id": format!("m{number}")})).await;
        node.ask("receive", json!({"visibility_ms": 1000})).await;
    }
    clock.advance(1000);
    let node = Node::with_clock("channels", node.store, clock.clone());
    let mut given = Vec::new();
    while given.len() < MANY {
        let reply = node.ask("receive", json!({"timeout_ms": 10_000})).await;
        assert_eq!(reply["message"]["delivery_count"], json!(2));
        given.push(reply["message"]["msg_id"].as_str().unwrap().to_owned());
    }
    given.sort_unstable_by_key(|id| id[1..].parse::<usize>().unwrap());
    assert_eq!(given, (0..MANY).map(|number| format!("m{number}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn dead_letters_go_back_as_many_at_a_time_as_one_commit_holds() {
    let node = Node::over("channels", Narrow::new());
    for number in 0..MANY {
        let id = format!("m{number}");
        node.ask("send", json!({"payload": large(), "msg_id": id})).await;
        node.ask("receive", json!({})).await;
        node.ask("nack", json!({"msg_id": id, "requeue": false})).await;
    }
    let (mut redriven, mut times) = (0, 0);
    loop {
        let now = node.ask("redrive", json!({})).await["redriven"].as_u64().unwrap() as usize;
        if now == 0 {
            break;
        }
        (redriven, times) = (redriven + now, times + 1);
    }
    assert_eq!(redriven, MANY);
    assert!((2..MANY).contains(&times), "{times}");
    let status = node.ask("status", json!({})).await;
    assert_eq!((status["ready"].clone(), status["dead"].clone()), (json!(MANY), json!(0)));
}

#[tokio::test]
async fn tuples_that_come_back_at_once_come_back_though_they_are_large() {
    let clock = Clock::manual(1_000_000);
    let node = Node::with_clock("tuples", Narrow::new(), clock.clone());
    for number in 0..MANY {
        node.ask("write", json!({"tuple": [number, large()]})).await;
        node.ask("take", json!({"pattern": [number, null], "lease_ms": 1000})).await;
    }
    clock.advance(1000);
    let node = Node::with_clock("tuples", node.store, clock.clone());
    for number in 0..MANY {
        let reply = node.ask("take", json!({"pattern": [number, null], "timeout_ms": 10_000})).await;
        assert_eq!(reply["tuple"][0], json!(number));
    }
}

#[tokio::test]
async fn thousands_of_subscribers_that_wait_are_all_told() {
    const SUBSCRIBERS: usize = 10_100;
    let node = Arc::new(Node::named("channels", "news"));
    let next = |number: usize| json!({"subscriber": format!("s{number}"), "timeout_ms": 60_000});
    let waiting: Vec<_> = (0..SUBSCRIBERS).map(|number| beside(&node, "next", next(number))).collect();
    eventually("all wait", async || node.ask("status", json!({})).await["subscribers"].as_u64() == Some(SUBSCRIBERS as u64)).await;
    for number in 1..=2 {
        node.ask("publish", json!({"payload": number})).await;
    }
    for waiter in waiting {
        assert_eq!(waiter.await.unwrap()["message"]["payload"], json!(1));
    }
    assert_eq!(node.ask("next", next(SUBSCRIBERS - 1)).await["message"]["payload"], json!(2));
}

/// All pages of a list together, and how many there are.
async fn pages(node: &Node, operation: &str, arguments: Value, items: &str, first: Value) -> (Vec<Value>, usize) {
    let (mut all, mut after, mut count) = (Vec::new(), first, 0);
    loop {
        let mut arguments = arguments.clone();
        arguments["after"] = after;
        let page = node.ask(operation, arguments).await;
        let found = page[items].as_array().unwrap();
        assert!(page.to_string().len() < 6 << 20, "a page of {operation} is {} bytes", page.to_string().len());
        if found.is_empty() {
            return (all, count);
        }
        all.extend(found.iter().cloned());
        (after, count) = (page["next"].clone(), count + 1);
        if after.is_null() {
            return (all, count);
        }
    }
}

const FEW: usize = 6;

#[tokio::test]
async fn pages_of_a_channel_end_early_where_messages_are_large() {
    let node = Node::named("channels", "work");
    for number in 0..FEW {
        let message = json!({"payload": large(), "msg_id": format!("m{number}")});
        node.ask("publish", message.clone()).await;
        node.ask("send", message).await;
        node.ask("receive", json!({})).await;
        node.ask("nack", json!({"msg_id": format!("m{number}"), "requeue": false})).await;
    }
    for (operation, first) in [("tail", json!(0)), ("dead_letters", Value::Null)] {
        let (messages, count) = pages(&node, operation, json!({}), "messages", first).await;
        let ids: Vec<_> = messages.iter().map(|message| message["msg_id"].as_str().unwrap()).collect();
        assert_eq!(ids, ["m0", "m1", "m2", "m3", "m4", "m5"], "{operation}");
        assert_eq!(count, 2, "{operation}");
    }
}

#[tokio::test]
async fn pages_and_changes_of_pairs_end_early_where_values_are_large() {
    let node = Node::new("kv");
    for number in (0..FEW).rev() {
        node.ask("put", json!({"key": format!("k{number}"), "value": large()})).await;
    }
    node.ask("put", json!({"key": "k3", "value": "small"})).await;
    node.ask("delete", json!({"key": "k4"})).await;
    let keys = |pairs: &[Value]| pairs.iter().map(|pair| pair["key"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let (pairs, count) = pages(&node, "list", json!({}), "pairs", Value::Null).await;
    assert_eq!((keys(&pairs), count), (["k0", "k1", "k2", "k3", "k5"].map(str::to_owned).to_vec(), 1));
    node.ask("put", json!({"key": "k6", "value": large()})).await;
    let (pairs, count) = pages(&node, "list", json!({}), "pairs", Value::Null).await;
    assert_eq!((pairs.len(), count), (FEW, 2));
    // Changes are told up to a version, and those after it next time.
    let first = node.ask("watch", json!({"after": 0})).await;
    assert_eq!(keys(first["changes"].as_array().unwrap()), ["k0", "k1", "k2", "k3", "k4", "k5"]);
    assert_eq!((&first["reset"], &first["version"], &first["changes"][4]["value"]), (&json!(false), &json!(8), &Value::Null));
    let second = node.ask("watch", json!({"after": first["version"]})).await;
    assert_eq!((keys(second["changes"].as_array().unwrap()), &second["version"]), (vec!["k6".to_owned()], &json!(9)));
    // One who was away for too long is given the first of all pairs, and where the list of the others begins.
    let node = node.restart();
    let all = node.ask("watch", json!({"after": 0})).await;
    assert_eq!(keys(all["changes"].as_array().unwrap()), ["k0", "k1", "k2", "k3", "k5"]);
    assert_eq!((&all["reset"], &all["version"]), (&json!(true), &json!(9)));
    let (others, _) = pages(&node, "list", json!({}), "pairs", all["next"].clone()).await;
    assert_eq!(keys(&others), ["k6"]);
}

#[tokio::test]
async fn what_could_not_be_read_again_is_refused() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let channel = Node::named("channels", "work");
    let registry = Node::new("registry");
    for document in [nested(125), nested(10_000), "1e400".to_owned(), "{\"a\": [-1e999]}".to_owned()] {
        for (node, operation, field, rest) in [
            (&channel, "send", "payload", ""),
            (&channel, "publish", "payload", ""),
            (&registry, "register", "metadata", r#","name":"n","target":"t""#),
        ] {
            let failure = node.ask_text(operation, format!(r#"{{"{field}":{document}{rest}}}"#), None).await.unwrap_err();
            assert_eq!((failure.code.name(), failure.field.as_deref()), ("invalid_argument", Some(field)), "{failure}");
        }
    }
    assert_eq!(channel.ask("status", json!({})).await["ready"], json!(0));
    for document in [nested(124), "1e300".to_owned(), "12345678901234567890".to_owned()] {
        channel.ask_text("send", format!(r#"{{"payload":{document}}}"#), None).await.unwrap();
        let message = channel.ask("receive", json!({})).await["message"].clone();
        assert_eq!(message["payload"], serde_json::from_str::<Value>(&document).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_full_refuses_senders_until_there_is_room() {
    const QUEUED: u64 = 100_000;
    let node = Arc::new(Node::named("channels", "work"));
    let senders = (0..100).map(|sender| {
        let node = node.clone();
        tokio::spawn(async move {
            for number in 0..QUEUED / 100 {
                // What is delayed is there too.
                node.ask("send", json!({"payload": 1, "msg_id": format!("{sender}-{number}"), "delay_ms": 86_400_000 * (number % 2)}))
                    .await;
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
    let (code, _, message) = node.refused("send", json!({"payload": 1})).await;
    assert_eq!((code, message.as_str()), ("overloaded", r#"the queue of channel "work" is full: 100000 messages wait"#));
    node.ask("send", json!({"payload": 1, "msg_id": "0-0"})).await;
    node.ask("publish", json!({"payload": 1})).await;
    let message = node.ask("receive", json!({})).await["message"].clone();
    assert_eq!(node.refused("send", json!({"payload": 1})).await.0, "overloaded", "it is in hand and may come back");
    node.ask("ack", json!({"msg_id": message["msg_id"]})).await;
    node.ask("send", json!({"payload": 1})).await;
    assert_eq!(node.refused("send", json!({"payload": 1})).await.0, "overloaded");
}
