//! What is followed: server-sent events, and streams over gRPC.

use std::time::Duration;

use futures::StreamExt as _;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use plexspaces_actor as actor;
use plexspaces_types::{Name, Payload, RequestContext};
use serde_json::{Value, json};

use crate::services::{query, send};
use crate::support::Node;

/// An event stream.
struct Events {
    body: Incoming,
    text: String,
}

impl Events {
    async fn open(node: &Node, path: &str, last_event_id: Option<&str>) -> Self {
        let mut request = Request::get(format!("{}/api/v1{path}", node.url()));
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = node.http.request(request.body(Full::default()).unwrap()).await.unwrap();
        assert_eq!((response.status().as_u16(), &response.headers()["content-type"]), (200, &"text/event-stream".parse().unwrap()));
        Self { body: response.into_body(), text: String::new() }
    }

    /// The next event's id and data; `None` at the end.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let line = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned());
                let found = (line("id:").unwrap_or_default(), line("data:"));
                self.text = rest.to_owned();
                let data = found.1.map_or(Value::Null, |data| serde_json::from_str(&data).unwrap());
                return Some((found.0, data));
            }
            let frame = tokio::time::timeout(Duration::from_secs(60), self.body.frame()).await.unwrap()?.unwrap();
            self.text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
    }

    /// The payload of the next message, with its id.
    async fn payload(&mut self) -> (String, Value) {
        let (id, data) = self.next().await.unwrap();
        (id, data["payload"].clone())
    }
}

async fn publish(node: &Node, payload: u64) {
    assert_eq!(send(node, "POST", "/channels/news:publish", json!({"payload": payload})).await.status, 200);
}

#[tokio::test]
async fn a_subscription_goes_on_where_it_stopped() {
    let node = Node::start().await;
    publish(&node, 0).await;
    let mut first = Events::open(&node, "/channels/news/subscribe", None).await;
    let (start, nothing) = first.next().await.unwrap();
    assert_eq!((start.as_str(), nothing), ("1", Value::Null), "it begins after what is there, and says so");
    for payload in 1..=3 {
        publish(&node, payload).await;
    }
    assert_eq!(first.payload().await, ("2".to_owned(), json!(1)));
    let (id, last) = first.payload().await;
    assert_eq!(last, json!(2));
    drop(first);
    publish(&node, 4).await;
    // A browser that comes back sends the address that it began with.
    let mut again = Events::open(&node, "/channels/news/subscribe?after=0", Some(&id)).await;
    for expected in 3..=4 {
        assert_eq!(again.payload().await.1, json!(expected));
    }
    publish(&node, 5).await;
    assert_eq!(again.payload().await.1, json!(5));
    let wrong = node.send("GET", "/api/v1/channels/news/subscribe", &[("last-event-id", "x")], "").await;
    assert_eq!((wrong.reason().as_str(), wrong.field().as_str()), ("invalid_argument", "Last-Event-ID"));

    let client = node.client().await;
    let all = client.follow("ChannelService.SubscribeChannel", json!({"channel": "news", "after": 0})).await.unwrap();
    let payloads: Vec<_> = all.take(6).map(|message| message.unwrap()["payload"].clone()).collect().await;
    assert_eq!(payloads, [0, 1, 2, 3, 4, 5].map(|payload| json!(payload)));
}

#[tokio::test]
async fn subscriptions_end_when_the_node_stops() {
    let node = Node::start().await;
    let mut events = Events::open(&node, "/channels/news/subscribe", None).await;
    events.next().await.unwrap();
    let client = node.client().await;
    let messages = client.follow("KvService.WatchPairs", json!({})).await.unwrap();
    node.services.shutdown.cancel();
    assert!(events.next().await.is_none());
    assert_eq!(messages.count().await, 0);
}

#[tokio::test]
async fn a_watch_sees_each_tuple_that_stays() {
    let node = Node::start().await;
    for tuple in [json!(["seen", 1]), json!(["other", 1])] {
        send(&node, "POST", "/tuples", json!({"tuple": tuple})).await;
    }
    let path = format!("/tuples:watch?pattern={}", query(&json!(["seen", {"$gt": 0}])));
    let mut events = Events::open(&node, &path, None).await;
    let (id, first) = events.next().await.unwrap();
    assert_eq!((first["tuple"].clone(), first["position"].to_string()), (json!(["seen", 1]), id));
    for number in [0, 2, 3] {
        send(&node, "POST", "/tuples", json!({"tuple": ["seen", number]})).await;
    }
    let mut last = String::new();
    for number in [2, 3] {
        let (id, data) = events.next().await.unwrap();
        assert_eq!(data["tuple"], json!(["seen", number]));
        last = id;
    }
    send(&node, "POST", "/tuples", json!({"tuple": ["seen", 4]})).await;
    let mut again = Events::open(&node, &path, Some(&last)).await;
    assert_eq!(again.next().await.unwrap().1["tuple"], json!(["seen", 4]));
}

#[tokio::test]
async fn a_watch_sees_each_pair_that_changes() {
    let node = Node::start().await;
    send(&node, "PUT", "/kv/a", json!({"value": "0"})).await;
    let mut events = Events::open(&node, "/kv:watch?prefix=a", None).await;
    assert_eq!(events.next().await.unwrap(), ("1".to_owned(), Value::Null));
    send(&node, "PUT", "/kv/b", json!({"value": "1"})).await;
    send(&node, "PUT", "/kv/a", json!({"value": "1"})).await;
    let (id, change) = events.next().await.unwrap();
    assert_eq!((id.as_str(), &change["changes"]), ("3", &json!([{"key": "a", "value": "1", "version": 3}])));
    node.send("DELETE", "/api/v1/kv/a", &[], "").await;
    assert_eq!(events.next().await.unwrap().1["changes"], json!([{"key": "a"}]));
    let client = node.client().await;
    let all = client.follow("KvService.WatchPairs", json!({"after": 0})).await.unwrap();
    let first = Box::pin(all).next().await.unwrap().unwrap();
    assert_eq!((first["version"].clone(), first["changes"].as_array().unwrap().len()), (json!(4), 2));
}

#[tokio::test]
async fn a_watch_of_more_pairs_than_one_answer_holds_sees_all() {
    const PAIRS: usize = 10;
    let node = Node::start().await;
    let ctx = RequestContext::external(Name::default_scope(), Name::default_scope(), "test");
    let put = async |key: String, value: String| {
        let payload = Payload::from_value(&json!({"key": key, "value": value}));
        let request = actor::Request { operation: "put".to_owned(), payload, idempotency_key: None };
        node.services.runtime.ask_service(&ctx, "kv", "default", request).await.unwrap();
    };
    for number in 0..PAIRS {
        put(format!("big/{number}"), "x".repeat(900_000)).await;
    }
    // So many changes that nobody can be told which they were.
    for _ in 0..10_001 {
        put("other".to_owned(), String::new()).await;
    }
    let client = node.client().await;
    let mut messages = Box::pin(client.follow("KvService.WatchPairs", json!({"prefix": "big/", "after": 1})).await.unwrap());
    let (mut keys, mut places) = (Vec::new(), Vec::new());
    while keys.len() < PAIRS {
        let message = messages.next().await.unwrap().unwrap();
        keys.extend(message["changes"].as_array().unwrap().iter().map(|pair| pair["key"].as_str().unwrap().to_owned()));
        places.push((message["reset"] == json!(true), message["version"].as_u64().unwrap()));
    }
    assert_eq!(keys, (0..PAIRS).map(|number| format!("big/{number}")).collect::<Vec<_>>());
    assert_eq!(places, [(true, 1), (false, 1), (false, 10_011)]);
    // It goes on where the last of them ends.
    put("big/0".to_owned(), "small".to_owned()).await;
    let message = messages.next().await.unwrap().unwrap();
    assert_eq!(message["changes"], json!([{"key": "big/0", "value": "small", "version": 10_012}]));
}
