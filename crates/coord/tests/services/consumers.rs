//! Groups of consumers of a topic.

use std::sync::Arc;

use plexspaces_store::{Partition, Range};
use plexspaces_types::{ActorId, Name};
use serde_json::{Value, json};

use crate::support::{Node, beside, eventually};

fn news() -> Node {
    Node::named("channels", "news")
}

async fn publish(node: &Node, number: u64) -> Value {
    node.ask("publish", json!({"payload": number, "msg_id": format!("m{number}")})).await["msg_id"].clone()
}

/// The next message for a consumer of a group.
async fn receive(node: &Node, group: &str) -> Value {
    node.ask("receive", json!({"group": group})).await["message"].clone()
}

async fn ack(node: &Node, group: &str, message: &Value) {
    node.ask("ack", json!({"group": group, "msg_id": message["msg_id"], "receipt": message["receipt"]})).await;
}

async fn count(node: &Node, group: &str, of: &str) -> u64 {
    node.ask("status", json!({"group": group})).await[of].as_u64().unwrap()
}

#[tokio::test]
async fn consumers_of_a_group_share_the_messages_of_a_topic_and_each_group_has_all() {
    let node = news();
    node.ask("subscribe", json!({"subscriber": "late", "from": "latest"})).await;
    for number in 1..=4 {
        publish(&node, number).await;
    }
    node.ask("subscribe", json!({"subscriber": "later", "from": "latest"})).await;
    // Two consumers of one group, one after the other: each has what the other has not.
    let (one, two) = (receive(&node, "g").await, receive(&node, "g").await);
    assert_eq!([&one["payload"], &two["payload"]], [&json!(1), &json!(2)]);
    assert_eq!((&one["channel"], &one["delivery_count"], one["receipt"].is_string()), (&json!("news"), &json!(1), true));
    assert_eq!((count(&node, "g", "in_flight").await, count(&node, "g", "behind").await), (2, 2));
    ack(&node, "g", &two).await;
    ack(&node, "g", &one).await;
    assert_eq!(count(&node, "g", "in_flight").await, 0);
    for group in ["h", "late"] {
        for number in 1..=4 {
            let message = receive(&node, group).await;
            assert_eq!(message["payload"], json!(number), "{group}");
            ack(&node, group, &message).await;
        }
        assert_eq!(receive(&node, group).await, Value::Null);
    }
    assert_eq!(receive(&node, "later").await, Value::Null);
    let node = node.restart();
    publish(&node, 5).await;
    assert_eq!(receive(&node, "g").await["payload"], json!(3), "a place outlives the node");
    assert_eq!((receive(&node, "h").await["payload"].clone(), receive(&node, "later").await["payload"].clone()), (json!(5), json!(5)));
    assert_eq!(node.ask("receive", json!({})).await["message"], Value::Null, "the queue knows nothing of it");
    // A subscriber is a group of one that acknowledges what it is given.
    assert_eq!(node.ask("next", json!({"subscriber": "g"})).await["message"]["payload"], json!(4));
    assert_eq!(receive(&node, "g").await["payload"], json!(5));
}

#[tokio::test]
async fn what_a_consumer_that_is_gone_has_not_acknowledged_another_of_its_group_is_given() {
    let node = news();
    publish(&node, 1).await;
    publish(&node, 2).await;
    let lost = node.ask("receive", json!({"group": "g", "visibility_ms": 30})).await["message"].clone();
    let kept = receive(&node, "g").await;
    let again = node.ask("receive", json!({"group": "g", "timeout_ms": 60_000})).await["message"].clone();
    assert_eq!((&again["msg_id"], &again["delivery_count"]), (&lost["msg_id"], &json!(2)));
    let late = node.refused("ack", json!({"group": "g", "msg_id": lost["msg_id"], "receipt": lost["receipt"]})).await;
    assert_eq!((late.0, late.1.as_deref()), ("conflict", Some("receipt")), "its time is over");
    // What is in hand outlives the node, and comes back there too.
    let node = node.restart();
    assert_eq!(count(&node, "g", "in_flight").await, 2);
    ack(&node, "g", &kept).await;
    node.ask("nack", json!({"group": "g", "msg_id": again["msg_id"], "receipt": again["receipt"]})).await;
    publish(&node, 3).await;
    let third = receive(&node, "g").await;
    assert_eq!((&third["payload"], &third["delivery_count"]), (&json!(1), &json!(3)), "it comes before what was published later");
    // One that fails too often is a dead letter of the group, and of no other.
    assert_eq!(receive(&node, "h").await["payload"], json!(1));
    node.ask("nack", json!({"group": "g", "msg_id": third["msg_id"]})).await;
    for _ in 4..=10 {
        let message = receive(&node, "g").await;
        assert_eq!(message["payload"], json!(1));
        node.ask("nack", json!({"group": "g", "msg_id": message["msg_id"]})).await;
    }
    assert_eq!(receive(&node, "g").await["payload"], json!(3));
    let node = node.restart();
    let dead = async |arguments: Value| node.ask("dead_letters", arguments).await["messages"].as_array().unwrap().len();
    assert_eq!((dead(json!({"group": "g"})).await, dead(json!({"group": "h"})).await, dead(json!({})).await), (1, 0, 0));
    assert_eq!(node.ask("redrive", json!({})).await["redriven"], json!(0));
    assert_eq!(node.ask("redrive", json!({"group": "g"})).await["redriven"], json!(1));
    let back = receive(&node, "g").await;
    assert_eq!((&back["payload"], &back["delivery_count"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn consumers_of_groups_who_wait_are_given_what_is_published() {
    let node = Arc::new(news());
    let wait = |group: &str| beside(&node, "receive", json!({"group": group, "timeout_ms": 60_000}));
    let (one, two, other) = (wait("g"), wait("g"), wait("h"));
    eventually("all wait", async || node.ask("status", json!({})).await["subscribers"] == json!(2)).await;
    publish(&node, 1).await;
    let given = |task: tokio::task::JoinHandle<Value>| async { task.await.unwrap()["message"]["payload"].as_u64().unwrap() };
    assert_eq!(given(other).await, 1);
    publish(&node, 2).await;
    let mut shared = [given(one).await, given(two).await];
    shared.sort_unstable();
    assert_eq!(shared, [1, 2], "each is given to one of them");
    // What comes back goes to who waits.
    let waiting = wait("g");
    node.ask("nack", json!({"group": "g", "msg_id": "m1"})).await;
    assert_eq!(given(waiting).await, 1);
    assert_eq!(node.ask("receive", json!({"group": "g", "timeout_ms": 20})).await["message"], Value::Null);
}

#[tokio::test]
async fn a_group_that_is_given_up_leaves_nothing() {
    let node = Arc::new(news());
    for number in 1..=3 {
        publish(&node, number).await;
    }
    let dead = receive(&node, "g").await;
    node.ask("nack", json!({"group": "g", "msg_id": dead["msg_id"], "requeue": false})).await;
    receive(&node, "g").await;
    receive(&node, "g").await;
    let waiting = beside(&node, "receive", json!({"group": "g", "timeout_ms": 60_000}));
    tokio::task::yield_now().await;
    let partition = Partition::actor(&ActorId::parse(&Name::default_scope(), "default/plexspaces.channels/news").unwrap());
    let rows = async || node.store.scan(&partition, Range::prefix(b"xg"), 10).await.unwrap().entries.len();
    assert_eq!(rows().await, 3);
    node.ask("unsubscribe", json!({"subscriber": "g"})).await;
    eventually("its rows are gone", async || rows().await == 0).await;
    // Who still waits is told, or is the first of a new group.
    let told = waiting.await.unwrap();
    assert!(told["message"].is_null() || told["message"]["payload"] == json!(1), "{told}");
    node.ask("unsubscribe", json!({"subscriber": "g"})).await;
    // What is asked in the same moment finds a new group, whose rows are others.
    let (first, _, again) = tokio::join!(receive(&node, "g"), node.ask("unsubscribe", json!({"subscriber": "g"})), receive(&node, "g"));
    assert_eq!((&first["payload"], &again["payload"]), (&json!(1), &json!(1)), "one that is new begins with the oldest");
    eventually("one row is left", async || rows().await == 1).await;
    let node = Arc::into_inner(node).unwrap().restart();
    assert_eq!(count(&node, "g", "in_flight").await, 1, "and outlives the node");
    assert_eq!(node.refused("receive", json!({"group": "x".repeat(513)})).await.1.as_deref(), Some("group"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_message_that_a_group_acknowledged_is_lost_or_given_twice() {
    let node = Arc::new(news());
    let consumers = (0..6).map(|number| {
        let (node, group) = (node.clone(), if number % 2 == 0 { "even" } else { "odd" });
        tokio::spawn(async move {
            let mut done = Vec::new();
            loop {
                let reply = node.ask("receive", json!({"group": group, "timeout_ms": 60_000})).await;
                let message = &reply["message"];
                ack(&node, group, message).await;
                match message["payload"].as_u64().unwrap() {
                    0 => return (group, done),
                    number => done.push(number),
                }
            }
        })
    });
    let consumers: Vec<_> = consumers.collect();
    for number in 1..=300 {
        publish(&node, number).await;
    }
    for _ in 0..3 {
        node.ask("publish", json!({"payload": 0})).await;
    }
    let (mut even, mut odd) = (Vec::new(), Vec::new());
    for consumer in consumers {
        let (group, done) = consumer.await.unwrap();
        if group == "even" { even.extend(done) } else { odd.extend(done) }
    }
    for mut done in [even, odd] {
        done.sort_unstable();
        assert_eq!(done, (1..=300).collect::<Vec<_>>());
    }
}
