//! What every place of topics promises to those who listen already, also one that keeps nothing for those who come later.

use serde_json::{Value, json};

use crate::support::{Node, Place, beside};

suite!(topics, "topic-"; memory, sqlite, nats, redis, udp: (
    a_subscriber_is_given_what_comes_from_then_on_once_and_in_order,
    subscribers_that_wait_are_all_told,
    a_topic_is_read_by_position_from_now_on,
    next_asked_again_under_its_key_is_the_same_message,
    a_message_that_is_published_again_is_given_once,
    topics_of_other_names_and_namespaces_are_others,
    what_cannot_be_published_or_read_is_refused_precisely,
));

async fn publish(node: &Node, number: u64) {
    node.ask("publish", json!({"payload": {"n": number}, "msg_type": "news"})).await;
}

async fn next(node: &Node, subscriber: &str) -> Option<u64> {
    node.ask("next", json!({"subscriber": subscriber})).await["message"]["payload"]["n"].as_u64()
}

async fn a_subscriber_is_given_what_comes_from_then_on_once_and_in_order(place: &Place) {
    let node = place.node().await;
    publish(&node, 0).await;
    for subscriber in ["a", "b"] {
        node.ask("subscribe", json!({"subscriber": subscriber, "from": "latest"})).await;
    }
    for number in 1..=20 {
        publish(&node, number).await;
    }
    node.ask("subscribe", json!({"subscriber": "a", "from": "latest"})).await;
    for number in 1..=20 {
        let message = node.ask("next", json!({"subscriber": "a"})).await["message"].clone();
        assert_eq!((message["payload"].clone(), message["msg_type"].clone()), (json!({"n": number}), json!("news")));
        assert_eq!(message["channel"], json!(place.channel));
        assert!(message["timestamp"].as_u64().unwrap() > 1_600_000_000_000);
    }
    assert_eq!((next(&node, "a").await, next(&node, "b").await), (None, Some(1)));
    assert_eq!(node.status("subscribers").await, 2);
    assert!(node.status("published").await >= 20);
    node.ask("unsubscribe", json!({"subscriber": "b"})).await;
    assert_eq!(node.status("subscribers").await, 1);
}

async fn subscribers_that_wait_are_all_told(place: &Place) {
    let node = place.node().await;
    let after = node.ask("tail", json!({})).await["next"].clone();
    for subscriber in ["a", "b", "c"] {
        node.ask("subscribe", json!({"subscriber": subscriber})).await;
    }
    let waiting = ["a", "b", "c"].map(|name| beside(&node, "next", json!({"subscriber": name, "timeout_ms": 60_000})));
    let tailing = beside(&node, "tail", json!({"after": after, "timeout_ms": 60_000}));
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    node.ask("publish", json!({"payload": "news"})).await;
    for waiter in waiting {
        assert_eq!(waiter.await.unwrap()["message"]["payload"], json!("news"));
    }
    assert_eq!(tailing.await.unwrap()["messages"][0]["payload"], json!("news"));
    assert_eq!(node.ask("next", json!({"subscriber": "a", "timeout_ms": 150})).await["message"], Value::Null);
}

async fn a_topic_is_read_by_position_from_now_on(place: &Place) {
    let node = place.node().await;
    let begin = node.ask("tail", json!({})).await;
    assert_eq!(begin["messages"], json!([]));
    for number in 1..=5 {
        publish(&node, number).await;
    }
    let numbers = |tail: &Value| -> Vec<u64> {
        tail["messages"].as_array().unwrap().iter().map(|message| message["payload"]["n"].as_u64().unwrap()).collect()
    };
    let first = node.ask("tail", json!({"after": begin["next"], "limit": 2})).await;
    assert_eq!(numbers(&first), [1, 2]);
    assert_eq!(first["messages"][1]["position"], first["next"]);
    let rest = node.ask("tail", json!({"after": first["next"]})).await;
    assert_eq!(numbers(&rest), [3, 4, 5]);
    assert_eq!(numbers(&node.ask("tail", json!({"after": 0})).await), [1, 2, 3, 4, 5]);
    let waiting = beside(&node, "tail", json!({"after": rest["next"], "timeout_ms": 60_000}));
    publish(&node, 6).await;
    assert_eq!(numbers(&waiting.await.unwrap()), [6]);
}

async fn next_asked_again_under_its_key_is_the_same_message(place: &Place) {
    let node = place.node().await;
    node.ask("subscribe", json!({"subscriber": "s"})).await;
    publish(&node, 1).await;
    publish(&node, 2).await;
    let keyed = async |key: &str| {
        let reply = node.keyed("next", json!({"subscriber": "s"}), Some(key)).await.unwrap();
        reply["message"]["payload"]["n"].as_u64()
    };
    assert_eq!((keyed("k1").await, keyed("k1").await), (Some(1), Some(1)));
    assert_eq!((keyed("k2").await, keyed("k2").await), (Some(2), Some(2)));
}

async fn a_message_that_is_published_again_is_given_once(place: &Place) {
    let node = place.node().await;
    node.ask("subscribe", json!({"subscriber": "s"})).await;
    let keyed = async || node.keyed("publish", json!({"payload": {"n": 1}}), Some("the key")).await.unwrap();
    assert_eq!(keyed().await, keyed().await);
    assert_eq!((next(&node, "s").await, next(&node, "s").await), (Some(1), None));
}

async fn topics_of_other_names_and_namespaces_are_others(place: &Place) {
    let node = place.node().await;
    let names = ["tasks:pending", "tasks.pending", "Ünï * > {x}"].map(|name| node.other(&format!("{name} {}", place.channel)));
    let mut elsewhere = names[0].clone();
    elsewhere.ctx.namespace = plexspaces_types::Name::new("namespace", "elsewhere").unwrap();
    for node in names.iter().chain([&elsewhere]) {
        node.ask("subscribe", json!({"subscriber": "s"})).await;
    }
    for (number, node) in (1..).zip(&names) {
        publish(node, number).await;
    }
    for (number, node) in (1..).zip(&names) {
        assert_eq!((next(node, "s").await, next(node, "s").await), (Some(number), None));
    }
    assert_eq!(next(&elsewhere, "s").await, None);
}

async fn what_cannot_be_published_or_read_is_refused_precisely(place: &Place) {
    let node = place.node().await;
    let field = async |operation: &str, arguments: Value| {
        let (code, field, _) = node.refused(operation, arguments).await;
        (code, field.unwrap_or_default())
    };
    assert_eq!(field("publish", json!({"payload": "x".repeat(1 << 20)})).await, ("payload_too_large", "payload".to_owned()));
    assert_eq!(field("publish", json!({"payload": 1, "delay_ms": 5})).await, ("invalid_argument", "delay_ms".to_owned()));
    assert_eq!(field("next", json!({})).await, ("invalid_argument", "subscriber".to_owned()));
    assert_eq!(
        field("next", json!({"subscriber": "s", "timeout_ms": 86_400_001_u64})).await,
        ("invalid_argument", "timeout_ms".to_owned())
    );
    assert_eq!(field("tail", json!({"limit": 1001})).await, ("invalid_argument", "limit".to_owned()));
    assert_eq!(field("steal", json!({})).await.0, "unknown_operation");
}
