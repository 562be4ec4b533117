//! Channels.

use std::sync::Arc;

use plexspaces_store::Memory;
use plexspaces_types::Clock;
use serde_json::{Value, json};

use crate::support::{Node, beside, eventually};

fn channel() -> Node {
    Node::named("channels", "work")
}

async fn send(node: &Node, number: u64) -> Value {
    node.ask("send", json!({"payload": {"n": number}, "msg_type": "job"})).await["msg_id"].clone()
}

async fn receive(node: &Node) -> Value {
    node.ask("receive", json!({})).await["message"].clone()
}

#[tokio::test]
async fn each_message_goes_to_one_consumer_in_order() {
    let node = channel();
    let first = send(&node, 1).await;
    send(&node, 2).await;
    let message = receive(&node).await;
    assert_eq!((message["msg_id"].clone(), message["payload"].clone()), (first, json!({"n": 1})));
    assert_eq!((message["msg_type"].clone(), message["channel"].clone()), (json!("job"), json!("work")));
    assert_eq!(message["delivery_count"], json!(1));
    assert_eq!(receive(&node).await["payload"]["n"], json!(2));
    assert_eq!(receive(&node).await, Value::Null);
    assert_eq!(node.ask("status", json!({})).await["in_flight"], json!(2));
    node.ask("ack", json!({"msg_id": message["msg_id"]})).await;
    node.ask("ack", json!({"msg_id": message["msg_id"]})).await;
    assert_eq!(node.ask("status", json!({})).await["in_flight"], json!(1));
}

#[tokio::test]
async fn what_is_not_acknowledged_in_time_is_given_out_again() {
    let node = channel();
    send(&node, 1).await;
    let message = node.ask("receive", json!({"visibility_ms": 30})).await["message"].clone();
    let again = node.ask("receive", json!({"timeout_ms": 60_000})).await["message"].clone();
    assert_eq!((again["msg_id"].clone(), again["delivery_count"].clone()), (message["msg_id"].clone(), json!(2)));
}

#[tokio::test]
async fn a_receipt_is_of_one_delivery_and_no_longer() {
    let node = channel();
    send(&node, 1).await;
    let late = node.ask("receive", json!({"visibility_ms": 30})).await["message"].clone();
    let again = node.ask("receive", json!({"timeout_ms": 60_000})).await["message"].clone();
    assert_ne!(late["receipt"], again["receipt"]);
    for operation in ["ack", "nack"] {
        let (code, field, _) = node.refused(operation, json!({"msg_id": late["msg_id"], "receipt": late["receipt"]})).await;
        assert_eq!((code, field.as_deref()), ("conflict", Some("receipt")), "{operation}");
    }
    assert_eq!(node.ask("status", json!({})).await["in_flight"], json!(1));
    let node = node.restart();
    node.ask("nack", json!({"msg_id": again["msg_id"], "receipt": again["receipt"]})).await;
    let (code, field, _) = node.refused("ack", json!({"msg_id": again["msg_id"], "receipt": again["receipt"]})).await;
    assert_eq!((code, field.as_deref()), ("conflict", Some("receipt")), "it was given back");
    // Who waits for a message gets a receipt too. One without is whoever's, as it was.
    let third = receive(&node).await;
    node.ask("ack", json!({"msg_id": third["msg_id"], "receipt": third["receipt"]})).await;
    node.ask("ack", json!({"msg_id": third["msg_id"], "receipt": third["receipt"]})).await;
    send(&node, 2).await;
    let other = receive(&node).await;
    node.ask("ack", json!({"msg_id": other["msg_id"]})).await;
    assert_eq!(node.ask("status", json!({})).await["in_flight"], json!(0));
}

#[tokio::test]
async fn what_is_in_hand_outlives_the_node() {
    let node = channel();
    send(&node, 1).await;
    send(&node, 2).await;
    let message = receive(&node).await;
    let node = node.restart();
    assert_eq!(receive(&node).await["payload"]["n"], json!(2), "the first is still hidden");
    node.ask("nack", json!({"msg_id": message["msg_id"]})).await;
    let again = receive(&node).await;
    assert_eq!((again["payload"]["n"].clone(), again["delivery_count"].clone()), (json!(1), json!(2)));
}

#[tokio::test]
async fn what_is_hidden_until_no_node_is_there_is_given_to_the_first_who_asks() {
    let clock = Clock::manual(1_000_000);
    let node = Node::with_clock("channels", Arc::new(Memory::default()), clock.clone());
    send(&node, 1).await;
    node.ask("receive", json!({"visibility_ms": 50})).await;
    clock.advance(60);
    let node = Node::with_clock("channels", node.store, clock);
    assert_eq!(receive(&node).await["delivery_count"], json!(2));
}

#[tokio::test]
async fn a_message_that_is_refused_is_given_again_or_is_a_dead_letter() {
    let node = channel();
    for number in 1..=3 {
        send(&node, number).await;
    }
    let (first, second) = (receive(&node).await, receive(&node).await);
    node.ask("nack", json!({"msg_id": first["msg_id"]})).await;
    node.ask("nack", json!({"msg_id": second["msg_id"], "requeue": false})).await;
    assert_eq!(receive(&node).await["payload"]["n"], json!(1), "it comes before the third again");
    let dead = node.ask("dead_letters", json!({})).await;
    assert_eq!((dead["messages"][0]["payload"]["n"].clone(), dead["next"].clone()), (json!(2), Value::Null));
    let node = node.restart();
    assert_eq!(node.ask("redrive", json!({})).await, json!({"redriven": 1}));
    let back = receive(&node).await;
    assert_eq!((back["payload"]["n"].clone(), back["delivery_count"].clone()), (json!(2), json!(1)));
    let (code, field, _) = node.refused("ack", json!({"msg_id": send(&node, 9).await})).await;
    assert_eq!((code, field.as_deref()), ("conflict", Some("msg_id")));
}

#[tokio::test]
async fn a_dead_letter_whose_message_waits_again_is_not_sent_again() {
    let node = channel();
    let send = async || drop(node.ask("send", json!({"payload": 1, "msg_id": "m"})).await);
    send().await;
    receive(&node).await;
    node.ask("nack", json!({"msg_id": "m", "requeue": false})).await;
    send().await;
    assert_eq!(node.ask("redrive", json!({})).await, json!({"redriven": 0}));
    assert_eq!(receive(&node).await["msg_id"], json!("m"));
    node.ask("ack", json!({"msg_id": "m"})).await;
    assert_eq!(receive(&node).await, Value::Null, "it was there once");
    assert_eq!(node.ask("redrive", json!({})).await, json!({"redriven": 1}));
}

#[tokio::test]
async fn a_message_that_fails_too_often_is_a_dead_letter() {
    let node = channel();
    send(&node, 1).await;
    for _ in 0..10 {
        let message = receive(&node).await;
        node.ask("nack", json!({"msg_id": message["msg_id"]})).await;
    }
    assert_eq!(receive(&node).await, Value::Null);
    assert_eq!(node.ask("status", json!({})).await["dead"], json!(1));
}

#[tokio::test]
async fn a_delayed_message_comes_later() {
    let node = channel();
    node.ask("send", json!({"payload": 1, "delay_ms": 2000})).await;
    send(&node, 2).await;
    assert_eq!(receive(&node).await["payload"]["n"], json!(2));
    assert_eq!(receive(&node).await, Value::Null);
    assert_eq!(node.ask("receive", json!({"timeout_ms": 60_000})).await["message"]["payload"], json!(1));
}

#[tokio::test]
async fn a_message_with_an_id_that_waits_is_not_sent_again() {
    let node = channel();
    for _ in 0..2 {
        node.ask("send", json!({"payload": 1, "msg_id": "once"})).await;
    }
    assert_eq!(node.ask("status", json!({})).await["ready"], json!(1));
}

#[tokio::test]
async fn who_waits_for_a_message_is_given_the_next() {
    let node = Arc::new(channel());
    let waiting = beside(&node, "receive", json!({"timeout_ms": 60_000}));
    let sent = send(&node, 7).await;
    assert_eq!(waiting.await.unwrap()["message"]["msg_id"], sent);
    assert_eq!(node.ask("receive", json!({"timeout_ms": 20})).await["message"], Value::Null);
}

#[tokio::test]
async fn each_subscriber_is_given_each_message_once_from_its_place_on() {
    let node = channel();
    let publish = async |node: &Node, number: u64| drop(node.ask("publish", json!({"payload": {"n": number}})).await);
    let next = async |node: &Node, subscriber: &str| {
        let reply = node.ask("next", json!({"subscriber": subscriber})).await;
        reply["message"]["payload"]["n"].as_u64()
    };
    publish(&node, 1).await;
    node.ask("subscribe", json!({"subscriber": "late", "from": "latest"})).await;
    publish(&node, 2).await;
    assert_eq!((next(&node, "early").await, next(&node, "early").await, next(&node, "early").await), (Some(1), Some(2), None));
    assert_eq!((next(&node, "late").await, next(&node, "late").await), (Some(2), None));
    let node = node.restart();
    publish(&node, 3).await;
    assert_eq!((next(&node, "early").await, next(&node, "late").await), (Some(3), Some(3)), "a place outlives the node");
    assert_eq!(receive(&node).await, Value::Null, "the queue knows nothing of the topic");
    node.ask("unsubscribe", json!({"subscriber": "late"})).await;
    assert_eq!(node.ask("status", json!({})).await["subscribers"], json!(1));
}

#[tokio::test]
async fn subscribers_that_wait_are_all_told() {
    let node = Arc::new(channel());
    let waiting: Vec<_> =
        ["a", "b", "c"].iter().map(|name| beside(&node, "next", json!({"subscriber": name, "timeout_ms": 60_000}))).collect();
    let tailing = beside(&node, "tail", json!({"after": 0, "timeout_ms": 60_000}));
    node.ask("publish", json!({"payload": "news"})).await;
    for waiter in waiting {
        assert_eq!(waiter.await.unwrap()["message"]["payload"], json!("news"));
    }
    let tail = tailing.await.unwrap();
    assert_eq!((tail["messages"][0]["payload"].clone(), tail["next"].clone()), (json!("news"), json!(1)));
    assert_eq!(node.ask("tail", json!({"after": 0})).await["messages"][0]["position"], json!(1));
}

#[tokio::test]
async fn a_topic_keeps_its_last_messages() {
    let node = channel();
    for number in 0..10_050 {
        node.ask("publish", json!({"payload": number})).await;
    }
    assert_eq!(node.ask("status", json!({})).await["published"], json!(10_000));
    assert_eq!(node.ask("next", json!({"subscriber": "s"})).await["message"]["payload"], json!(50));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_message_is_lost_or_given_twice() {
    let node = Arc::new(channel());
    let consumers = (0..6).map(|_| {
        let node = node.clone();
        tokio::spawn(async move {
            let mut done = Vec::new();
            loop {
                let reply = node.ask("receive", json!({"timeout_ms": 60_000})).await;
                let message = &reply["message"];
                node.ask("ack", json!({"msg_id": message["msg_id"]})).await;
                match message["payload"]["n"].as_u64().unwrap() {
                    0 => return done,
                    number => done.push(number),
                }
            }
        })
    });
    let consumers: Vec<_> = consumers.collect();
    for number in 1..=600 {
        send(&node, number).await;
    }
    for _ in 0..6 {
        send(&node, 0).await;
    }
    let mut done = Vec::new();
    for consumer in consumers {
        done.extend(consumer.await.unwrap());
    }
    done.sort_unstable();
    assert_eq!(done, (1..=600).collect::<Vec<_>>());
    eventually("all is acknowledged", async || node.ask("status", json!({})).await["in_flight"] == json!(0)).await;
}

#[tokio::test]
async fn positions_of_a_topic_rise_though_the_node_is_started_anew() {
    let node = Node::named("channels", "news");
    node.ask("publish", json!({"payload": 1})).await;
    let next = node.ask("tail", json!({"after": 0})).await["next"].clone();
    let node = node.restart();
    node.ask("publish", json!({"payload": 2})).await;
    let tail = node.ask("tail", json!({"after": next})).await;
    assert_eq!(tail["messages"][0]["payload"], json!(2));
    assert!(tail["next"].as_u64() > next.as_u64());
}
