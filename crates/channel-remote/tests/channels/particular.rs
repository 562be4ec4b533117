//! What a single broker promises: its bounds, and what its operators may change.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use plexspaces_actor::BrokerRequest;
use plexspaces_channel_remote::{Kafka, Sqs, kafka, sqs};
use plexspaces_testkit::servers;
use plexspaces_types::{ActorId, Code, Key, Name, Payload};
use serde_json::{Value, json};

use crate::support::{PATIENCE, Place, eventually, sqs_config};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_stream_of_nats_holds_senders_back_and_its_configuration_is_left() {
    let server = servers::Nats::start().unwrap();
    let place = Place::at_nats(&server.url(), "work");
    let node = place.node().await;
    node.send(1).await;
    hold(&server, 4).await;
    let node = place.node().await;
    node.send(2).await;
    node.send(3).await;
    let (code, _, message) = node.refused("send", json!({"payload": 4})).await;
    assert_eq!(code, "overloaded", "{message}");
    let message = node.receive().await;
    node.ask("ack", json!({"msg_id": message["msg_id"]})).await;
    node.send(4).await;
}

/// Lets the stream of the queue `work` hold so many messages at most.
async fn hold(server: &servers::Nats, most: i64) {
    let options = async_nats::ConnectOptions::with_user_and_password("plex".to_owned(), servers::Nats::PASSWORD.to_owned());
    let jetstream = async_nats::jetstream::new(options.connect(server.url()).await.unwrap());
    let stream = jetstream.get_stream("PLEXQ_default_default_work").await.unwrap();
    let mut config = stream.cached_info().config.clone();
    config.max_messages = most;
    jetstream.update_stream(config).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_stream_of_nats_still_moves_what_is_delayed_and_dead() {
    let server = servers::Nats::start().unwrap();
    let node = Place::at_nats(&server.url(), "work").node().await;
    assert_eq!(node.poll().await, Value::Null);
    hold(&server, 5).await;
    for (id, requeue) in [("done", Value::Null), ("dead", json!(false))] {
        node.ask("send", json!({"payload": 0, "msg_id": id})).await;
        assert_eq!(node.receive().await["msg_id"], json!(id));
        match requeue {
            Value::Null => node.ask("ack", json!({"msg_id": id})).await,
            requeue => node.ask("nack", json!({"msg_id": id, "requeue": requeue})).await,
        };
    }
    let later = |number: u64| json!({"payload": number, "msg_id": format!("later {number}"), "delay_ms": 1500});
    let mut sent = 0;
    while node.try_ask("send", later(sent)).await.is_ok() {
        sent += 1;
    }
    assert_eq!((sent, node.status("dead").await), (3, 1), "all places but one");
    for refused in [later(9), json!({"payload": 9})] {
        let (code, _, message) = node.refused("send", refused).await;
        assert_eq!(code, "overloaded", "{message}");
    }
    // Who has heard no answer asks again, and is not told that there is no room for what is there.
    for there in [later(0), json!({"payload": 0, "msg_id": "done"})] {
        node.ask("send", there).await;
    }
    assert_eq!(node.ask("redrive", json!({})).await, json!({"redriven": 1}));
    let mut given = Vec::new();
    for _ in 0..4 {
        given.push(node.receive().await["msg_id"].as_str().unwrap().to_owned());
    }
    given.sort();
    assert_eq!(given, ["dead", "later 0", "later 1", "later 2"]);
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
    let send = async |id: &str| drop(node.ask("send", json!({"payload": 0, "msg_id": id})).await);
    send("done").await;
    node.receive().await;
    node.ask("ack", json!({"msg_id": "done"})).await;
    node.ask("send", json!({"payload": 0, "msg_id": "waits", "delay_ms": 86_400_000})).await;
    node.send(1).await;
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let fill = "for i = ARGV[1] + 0, ARGV[2] + 0 do redis.call('XADD', KEYS[1], (1000 + i) .. '-0', 'id', 'x' .. i, 'body', '') end";
    for first in (1..100_000).step_by(10_000) {
        let mut command = redis::cmd("EVAL");
        command.arg(fill).arg(1).arg("plexspaces:{default/default/work}:queue").arg(first).arg((first + 9_999).min(99_998));
        command.query_async::<()>(&mut connection).await.unwrap();
    }
    let (code, _, message) = node.refused("send", json!({"payload": 4})).await;
    assert_eq!(code, "overloaded", "{message}");
    // Who has heard no answer asks again, and is not told that there is no room for what is there.
    for id in ["done", "waits"] {
        send(id).await;
    }
    assert_eq!((node.status("ready").await, node.status("delayed").await), (99_999, 1));
    let message = node.receive().await;
    node.ask("ack", json!({"msg_id": message["msg_id"]})).await;
    assert_eq!(node.status("ready").await, 99_998);

    for number in 0..10_003 {
        node.ask("publish", json!({"payload": number})).await;
    }
    assert_eq!(node.status("published").await, 10_000);
    assert_eq!(node.ask("next", json!({"subscriber": "s"})).await["message"]["payload"], json!(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_lately_is_not_sent_again_though_it_is_done() {
    let (nats, redis) = (servers::Nats::start().unwrap(), servers::Redis::start().unwrap());
    let kafka = servers::Kafka::start().unwrap();
    let places = [Place::at_kafka(&kafka.url(), "work"), Place::at_nats(&nats.url(), "work"), Place::at_redis(&redis.url(), "work")];
    for place in places {
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
    let kafka = servers::Kafka::start().unwrap();
    let places = [Place::at_kafka(&kafka.url(), "work"), Place::at_nats(&nats.url(), "work"), Place::at_redis(&redis.url(), "work")];
    for place in places {
        let node = place.node().await;
        let sent = [node.send(1).await, node.send(2).await, node.send(3).await];
        let (one, other) = (actor("one"), actor("other"));
        let channel = ActorId::new(Name::default_scope(), Name::default_scope(), name("plexspaces.channels"), Key::new("work").unwrap());
        let receive = async |sender: &ActorId, key: &str| {
            let payload = Payload::from_value(&json!({"visibility_ms": 600_000}));
            let request = BrokerRequest { operation: "receive", payload: &payload, sender: Some(sender), idempotency_key: Some(key) };
            // Whoever asks again may do so on another node.
            let broker = place.broker().await.unwrap();
            let deadline = Instant::now() + PATIENCE;
            loop {
                match broker.ask(&channel, request).await {
                    Ok(reply) => break serde_json::from_slice::<Value>(reply.as_bytes()).unwrap()["message"].clone(),
                    Err(failure) => assert!(Instant::now() < deadline, "{failure}"),
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
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
        let payload = Payload::from_value(&json!({"visibility_ms": 600_000}));
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
        tokio::time::sleep(Duration::from_millis(5)).await;
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
async fn all_dead_letters_of_an_ordered_channel_at_sqs_can_be_reached() {
    let server = servers::Sqs::start().unwrap();
    let node = Place::at_sqs_ordered(&server.url(), "work").node().await;
    let mut sent = Vec::new();
    for number in 1..=12 {
        sent.push(node.send(number).await);
        let message = node.receive().await;
        node.ask("nack", json!({"msg_id": message["msg_id"], "requeue": false})).await;
    }
    let page = node.ask("dead_letters", json!({})).await;
    let found: Vec<_> = page["messages"].as_array().unwrap().iter().map(|message| message["msg_id"].clone()).collect();
    assert_eq!(found, sent, "all, in their order");
    assert_eq!(node.ask("redrive", json!({})).await, json!({"redriven": 12}));
    for _ in 1..=12 {
        let message = node.receive().await;
        node.ask("ack", json!({"msg_id": message["msg_id"]})).await;
    }
    assert_eq!(node.poll().await, Value::Null);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_in_the_way_of_sqs_is_told_without_the_secret() {
    let config = sqs_config("http://127.0.0.1:1");
    for endpoint in ["ftp://here", "here:9324", "https://plex:s3cret@here", "https://here/path"] {
        let config = sqs::Config { endpoint: Some(endpoint.to_owned()), ..config.clone() };
        let failure = Sqs::open(&config).err().unwrap();
        assert!(failure.message.contains("[channels.sqs]: the endpoint") && failure.message.contains("expected http://"), "{failure}");
        assert!(!format!("{failure:?} {config:?}").contains("s3cret"), "{failure:?} {config:?}");
    }
    let channel = ActorId::new(Name::default_scope(), Name::default_scope(), name("plexspaces.channels"), Key::new("work").unwrap());
    let role = sqs::Credentials::container("http://127.0.0.1:1/s3cret", None);
    let role = sqs::Config { credentials: role, ..config.clone() };
    let unfit = sqs::Config { credentials: sqs::Credentials::new("plex", "s3cret", Some("s3cret\n".to_owned())), ..config.clone() };
    let cases = [(config, "does not answer: "), (role, "cannot be asked: AWS_ACCESS_KEY_ID is not set"), (unfit, "cannot be asked: ")];
    for (config, why) in cases {
        let payload = Payload::from_value(&json!({"payload": 1}));
        let request = BrokerRequest { operation: "send", payload: &payload, sender: None, idempotency_key: None };
        let failure = plexspaces_actor::Broker::ask(&Sqs::open(&config).unwrap(), &channel, request).await.unwrap_err();
        assert_eq!(failure.code, Code::Unavailable, "{failure}");
        assert!(failure.message.contains(why), "{failure}");
        assert!(!format!("{failure:?} {config:?}").contains("s3cret"), "{failure:?} {config:?}");
    }
}

/// The nodes of a channel agree on each message, whoever asks where.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_at_kafka_share_a_queue_and_agree_on_each_message() {
    let server = servers::Kafka::start().unwrap();
    let place = Place::at_kafka(&server.url(), "work");
    let nodes = [place.node().await, place.node().await, place.node().await];
    nodes[0].ask("send", json!({"payload": "later", "msg_id": "later", "delay_ms": 86_400_000})).await;
    let (mut consumers, count) = (Vec::new(), Arc::new(AtomicUsize::new(0)));
    let deadline = Instant::now() + 2 * PATIENCE;
    for node in nodes.clone() {
        let count = count.clone();
        consumers.push(tokio::spawn(async move {
            let mut done = Vec::new();
            while count.load(Ordering::SeqCst) < 600 && Instant::now() < deadline {
                let message = node.ask("receive", json!({"timeout_ms": 1000, "visibility_ms": 600_000})).await["message"].clone();
                if message != Value::Null {
                    node.ask("ack", json!({"msg_id": message["msg_id"]})).await;
                    done.extend(message["payload"]["n"].as_u64());
                    count.fetch_add(1, Ordering::SeqCst);
                }
            }
            done
        }));
    }
    for number in 0..600 {
        nodes[usize::try_from(number % 3).unwrap()].send(number).await;
    }
    let mut done = Vec::new();
    for consumer in consumers {
        done.extend(consumer.await.unwrap());
    }
    done.sort_unstable();
    assert_eq!(done, (0..600).collect::<Vec<_>>());
    let late = place.node().await;
    for node in nodes.iter().chain([&late]) {
        assert_eq!((node.status("ready").await, node.status("delayed").await, node.status("in_flight").await), (0, 1, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_kafka_are_encrypted_and_need_their_password() {
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let ca_file = directory.path().join("ca.pem");
    std::fs::write(&ca_file, own.cert.pem()).unwrap();
    let server = servers::Kafka::start_encrypted(&own.cert.pem(), &own.signing_key.serialize_pem()).unwrap();
    let (bootstrap, prefix) = (vec![server.encrypted_url().unwrap()], "plexspaces".to_owned());
    let login = Some(kafka::Login::new("plex", servers::Kafka::PASSWORD));
    let config = kafka::Config { bootstrap, prefix, replicas: -1, tls: true, ca_file: Some(ca_file), login };
    let channel = ActorId::new(Name::default_scope(), Name::default_scope(), name("plexspaces.channels"), Key::new("work").unwrap());
    let send = async |config: &kafka::Config| {
        let payload = Payload::from_value(&json!({"payload": 1, "msg_id": "m"}));
        let request = BrokerRequest { operation: "send", payload: &payload, sender: None, idempotency_key: None };
        plexspaces_actor::Broker::ask(&Kafka::open(config).unwrap(), &channel, request).await
    };
    eventually("who has the password is let in", async || send(&config).await.is_ok()).await;
    assert!(!format!("{config:?}").contains(servers::Kafka::PASSWORD));
    for (wrong, why) in [
        (kafka::Config { login: Some(kafka::Login::new("plex", "wr0ng")), ..config.clone() }, "Authentication failed"),
        (kafka::Config { ca_file: None, ..config.clone() }, "UnknownIssuer"),
    ] {
        eventually(&format!("it is told that {why:?}"), async || {
            let failure = send(&wrong).await.unwrap_err();
            assert_eq!(failure.code.name(), "unavailable", "{failure}");
            assert!(!failure.message.contains("wr0ng"), "{failure}");
            failure.message.contains(why)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_at_kafka_are_cut() {
    let server = servers::Kafka::start().unwrap();
    let place = Place::at_kafka(&server.url(), "work");
    let node = place.node().await;
    node.ask("publish", json!({"payload": {"n": 1}})).await;
    for round in 0..520 {
        let subscriber = json!({"subscriber": format!("s{round}")});
        node.ask("subscribe", subscriber.clone()).await;
        node.ask("unsubscribe", subscriber).await;
    }
    node.ask("subscribe", json!({"subscriber": "stays"})).await;
    let first = || server.offsets("plexspaces.places.default.default.work").map_or(0, |(first, _)| first);
    eventually("what is not needed is gone", async || first() >= 1000).await;
    let late = place.node().await;
    assert_eq!((node.status("subscribers").await, late.status("subscribers").await), (1, 1));
    assert_eq!(late.ask("next", json!({"subscriber": "stays"})).await["message"]["payload"]["n"], json!(1));
    assert_eq!(node.ask("next", json!({"subscriber": "stays"})).await["message"], Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_waits_long_at_kafka_is_written_again() {
    let server = servers::Kafka::start().unwrap();
    let place = Place::at_kafka(&server.url(), "work");
    let node = place.node().await;
    node.ask("send", json!({"payload": "old", "msg_id": "old"})).await;
    let given = node.receive().await;
    node.ask("nack", json!({"msg_id": "old"})).await;
    // What is sent again while it waits is dropped, and stays in the log for a while.
    let sending: Vec<_> = (0..100)
        .map(|_| {
            let node = node.clone();
            tokio::spawn(async move {
                for _ in 0..201 {
                    node.ask("send", json!({"payload": "old", "msg_id": "old"})).await;
                }
            })
        })
        .collect();
    for sending in sending {
        sending.await.unwrap();
    }
    let next = || server.offsets("plexspaces.queue.default.default.work").map_or(0, |(_, next)| next);
    eventually("it is written again", async || next() > 20_103).await;
    let late = place.node().await;
    assert_eq!((node.status("ready").await, late.status("ready").await), (1, 1));
    let again = late.receive().await;
    assert_eq!((again["payload"].clone(), again["delivery_count"].clone()), (given["payload"].clone(), json!(2)));
    node.ask("ack", json!({"msg_id": "old"})).await;
    assert_eq!((node.poll().await, late.poll().await), (Value::Null, Value::Null));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_other_programs_write_into_a_topic_of_kafka_is_published() {
    let server = servers::Kafka::start().unwrap();
    let node = Place::at_kafka(&server.url(), "work").node().await;
    node.ask("publish", json!({"payload": {"n": 1}, "msg_id": "ours"})).await;
    let message = r#"{"msg_id":"theirs","msg_type":"job","payload":{"n":2},"timestamp":1700000000000}"#;
    server.produce("plexspaces.topic.default.default.work", &["no message", message]).unwrap();
    let next = async || node.ask("next", json!({"subscriber": "s", "timeout_ms": 60_000})).await["message"].clone();
    assert_eq!((next().await["msg_id"].clone(), next().await["msg_id"].clone()), (json!("ours"), json!("theirs")));
}

fn name(text: &str) -> Name {
    Name::new("name", text).unwrap()
}

fn actor(key: &str) -> ActorId {
    ActorId::new(Name::default_scope(), Name::default_scope(), name("worker"), Key::new(key).unwrap())
}
