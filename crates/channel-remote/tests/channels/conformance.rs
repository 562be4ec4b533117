//! What every place of channels promises.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use plexspaces_types::Name;
use serde_json::{Value, json};

use crate::support::{Node, Place, beside, eventually};

pub(crate) async fn each_message_goes_to_one_consumer_in_order(place: &Place) {
    let node = place.node().await;
    let first = node.send(1).await;
    for number in 2..=20 {
        node.send(number).await;
    }
    assert_eq!((node.status("ready").await, node.status("in_flight").await), (20, 0));
    let mut given = Vec::new();
    for _ in 1..=20 {
        given.push(node.receive().await);
    }
    if !place.keeps_order() {
        given.sort_by_key(|message| message["payload"]["n"].as_u64());
    }
    let numbers: Vec<_> = given.iter().map(|message| message["payload"]["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=20).collect::<Vec<_>>());
    let message = given.swap_remove(0);
    assert_eq!((message["msg_id"].clone(), message["payload"].clone()), (first, json!({"n": 1})));
    assert_eq!((message["msg_type"].clone(), message["channel"].clone()), (json!("job"), json!(place.channel)));
    assert_eq!(message["delivery_count"], json!(1));
    assert!(message["timestamp"].as_u64().unwrap() > 1_600_000_000_000);
    assert_eq!(node.poll().await, Value::Null);
    assert_eq!((node.status("ready").await, node.status("in_flight").await), (0, 20));
    node.ask("ack", json!({"msg_id": message["msg_id"]})).await;
    node.ask("ack", json!({"msg_id": message["msg_id"]})).await;
    assert_eq!(node.status("in_flight").await, 19);
}

pub(crate) async fn what_is_not_acknowledged_in_time_is_given_out_again(place: &Place) {
    let node = place.node().await;
    node.send(1).await;
    let began = Instant::now();
    // Not when a wait at NATS ends, which is each five seconds: servers before 2.10 then give out another message again instead.
    let message = node.ask("receive", json!({"visibility_ms": 7000})).await["message"].clone();
    node.send(2).await;
    assert_eq!(node.receive().await["payload"]["n"], json!(2), "the first is hidden");
    let again = node.receive().await;
    assert!(began.elapsed() >= Duration::from_millis(6900), "{:?}", began.elapsed());
    assert_eq!((again["msg_id"].clone(), again["delivery_count"].clone()), (message["msg_id"].clone(), json!(2)));
    // Who had it first may still be the one who has done it.
    node.ask("ack", json!({"msg_id": message["msg_id"]})).await;
    assert_eq!(node.status("in_flight").await, 1);
}

pub(crate) async fn a_message_stays_hidden_as_long_as_was_asked(place: &Place) {
    let node = place.node().await;
    node.send(1).await;
    let message = node.ask("receive", json!({"visibility_ms": 3_600_000})).await["message"].clone();
    assert_eq!(node.ask("receive", json!({"timeout_ms": 400})).await["message"], Value::Null);
    node.ask("ack", json!({"msg_id": message["msg_id"]})).await;
    assert_eq!((node.status("in_flight").await, node.status("ready").await), (0, 0));
}

pub(crate) async fn another_node_goes_on_where_one_has_ended(place: &Place) {
    let node = place.node().await;
    for number in 1..=3 {
        node.send(number).await;
    }
    let first = node.receive().await;
    let second = node.ask("receive", json!({"visibility_ms": 7000})).await["message"].clone();
    node.ask("ack", json!({"msg_id": first["msg_id"]})).await;
    drop(node);
    let node = place.node().await;
    let third = node.receive().await;
    assert!(!place.keeps_order() || third["payload"]["n"] == json!(3), "{third}");
    assert!(third["msg_id"] != first["msg_id"] && third["msg_id"] != second["msg_id"], "{third}");
    let again = node.receive().await;
    assert_eq!((again["payload"].clone(), again["msg_id"].clone()), (second["payload"].clone(), second["msg_id"].clone()));
    assert_eq!(again["delivery_count"], json!(2));
}

pub(crate) async fn what_is_in_memory_ends_with_the_node(place: &Place) {
    let node = place.node().await;
    node.send(1).await;
    node.send(2).await;
    node.receive().await;
    publish(&node, 1).await;
    assert_eq!(next(&node, "s").await, Some(1));
    let counts = async |node: &Node| {
        let status = node.ask("status", json!({})).await;
        ["ready", "in_flight", "published", "subscribers"].map(|count| status[count].as_u64().unwrap())
    };
    assert_eq!(counts(&node).await, [1, 1, 1, 1]);
    drop(node);
    assert_eq!(counts(&place.node().await).await, [0, 0, 0, 0]);
}

pub(crate) async fn what_one_node_has_given_out_another_can_settle(place: &Place) {
    let node = place.node().await;
    let sent = [node.send(1).await, node.send(2).await];
    node.receive().await;
    node.receive().await;
    let other = if place.is_own() { node.clone() } else { place.node().await };
    other.ask("ack", json!({"msg_id": sent[0]})).await;
    other.ask("nack", json!({"msg_id": sent[1], "requeue": false})).await;
    let dead = other.ask("dead_letters", json!({})).await;
    assert_eq!(dead["messages"][0]["msg_id"], sent[1]);
    assert_eq!(other.ask("receive", json!({"timeout_ms": 200})).await["message"], Value::Null);
    // The first one's word comes too late, and changes nothing.
    node.ask("ack", json!({"msg_id": sent[0]})).await;
    assert_eq!(other.status("ready").await, 0);
}

pub(crate) async fn what_one_node_has_given_out_another_can_settle_by_its_receipt(place: &Place) {
    let node = place.node().await;
    for number in 1..=3 {
        node.send(number).await;
    }
    let given = [node.receive().await, node.receive().await, node.receive().await];
    let [done, back, dead] = given.each_ref().map(|message| json!({"msg_id": message["msg_id"], "receipt": message["receipt"]}));
    let other = place.node().await;
    let (code, field, message) = other.refused("ack", json!({"msg_id": done["msg_id"]})).await;
    assert_eq!((code, field.as_deref()), ("conflict", Some("msg_id")), "{message}");
    other.ask("ack", done.clone()).await;
    other.ask("nack", back).await;
    let again = other.receive().await;
    assert_eq!((again["msg_id"].clone(), again["delivery_count"].clone()), (given[1]["msg_id"].clone(), json!(2)));
    assert_ne!(again["receipt"], given[1]["receipt"]);
    let mut refuse = dead.clone();
    refuse["requeue"] = json!(false);
    let (code, field, message) = other.refused("nack", refuse.clone()).await;
    assert_eq!((code, field.as_deref()), ("conflict", Some("requeue")), "{message}");
    node.ask("nack", refuse).await;
    assert_eq!((node.status("dead").await, node.status("in_flight").await), (1, 1));
    // What is said of a delivery that is over means no other one.
    let late = json!({"msg_id": given[1]["msg_id"], "receipt": given[1]["receipt"]});
    let (code, field, message) = other.refused("ack", late).await;
    assert_eq!((code, field.as_deref()), ("conflict", Some("receipt")), "{message}");
    other.ask("ack", json!({"msg_id": again["msg_id"], "receipt": again["receipt"]})).await;
    assert_eq!(node.status("in_flight").await, 0);
}

pub(crate) async fn where_there_is_no_topic_each_of_its_operations_says_so(place: &Place) {
    let node = place.node().await;
    let operations = [
        ("publish", json!({"payload": 1})),
        ("subscribe", json!({"subscriber": "s"})),
        ("next", json!({"subscriber": "s", "timeout_ms": 60_000})),
        ("unsubscribe", json!({"subscriber": "s"})),
        ("tail", json!({"timeout_ms": 60_000})),
    ];
    for (operation, arguments) in operations {
        let (code, _, message) = node.refused(operation, arguments).await;
        assert_eq!(code, "unknown_operation");
        assert!(message.contains("has no topic"), "{message}");
    }
    assert_eq!((node.status("published").await, node.status("subscribers").await), (0, 0));
}

pub(crate) async fn a_message_that_is_refused_is_given_again_or_is_a_dead_letter(place: &Place) {
    let node = place.node().await;
    for number in 1..=3 {
        node.send(number).await;
    }
    let (first, second) = (node.receive().await, node.receive().await);
    node.ask("nack", json!({"msg_id": first["msg_id"]})).await;
    node.ask("nack", json!({"msg_id": second["msg_id"], "requeue": false})).await;
    let mut given = vec![node.receive().await];
    if place.keeps_order() {
        assert_eq!(given[0]["payload"]["n"], json!(1), "it comes before the third again");
    } else {
        given.push(node.receive().await);
    }
    let again = given.iter().find(|message| message["msg_id"] == first["msg_id"]).unwrap();
    assert_eq!((again["payload"].clone(), again["delivery_count"].clone()), (first["payload"].clone(), json!(2)));
    let dead = node.ask("dead_letters", json!({})).await;
    assert_eq!((dead["messages"][0]["payload"].clone(), dead["next"].clone()), (second["payload"].clone(), Value::Null));
    assert_eq!(dead["messages"][0]["delivery_count"], json!(1));
    assert_eq!(node.status("dead").await, 1);
    let node = place.follow(node).await;
    assert_eq!(node.ask("redrive", json!({})).await, json!({"redriven": 1}));
    assert_eq!(node.status("dead").await, 0);
    while given.len() < 3 {
        given.push(node.receive().await);
    }
    let back = given.iter().find(|message| message["msg_id"] == second["msg_id"]).unwrap();
    assert_eq!(back["delivery_count"], json!(1), "as if it had never been given out");
}

pub(crate) async fn what_was_given_to_nobody_cannot_be_settled(place: &Place) {
    let node = place.node().await;
    let sent = node.send(9).await;
    for operation in ["ack", "nack"] {
        let (code, field, message) = node.refused(operation, json!({"msg_id": sent})).await;
        assert_eq!((code, field.as_deref()), ("conflict", Some("msg_id")), "{message}");
    }
    if place.settles_by_id() {
        node.ask("ack", json!({"msg_id": "never-sent"})).await;
    }
    assert_eq!(node.status("ready").await, 1);
}

pub(crate) async fn a_message_that_fails_too_often_is_a_dead_letter(place: &Place) {
    let node = place.node().await;
    node.send(1).await;
    for count in 1..=10 {
        let message = node.receive().await;
        assert_eq!(message["delivery_count"], json!(count));
        node.ask("nack", json!({"msg_id": message["msg_id"]})).await;
    }
    assert_eq!(node.poll().await, Value::Null);
    assert_eq!((node.status("dead").await, node.status("ready").await), (1, 0));
    assert_eq!(node.ask("dead_letters", json!({})).await["messages"][0]["delivery_count"], json!(10));

    // The same for one that its consumers never answer.
    node.send(2).await;
    for _ in 1..=10 {
        let message = node.ask("receive", json!({"visibility_ms": 20, "timeout_ms": 60_000})).await["message"].clone();
        assert_eq!(message["payload"]["n"], json!(2));
    }
    eventually("nobody is given it any more", async || {
        assert_eq!(node.poll().await, Value::Null);
        node.status("dead").await == 2
    })
    .await;
}

pub(crate) async fn dead_letters_come_in_pages_and_go_back_by_name(place: &Place) {
    let node = place.node().await;
    let mut sent = Vec::new();
    for number in 0..7 {
        sent.push(node.send(number).await);
        let message = node.receive().await;
        node.ask("nack", json!({"msg_id": message["msg_id"], "requeue": false})).await;
    }
    let (mut found, mut arguments) = (Vec::new(), json!({"limit": 3}));
    for wanted in [3, 3, 1] {
        let page = node.ask("dead_letters", arguments).await;
        let messages = page["messages"].as_array().unwrap().clone();
        assert_eq!(messages.len(), wanted);
        found.extend(messages.iter().map(|message| message["msg_id"].clone()));
        arguments = json!({"limit": 3, "after": page["next"]});
    }
    assert_eq!((found, arguments["after"].clone()), (sent.clone(), Value::Null));
    assert_eq!(node.ask("redrive", json!({"msg_ids": [sent[2], sent[5], "never-sent"]})).await, json!({"redriven": 2}));
    let mut back = [node.receive().await["msg_id"].clone(), node.receive().await["msg_id"].clone()];
    if !place.keeps_order() {
        back.sort_by_key(|id| sent.iter().position(|sent| sent == id));
    }
    assert_eq!(back, [sent[2].clone(), sent[5].clone()]);
    assert_eq!(node.status("dead").await, 5);
}

pub(crate) async fn a_dead_letter_whose_message_waits_again_is_not_sent_again(place: &Place) {
    let node = place.node().await;
    node.ask("send", json!({"payload": 1, "msg_id": "m"})).await;
    node.receive().await;
    node.ask("nack", json!({"msg_id": "m", "requeue": false})).await;
    place.send_anew(&node, "m").await;
    assert_eq!((node.status("ready").await, node.status("dead").await), (1, 1));
    assert_eq!(node.ask("redrive", json!({})).await, json!({"redriven": 0}));
    assert_eq!((node.status("ready").await, node.status("dead").await), (1, 1));
    assert_eq!(node.receive().await["msg_id"], json!("m"));
    node.ask("ack", json!({"msg_id": "m"})).await;
    assert_eq!(node.poll().await, Value::Null, "it was there once");
    eventually("what is done is counted no more", async || node.status("in_flight").await == 0).await;
    assert_eq!(node.ask("redrive", json!({})).await, json!({"redriven": 1}));
    assert_eq!(node.status("dead").await, 0);
    assert_eq!(node.receive().await["msg_id"], json!("m"));
}

pub(crate) async fn a_delayed_message_comes_later(place: &Place) {
    let node = place.node().await;
    let began = Instant::now();
    node.ask("send", json!({"payload": "later", "delay_ms": 7000})).await;
    node.ask("send", json!({"payload": "latest", "delay_ms": 8000})).await;
    node.send(2).await;
    assert_eq!(node.receive().await["payload"]["n"], json!(2));
    assert_eq!(node.poll().await, Value::Null);
    assert_eq!((node.status("delayed").await, node.status("ready").await), (2, 0));
    let mut given = Vec::new();
    for _ in 0..2 {
        let message = node.receive().await;
        let payload = message["payload"].as_str().unwrap().to_owned();
        // Clocks count whole milliseconds.
        let delay = if payload == "later" { 6990 } else { 7990 };
        assert!(began.elapsed() >= Duration::from_millis(delay), "{payload} came after {:?}", began.elapsed());
        assert_eq!(message["delivery_count"], json!(1));
        given.push(payload);
    }
    if !place.keeps_order() {
        given.sort();
    }
    assert_eq!(given, ["later", "latest"]);
    // A place may give a message out before it has crossed it off those that are delayed.
    eventually("what was given out is delayed no more", async || node.status("delayed").await == 0).await;
}

pub(crate) async fn a_message_with_an_id_that_waits_is_not_sent_again(place: &Place) {
    let node = place.node().await;
    for _ in 0..2 {
        node.ask("send", json!({"payload": 1, "msg_id": "once"})).await;
    }
    assert_eq!(node.status("ready").await, 1);
    assert_eq!(node.receive().await["msg_id"], json!("once"));
    node.ask("send", json!({"payload": 1, "msg_id": "once"})).await;
    assert_eq!((node.status("ready").await, node.status("in_flight").await), (0, 1), "nor while it is in hand");
}

pub(crate) async fn who_waits_for_a_message_is_given_the_next(place: &Place) {
    let node = place.node().await;
    let wait = json!({"timeout_ms": 60_000, "visibility_ms": 600_000});
    let waiting: Vec<_> = (0..5).map(|_| beside(&node, "receive", wait.clone())).collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut sent = Vec::new();
    for number in 0..5 {
        sent.push(node.send(number).await);
    }
    let mut given = Vec::new();
    for waiter in waiting {
        given.push(waiter.await.unwrap()["message"]["msg_id"].clone());
    }
    given.sort_by_key(|id| sent.iter().position(|sent| sent == id));
    assert_eq!(given, sent);
    let began = Instant::now();
    assert_eq!(node.ask("receive", json!({"timeout_ms": 150})).await["message"], Value::Null);
    assert!((Duration::from_millis(150)..Duration::from_secs(60)).contains(&began.elapsed()), "{:?}", began.elapsed());
}

pub(crate) async fn no_acknowledged_message_is_lost_or_given_twice(place: &Place) {
    let node = place.node().await;
    let count = Arc::new(AtomicUsize::new(0));
    let consumers: Vec<_> = (0..4)
        .map(|_| {
            let (node, count) = (node.clone(), count.clone());
            tokio::spawn(async move {
                let mut done = Vec::new();
                while count.load(Ordering::SeqCst) < 200 {
                    let message = node.ask("receive", json!({"timeout_ms": 1000, "visibility_ms": 600_000})).await["message"].clone();
                    if message != Value::Null {
                        node.ask("ack", json!({"msg_id": message["msg_id"]})).await;
                        done.extend(message["payload"]["n"].as_u64());
                        count.fetch_add(1, Ordering::SeqCst);
                    }
                }
                done
            })
        })
        .collect();
    for number in 1..=200 {
        node.send(number).await;
    }
    let mut done = Vec::new();
    for consumer in consumers {
        done.extend(consumer.await.unwrap());
    }
    done.sort_unstable();
    assert_eq!(done, (1..=200).collect::<Vec<_>>());
    eventually("all is acknowledged", async || node.status("in_flight").await == 0).await;
    assert_eq!(node.status("ready").await, 0);
}

pub(crate) async fn channels_of_other_names_and_namespaces_are_others(place: &Place) {
    let node = place.node().await;
    let names = ["tasks:pending", "tasks.pending", "tasks=3Apending", "Ünï * > {x}"];
    for (number, name) in (1..).zip(names) {
        node.other(&format!("{name} {}", place.channel)).send(number).await;
    }
    let long = "x".repeat(250);
    node.other(&long).send(9).await;
    let mut elsewhere = node.other(&long);
    elsewhere.ctx.namespace = Name::new("namespace", "elsewhere").unwrap();
    assert_eq!(elsewhere.poll().await, Value::Null);
    for (number, name) in (1..).zip(names) {
        let message = node.other(&format!("{name} {}", place.channel)).receive().await;
        assert_eq!(message["payload"]["n"], json!(number), "{name}");
    }
    assert_eq!(node.other(&long).receive().await["payload"]["n"], json!(9));
}

async fn publish(node: &Node, number: u64) {
    node.ask("publish", json!({"payload": {"n": number}})).await;
}

async fn next(node: &Node, subscriber: &str) -> Option<u64> {
    node.ask("next", json!({"subscriber": subscriber})).await["message"]["payload"]["n"].as_u64()
}

pub(crate) async fn each_subscriber_is_given_each_message_once_from_its_place_on(place: &Place) {
    let node = place.node().await;
    publish(&node, 1).await;
    node.ask("subscribe", json!({"subscriber": "late", "from": "latest"})).await;
    publish(&node, 2).await;
    assert_eq!((next(&node, "early").await, next(&node, "early").await, next(&node, "early").await), (Some(1), Some(2), None));
    assert_eq!((next(&node, "late").await, next(&node, "late").await), (Some(2), None));
    let node = place.follow(node).await;
    publish(&node, 3).await;
    node.ask("subscribe", json!({"subscriber": "late", "from": "earliest"})).await;
    assert_eq!((next(&node, "early").await, next(&node, "late").await), (Some(3), Some(3)), "a place outlives the node");
    assert_eq!(node.poll().await, Value::Null, "the queue knows nothing of the topic");
    assert_eq!((node.status("published").await, node.status("subscribers").await), (3, 2));
    node.ask("unsubscribe", json!({"subscriber": "late"})).await;
    assert_eq!(node.status("subscribers").await, 1);
    assert_eq!(next(&node, "late").await, Some(1), "one that is new begins with the oldest");
}

pub(crate) async fn subscribers_that_wait_are_all_told(place: &Place) {
    let node = place.node().await;
    let waiting: Vec<_> =
        ["a", "b", "c"].iter().map(|name| beside(&node, "next", json!({"subscriber": name, "timeout_ms": 60_000}))).collect();
    let tailing = beside(&node, "tail", json!({"after": 0, "timeout_ms": 60_000}));
    tokio::time::sleep(Duration::from_millis(100)).await;
    node.ask("publish", json!({"payload": "news"})).await;
    for waiter in waiting {
        assert_eq!(waiter.await.unwrap()["message"]["payload"], json!("news"));
    }
    assert_eq!(tailing.await.unwrap()["messages"][0]["payload"], json!("news"));
    assert_eq!(node.ask("next", json!({"subscriber": "a", "timeout_ms": 150})).await["message"], Value::Null);
}

pub(crate) async fn a_topic_is_read_by_position(place: &Place) {
    let node = place.node().await;
    for number in 1..=5 {
        publish(&node, number).await;
    }
    let numbers = |tail: &Value| -> Vec<u64> {
        tail["messages"].as_array().unwrap().iter().map(|message| message["payload"]["n"].as_u64().unwrap()).collect()
    };
    let first = node.ask("tail", json!({"after": 0, "limit": 2})).await;
    assert_eq!(numbers(&first), [1, 2]);
    assert_eq!(first["messages"][1]["position"], first["next"]);
    let rest = node.ask("tail", json!({"after": first["next"]})).await;
    assert_eq!(numbers(&rest), [3, 4, 5]);
    let end = node.ask("tail", json!({})).await;
    assert_eq!((numbers(&end), end["next"].clone()), (vec![], rest["next"].clone()));
    let waiting = beside(&node, "tail", json!({"timeout_ms": 60_000}));
    // It hears what comes after its beginning, and nobody can see when that is.
    let mut last = 5;
    while !waiting.is_finished() {
        tokio::time::sleep(Duration::from_millis(100)).await;
        last += 1;
        publish(&node, last).await;
    }
    let heard = numbers(&waiting.await.unwrap());
    assert!(heard.first().is_some_and(|first| *first > 5) && heard.windows(2).all(|two| two[0] + 1 == two[1]), "{heard:?}");
}

pub(crate) async fn a_page_of_large_messages_ends_early_and_the_next_goes_on(place: &Place) {
    let node = place.node().await;
    let large = |number: u64| json!({"payload": {"n": number, "text": "x".repeat(1_000_000)}});
    for number in 1..=6 {
        node.ask("publish", large(number)).await;
        node.ask("send", large(number)).await;
        let message = node.receive().await;
        node.ask("nack", json!({"msg_id": message["msg_id"], "requeue": false})).await;
    }
    for (operation, first) in [("tail", json!(0)), ("dead_letters", Value::Null)] {
        let (mut found, mut after) = (Vec::new(), first);
        while found.len() < 6 {
            let page = node.ask(operation, json!({"after": after})).await;
            let messages = page["messages"].as_array().unwrap();
            // The store keeps both in memory.
            assert!((1..6).contains(&messages.len()) || place.is_own(), "{operation}: {} in one page", messages.len());
            found.extend(messages.iter().map(|message| message["payload"]["n"].as_u64().unwrap()));
            after = page["next"].clone();
        }
        assert_eq!(found, [1, 2, 3, 4, 5, 6], "{operation}");
        assert!(operation == "tail" || after == Value::Null, "{after}");
    }
}

pub(crate) async fn next_asked_again_under_its_key_is_the_same_message(place: &Place) {
    let node = place.node().await;
    publish(&node, 1).await;
    publish(&node, 2).await;
    let keyed = async |node: &Node, key: &str| {
        let reply = node.keyed("next", json!({"subscriber": "s"}), Some(key)).await.unwrap();
        reply["message"]["payload"]["n"].as_u64()
    };
    assert_eq!((keyed(&node, "k1").await, keyed(&node, "k1").await), (Some(1), Some(1)));
    let node = place.follow(node).await;
    assert_eq!((keyed(&node, "k1").await, keyed(&node, "k2").await, keyed(&node, "k2").await), (Some(1), Some(2), Some(2)));
}

pub(crate) async fn a_send_asked_again_under_its_key_is_the_same_message(place: &Place) {
    let node = place.node().await;
    let keyed = async |operation: &str| node.keyed(operation, json!({"payload": 1}), Some(&format!("key of {operation}"))).await.unwrap();
    assert_eq!(keyed("send").await, keyed("send").await);
    assert_eq!(node.status("ready").await, 1);
    if place.has_topics() {
        assert_eq!(keyed("publish").await, keyed("publish").await);
        assert_eq!(node.status("published").await, 1);
    }
}

pub(crate) async fn what_cannot_be_is_refused_precisely(place: &Place) {
    let node = place.node().await;
    let field = async |operation: &str, arguments: Value| {
        let (code, field, _) = node.refused(operation, arguments).await;
        (code, field.unwrap_or_default())
    };
    assert_eq!(field("send", json!({"payload": "x".repeat(1 << 20)})).await, ("payload_too_large", "payload".to_owned()));
    assert_eq!(field("send", json!({"payload": 1, "delay": 5})).await, ("invalid_argument", "delay".to_owned()));
    assert_eq!(field("publish", json!({"payload": 1, "delay_ms": 5})).await, ("invalid_argument", "delay_ms".to_owned()));
    assert_eq!(field("receive", json!({"visibility_ms": 0})).await, ("invalid_argument", "visibility_ms".to_owned()));
    assert_eq!(field("receive", json!({"timeout_ms": 86_400_001_u64})).await, ("invalid_argument", "timeout_ms".to_owned()));
    assert_eq!(field("next", json!({})).await, ("invalid_argument", "subscriber".to_owned()));
    assert_eq!(field("tail", json!({"limit": 1001})).await, ("invalid_argument", "limit".to_owned()));
    assert_eq!(field("dead_letters", json!({"after": "x"})).await, ("invalid_argument", "after".to_owned()));
    assert_eq!(field("steal", json!({})).await.0, "unknown_operation");
    if !place.has_topics() {
        for (operation, mut arguments) in [("receive", json!({})), ("ack", json!({"msg_id": "m"})), ("status", json!({}))] {
            arguments["group"] = json!("g");
            assert_eq!(field(operation, arguments).await, ("invalid_argument", "group".to_owned()), "{operation}");
        }
    }
    // Almost as much as may be.
    node.ask("send", json!({"payload": "x".repeat(1_000_000)})).await;
    assert_eq!(node.receive().await["payload"].as_str().unwrap().len(), 1_000_000);
}
