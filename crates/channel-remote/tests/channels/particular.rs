//! What a single broker promises: its bounds, and what its operators may change.

use plexspaces_actor::BrokerRequest;
use plexspaces_testkit::servers;
use plexspaces_types::{ActorId, Key, Name, Payload};
use serde_json::{Value, json};

use crate::support::Place;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_stream_of_nats_holds_senders_back_and_its_configuration_is_left() {
    let server = servers::Nats::start().unwrap();
    let place = Place::at_nats(&server.url(), "work");
    let node = place.node().await;
    node.send(1).await;
    let options = async_nats::ConnectOptions::with_user_and_password("plex".to_owned(), servers::Nats::PASSWORD.to_owned());
    let client = options.connect(server.url()).await.unwrap();
    let jetstream = async_nats::jetstream::new(client);
    let stream = jetstream.get_stream("PLEXQ_default_default_work").await.unwrap();
    let mut config = stream.cached_info().config.clone();
    config.max_messages = 3;
    jetstream.update_stream(config).await.unwrap();
    let node = place.node().await;
    node.send(2).await;
    node.send(3).await;
    let (code, _, message) = node.refused("send", json!({"payload": 4})).await;
    assert_eq!(code, "overloaded", "{message}");
    let message = node.receive().await;
    node.ask("ack", json!({"msg_id": message["msg_id"]})).await;
    node.send(4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_nats_cannot_take_is_refused_with_its_bounds() {
    let server = servers::Nats::start().unwrap();
    let node = Place::at_nats(&server.url(), "work").node().await;
    let (code, field, message) = node.refused("send", json!({"payload": "x".repeat((1 << 20) - 100)})).await;
    assert_eq!((code, field.as_deref()), ("payload_too_large", Some("payload")), "{message}");
    assert!(message.contains("larger than what NATS (nats://plex:(hidden)@127.0.0.1:"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_of_redis_holds_senders_back_and_a_full_topic_forgets() {
    let server = servers::Redis::start().unwrap();
    let node = Place::at_redis(&server.url(), "work").node().await;
    node.send(1).await;
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let fill = "for i = ARGV[1] + 0, ARGV[2] + 0 do redis.call('XADD', KEYS[1], (1000 + i) .. '-0', 'id', 'x' .. i, 'body', '') end";
    for first in (1..100_000).step_by(10_000) {
        let mut command = redis::cmd("EVAL");
        command.arg(fill).arg(1).arg("plexspaces:{default/default/work}:queue").arg(first).arg((first + 9_999).min(99_999));
        command.query_async::<()>(&mut connection).await.unwrap();
    }
    let (code, _, message) = node.refused("send", json!({"payload": 4})).await;
    assert_eq!(code, "overloaded", "{message}");
    assert_eq!(node.status("ready").await, 100_000);
    let message = node.receive().await;
    node.ask("ack", json!({"msg_id": message["msg_id"]})).await;
    assert_eq!(node.status("ready").await, 99_999);

    for number in 0..10_003 {
        node.ask("publish", json!({"payload": number})).await;
    }
    assert_eq!(node.status("published").await, 10_000);
    assert_eq!(node.ask("next", json!({"subscriber": "s"})).await["message"]["payload"], json!(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_lately_is_not_sent_again_though_it_is_done() {
    let (nats, redis) = (servers::Nats::start().unwrap(), servers::Redis::start().unwrap());
    for place in [Place::at_nats(&nats.url(), "work"), Place::at_redis(&redis.url(), "work")] {
        let node = place.node().await;
        for round in 0..2 {
            node.ask("send", json!({"payload": 1, "msg_id": "m"})).await;
            node.ask("publish", json!({"payload": 1, "msg_id": "m"})).await;
            assert_eq!((node.status("ready").await, node.status("published").await), (1 - round, 1));
            if round == 0 {
                let message = node.receive().await;
                node.ask("ack", json!({"msg_id": message["msg_id"]})).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_that_receives_again_under_its_key_is_given_the_same_message() {
    let (nats, redis) = (servers::Nats::start().unwrap(), servers::Redis::start().unwrap());
    for place in [Place::at_nats(&nats.url(), "work"), Place::at_redis(&redis.url(), "work")] {
        let node = place.node().await;
        let sent = [node.send(1).await, node.send(2).await, node.send(3).await];
        let (one, other) = (actor("one"), actor("other"));
        let channel = ActorId::new(Name::default_scope(), Name::default_scope(), name("plexspaces.channels"), Key::new("work").unwrap());
        let receive = async |sender: &ActorId, key: &str| {
            let payload = Payload::from_value(&json!({}));
            let request = BrokerRequest { operation: "receive", payload: &payload, sender: Some(sender), idempotency_key: Some(key) };
            // Whoever asks again may do so on another node.
            let broker = place.broker().await.unwrap();
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
            loop {
                match broker.ask(&channel, request).await {
                    Ok(reply) => break serde_json::from_slice::<Value>(reply.as_bytes()).unwrap()["message"].clone(),
                    Err(failure) => assert!(std::time::Instant::now() < deadline, "{failure}"),
                }
            }
        };
        for _ in 0..3 {
            let message = receive(&one, "k1").await;
            assert_eq!((message["msg_id"].clone(), message["delivery_count"].clone()), (sent[0].clone(), json!(1)));
        }
        assert_eq!(receive(&other, "k1").await["msg_id"], sent[1]);
        assert_eq!(receive(&one, "k2").await["msg_id"], sent[2], "another key is another request");
        node.ask("ack", json!({"msg_id": sent[2]})).await;
        assert_eq!(receive(&one, "k2").await, Value::Null, "what is settled is not given again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_that_receives_again_at_sqs_is_given_the_same_message() {
    let server = servers::Sqs::start().unwrap();
    let place = Place::at_sqs(&server.url(), "work");
    let node = place.node().await;
    for number in 1..=2 {
        node.send(number).await;
    }
    let channel = ActorId::new(Name::default_scope(), Name::default_scope(), name("plexspaces.channels"), Key::new("work").unwrap());
    let actor = actor("one");
    let receive = async |key: &str| {
        let payload = Payload::from_value(&json!({}));
        let request = BrokerRequest { operation: "receive", payload: &payload, sender: Some(&actor), idempotency_key: Some(key) };
        // Whoever asks again may do so on another node.
        let broker = place.broker().await.unwrap();
        let reply = broker.ask(&channel, request).await.unwrap();
        serde_json::from_slice::<Value>(reply.as_bytes()).unwrap()["message"].clone()
    };
    let (first, again) = (receive("k1").await, receive("k1").await);
    assert_eq!(first["msg_id"], again["msg_id"]);
    let other = receive("k2").await;
    assert_ne!(other["msg_id"], first["msg_id"], "another key is another request");
    node.ask("ack", json!({"msg_id": other["msg_id"], "receipt": other["receipt"]})).await;
    assert_eq!(receive("k2").await, Value::Null, "what is settled is not given again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqs_can_keep_the_order_and_says_what_it_cannot_do() {
    let server = servers::Sqs::start().unwrap();
    let node = Place::at_sqs_ordered(&server.url(), "work").node().await;
    for number in 1..=5 {
        node.send(number).await;
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    for number in 1..=5 {
        let message = node.receive().await;
        assert_eq!(message["payload"]["n"], json!(number));
        assert_eq!(node.poll().await, Value::Null, "the next waits until this one is done");
        if number == 2 {
            node.ask("nack", json!({"msg_id": message["msg_id"]})).await;
            assert_eq!(node.receive().await["msg_id"], message["msg_id"]);
        }
        node.ask("ack", json!({"msg_id": message["msg_id"]})).await;
    }
    let field = async |operation: &str, arguments: Value| {
        let (code, field, message) = node.refused(operation, arguments).await;
        assert!(message.contains("SQS"), "{message}");
        (code, field.unwrap_or_default())
    };
    let (hidden, delayed) = (json!({"visibility_ms": 43_200_001}), json!({"payload": 1, "delay_ms": 604_800_001}));
    assert_eq!(field("receive", hidden).await, ("invalid_argument", "visibility_ms".to_owned()));
    assert_eq!(field("send", delayed).await, ("invalid_argument", "delay_ms".to_owned()));
    let odd = json!({"payload": {"text": "\u{fffe}\u{ffff}\u{1}"}});
    node.ask("send", odd.clone()).await;
    assert_eq!(node.receive().await["payload"], odd["payload"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_lately_to_sqs_is_not_sent_again_though_it_is_done() {
    let server = servers::Sqs::start().unwrap();
    let node = Place::at_sqs(&server.url(), "work").node().await;
    for round in 0..2 {
        node.ask("send", json!({"payload": 1, "msg_id": "m"})).await;
        assert_eq!(node.status("ready").await, 1 - round);
        if round == 0 {
            let message = node.receive().await;
            node.ask("ack", json!({"msg_id": message["msg_id"]})).await;
        }
    }
}

fn name(text: &str) -> Name {
    Name::new("name", text).unwrap()
}

fn actor(key: &str) -> ActorId {
    ActorId::new(Name::default_scope(), Name::default_scope(), name("worker"), Key::new(key).unwrap())
}
