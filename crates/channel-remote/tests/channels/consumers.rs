//! Groups of consumers of a topic, wherever there are topics.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Node, Place, beside, eventually};

suite!(consumers, "consumers "; memory, sqlite, kafka, nats, redis: (
    consumers_of_a_group_share_the_messages_of_a_topic_and_each_group_has_all,
    what_one_of_a_group_has_not_acknowledged_another_is_given,
    consumers_of_groups_who_wait_are_given_what_is_published,
    a_group_that_is_given_up_begins_anew,
    no_message_that_a_group_acknowledged_is_lost_or_given_twice,
    who_is_cut_off_while_asking_for_a_group_loses_no_message,
));

async fn publish(node: &Node, number: u64) {
    node.ask("publish", json!({"payload": number, "msg_id": format!("m{number}")})).await;
}

/// The next message for a group, which is not given out again before the end of the test.
async fn receive(node: &Node, group: &str) -> Value {
    node.ask("receive", json!({"group": group, "visibility_ms": 600_000})).await["message"].clone()
}

async fn ack(node: &Node, group: &str, message: &Value) {
    node.ask("ack", json!({"group": group, "msg_id": message["msg_id"]})).await;
}

async fn status(node: &Node, group: &str) -> [u64; 3] {
    let status = node.ask("status", json!({"group": group})).await;
    let [in_flight, dead, ready, behind] = ["in_flight", "dead", "ready", "behind"].map(|field| status[field].as_u64().unwrap());
    // A message may be in the group's queue before somebody wants it.
    [in_flight, dead, ready + behind]
}

async fn consumers_of_a_group_share_the_messages_of_a_topic_and_each_group_has_all(place: &Place) {
    let node = place.node().await;
    node.ask("subscribe", json!({"subscriber": "late", "from": "latest"})).await;
    for number in 1..=20 {
        publish(&node, number).await;
    }
    node.ask("subscribe", json!({"subscriber": "later", "from": "latest"})).await;
    assert_eq!(status(&node, "g").await, [0, 0, 20]);
    let (one, two) = (receive(&node, "g").await, receive(&node, "g").await);
    assert_eq!([&one["payload"], &two["payload"]], [&json!(1), &json!(2)], "each consumer has what the other has not");
    assert_eq!((&one["channel"], &one["delivery_count"]), (&json!(place.channel), &json!(1)));
    assert_eq!(status(&node, "g").await, [2, 0, 18]);
    ack(&node, "g", &two).await;
    ack(&node, "g", &one).await;
    eventually("what is done is counted no more", async || status(&node, "g").await == [0, 0, 18]).await;
    for group in ["h", "late"] {
        for number in 1..=20 {
            let message = receive(&node, group).await;
            assert_eq!(message["payload"], json!(number), "{group}");
            ack(&node, group, &message).await;
        }
        assert_eq!(receive(&node, group).await, Value::Null);
    }
    assert_eq!(receive(&node, "later").await, Value::Null);
    let node = place.follow(node).await;
    publish(&node, 21).await;
    assert_eq!(receive(&node, "g").await["payload"], json!(3), "a place outlives the node");
    assert_eq!([receive(&node, "h").await["payload"].clone(), receive(&node, "later").await["payload"].clone()], [json!(21), json!(21)]);
    assert_eq!((node.status("subscribers").await, node.status("ready").await), (4, 0), "the queue knows nothing of them");
}

async fn what_one_of_a_group_has_not_acknowledged_another_is_given(place: &Place) {
    let node = place.node().await;
    publish(&node, 1).await;
    publish(&node, 2).await;
    let lost = node.ask("receive", json!({"group": "g", "visibility_ms": 300})).await["message"].clone();
    assert_eq!(receive(&node, "g").await["payload"], json!(2));
    let wait = json!({"group": "g", "timeout_ms": 60_000, "visibility_ms": 600_000});
    let again = node.ask("receive", wait.clone()).await["message"].clone();
    assert_eq!((&again["msg_id"], &again["delivery_count"]), (&lost["msg_id"], &json!(2)));
    // Who waits already is given what comes back.
    let waiting = beside(&node, "receive", wait);
    tokio::time::sleep(Duration::from_millis(100)).await;
    node.ask("nack", json!({"group": "g", "msg_id": "m1"})).await;
    let third = waiting.await.unwrap()["message"].clone();
    assert_eq!((&third["payload"], &third["delivery_count"]), (&json!(1), &json!(3)));
    // What one group gives up is a dead letter of that group, and of no other.
    node.ask("nack", json!({"group": "g", "msg_id": "m1", "requeue": false})).await;
    assert_eq!(receive(&node, "h").await["payload"], json!(1));
    let dead = async |arguments: Value| node.ask("dead_letters", arguments).await["messages"].as_array().unwrap().len();
    assert_eq!((dead(json!({"group": "g"})).await, dead(json!({"group": "h"})).await, dead(json!({})).await), (1, 0, 0));
    assert_eq!(node.ask("redrive", json!({})).await["redriven"], json!(0));
    assert_eq!(node.ask("redrive", json!({"group": "g"})).await["redriven"], json!(1));
    assert_eq!(receive(&node, "g").await["payload"], json!(1));
}

async fn consumers_of_groups_who_wait_are_given_what_is_published(place: &Place) {
    let node = place.node().await;
    let wait = |group: &str| beside(&node, "receive", json!({"group": group, "timeout_ms": 60_000, "visibility_ms": 600_000}));
    let waiting = [wait("g"), wait("g"), wait("h")];
    eventually("all wait", async || node.status("subscribers").await == 2).await;
    publish(&node, 1).await;
    publish(&node, 2).await;
    let mut given = Vec::new();
    for waiter in waiting {
        given.push(waiter.await.unwrap()["message"]["payload"].as_u64().unwrap());
    }
    given[..2].sort_unstable();
    assert_eq!((&given[..2], given[2]), (&[1, 2][..], 1), "each is given to one of a group");
    let nothing = node.ask("receive", json!({"group": "g", "timeout_ms": 20})).await;
    assert_eq!(nothing["message"], Value::Null);
}

async fn a_group_that_is_given_up_begins_anew(place: &Place) {
    let node = place.node().await;
    for number in 1..=4 {
        publish(&node, number).await;
    }
    let (done, dead, _) = (receive(&node, "g").await, receive(&node, "g").await, receive(&node, "g").await);
    ack(&node, "g", &done).await;
    node.ask("nack", json!({"group": "g", "msg_id": dead["msg_id"], "requeue": false})).await;
    assert_eq!(status(&node, "g").await, [1, 1, 1]);
    let other = if place.is_own() { node.clone() } else { place.node().await };
    let waiting = beside(&other, "receive", json!({"group": "away", "timeout_ms": 60_000}));
    assert_eq!(waiting.await.unwrap()["message"]["payload"], json!(1));
    for _ in 0..2 {
        node.ask("unsubscribe", json!({"subscriber": "g"})).await;
        assert_eq!((node.status("subscribers").await, status(&node, "g").await), (1, [0, 0, 4]));
    }
    // What another consumer still has in hand is nobody's business any more.
    node.ask("ack", json!({"group": "g", "msg_id": "m3"})).await;
    for number in 1..=4 {
        assert_eq!(receive(&node, "g").await["payload"], json!(number), "what the group before it was given, it is given too");
    }
    assert_eq!(receive(&node, "g").await, Value::Null);
    // Another node knew the group, and knows it anew.
    node.ask("unsubscribe", json!({"subscriber": "away"})).await;
    let again = other.ask("receive", json!({"group": "away", "timeout_ms": 60_000})).await;
    assert_eq!((&again["message"]["payload"], &again["message"]["delivery_count"]), (&json!(1), &json!(1)));
}

async fn no_message_that_a_group_acknowledged_is_lost_or_given_twice(place: &Place) {
    const MESSAGES: u64 = 60;
    let node = place.node().await;
    let consumers: Vec<_> = (0..4)
        .map(|number| {
            let (node, group) = (node.clone(), if number % 2 == 0 { "even" } else { "odd" });
            tokio::spawn(async move {
                let mut done = Vec::new();
                loop {
                    let wait = json!({"group": group, "timeout_ms": 60_000, "visibility_ms": 600_000});
                    let message = node.ask("receive", wait).await["message"].clone();
                    ack(&node, group, &message).await;
                    match message["payload"].as_u64().unwrap() {
                        0 => return (group, done),
                        number => done.push(number),
                    }
                }
            })
        })
        .collect();
    for number in 1..=MESSAGES {
        publish(&node, number).await;
    }
    for _ in 0..2 {
        node.ask("publish", json!({"payload": 0})).await;
    }
    let mut of = std::collections::BTreeMap::<&str, Vec<u64>>::new();
    for consumer in consumers {
        let (group, done) = consumer.await.unwrap();
        of.entry(group).or_default().extend(done);
    }
    for (group, mut done) in of {
        done.sort_unstable();
        assert_eq!(done, (1..=MESSAGES).collect::<Vec<_>>(), "{group}");
    }
}

async fn who_is_cut_off_while_asking_for_a_group_loses_no_message(place: &Place) {
    const MESSAGES: u64 = 40;
    let node = place.node().await;
    for number in 1..=MESSAGES {
        publish(&node, number).await;
    }
    // In this time a message goes from the topic to a consumer, at some places and not at others.
    for moment in 0..40 {
        let ask = node.try_ask("receive", json!({"group": "g", "visibility_ms": 200}));
        let _ = tokio::time::timeout(Duration::from_micros(moment * 150), ask).await;
    }
    let mut done = Vec::new();
    while done.len() < usize::try_from(MESSAGES).unwrap() {
        let message = node.ask("receive", json!({"group": "g", "timeout_ms": 60_000, "visibility_ms": 600_000})).await["message"].clone();
        ack(&node, "g", &message).await;
        done.push(message["payload"].as_u64().unwrap());
    }
    done.sort_unstable();
    assert_eq!(done, (1..=MESSAGES).collect::<Vec<_>>());
    assert_eq!(receive(&node, "g").await, Value::Null);
}
