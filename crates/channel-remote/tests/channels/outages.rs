//! What happens when a broker is killed, stopped, held and absent.

use std::time::{Duration, Instant};

use anyhow::Result;
use plexspaces_testkit::servers;
use serde_json::{Value, json};

use crate::support::{Place, eventually, surely_beside};

/// A broker of its own.
trait Server: Sized {
    /// Whether acknowledgements of its last seconds are gone when it is killed.
    const FORGETS: bool;
    fn start() -> Self;
    fn place(&self) -> Place;
    fn again(&mut self) -> Result<()>;
    fn stop(&mut self);
    fn kill(&mut self) -> Result<()>;
    fn hold(&self, held: bool) -> Result<()>;
}

macro_rules! server {
    ($server:ident, $place:ident, $forgets:literal) => {
        impl Server for servers::$server {
            const FORGETS: bool = $forgets;
            fn start() -> Self {
                Self::start().unwrap()
            }
            fn place(&self) -> Place {
                Place::$place(&self.url(), "work")
            }
            fn again(&mut self) -> Result<()> {
                self.again()
            }
            fn stop(&mut self) {
                self.stop();
            }
            fn kill(&mut self) -> Result<()> {
                self.kill()
            }
            fn hold(&self, held: bool) -> Result<()> {
                self.hold(held)
            }
        }
    };
}
server!(Kafka, at_kafka, false);
server!(Nats, at_nats, true);
server!(Redis, at_redis, false);
server!(Sqs, at_sqs, false);

macro_rules! outages {
    ($($place:ident: $server:ident),*; $($case:ident,)*) => { outages!(@ [$($place: $server),*] ($($case,)*)); };
    (@ [$($place:ident: $server:ident),*] $cases:tt) => { $( mod $place { outages!(# $server $cases); } )* };
    (# $server:ident ($($case:ident,)*)) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            super::$case::<plexspaces_testkit::servers::$server>().await;
        }
    )* };
}

outages!(kafka: Kafka, nats: Nats, redis: Redis, sqs: Sqs;
    what_was_acknowledged_survives_a_broker_that_is_killed_and_one_that_is_stopped,
    a_broker_that_is_away_is_unavailable_by_name_and_in_time,
    who_waits_is_given_what_comes_after_the_broker_is_back,
);

async fn what_was_acknowledged_survives_a_broker_that_is_killed_and_one_that_is_stopped<S: Server>() {
    let mut server = S::start();
    let place = server.place();
    let node = place.node().await;
    let (mut sent, mut done) = (Vec::new(), Vec::new());
    for number in 0..60_u64 {
        match number {
            15 => server.kill().unwrap(),
            35 => server.stop(),
            _ => {}
        }
        if number == 15 || number == 35 {
            let failure = node.try_ask("send", json!({"payload": 0, "msg_id": "lost"})).await.unwrap_err();
            assert_eq!(failure.code.name(), "unavailable", "{failure}");
            server.again().unwrap();
        }
        node.surely("send", json!({"payload": number, "msg_id": format!("m{number}")})).await;
        if place.has_topics() {
            node.surely("publish", json!({"payload": number, "msg_id": format!("p{number}")})).await;
        }
        sent.push(number);
        if number % 2 == 0 {
            let message = node.surely("receive", json!({"timeout_ms": 60_000, "visibility_ms": 600_000})).await["message"].clone();
            node.surely("ack", json!({"msg_id": message["msg_id"]})).await;
            done.extend(message["payload"].as_u64());
        }
    }
    // One whose answer was lost may have been given to nobody: it comes when its time is over, which here no test waits for.
    let mut published = if place.has_topics() { Vec::new() } else { sent.clone() };
    while place.has_topics() {
        let key = format!("next {}", published.len());
        let next = node.surely_keyed("next", json!({"subscriber": "s"}), Some(&key)).await;
        let Some(number) = next["message"]["payload"].as_u64() else { break };
        published.push(number);
    }
    published.retain(|number| sent.contains(number));
    assert_eq!(published, sent, "each once, in order");
    let status = node.surely("status", json!({})).await;
    let left = status["ready"].as_u64().unwrap() + status["in_flight"].as_u64().unwrap();
    let lost = u64::from(published.len() < 60);
    let mut distinct = done.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert!(left + distinct.len() as u64 >= 60 - lost, "{status}, {} done", distinct.len());
    let again: Vec<&u64> = distinct.iter().filter(|number| done.iter().filter(|done| done == number).count() > 1).collect();
    let may = |number: &u64| S::FORGETS && *number < 15;
    assert!(again.iter().all(|number| may(number)), "acknowledged, and given out again: {again:?}");
}

async fn a_broker_that_is_away_is_unavailable_by_name_and_in_time<S: Server>() {
    let mut server = S::start();
    let node = server.place().node().await;
    node.send(1).await;
    server.hold(true).unwrap();
    let began = Instant::now();
    let (code, _, message) = node.refused("send", json!({"payload": 2})).await;
    assert_eq!(code, "unavailable", "{message}");
    assert!(message.contains("127.0.0.1:") && !message.contains("s3cret"), "{message}");
    assert!(began.elapsed() < Duration::from_secs(45), "{:?}", began.elapsed());
    server.hold(false).unwrap();
    // The refused one may have arrived, and an answer that gave the first out may be lost: then it comes when its time is over.
    eventually("what was there is given out", async || {
        let reply = node.surely("receive", json!({"timeout_ms": 1000, "visibility_ms": 1000})).await;
        reply["message"]["payload"]["n"] == json!(1)
    })
    .await;
    server.stop();
    eventually("it is noticed", async || node.try_ask("status", json!({})).await.is_err()).await;
    let began = Instant::now();
    let (code, _, message) = node.refused("receive", json!({"timeout_ms": 600_000})).await;
    assert_eq!(code, "unavailable", "{message}");
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    server.again().unwrap();
    node.surely("send", json!({"payload": {"n": 3}})).await;
}

async fn who_waits_is_given_what_comes_after_the_broker_is_back<S: Server>() {
    let mut server = S::start();
    let place = server.place();
    let node = place.node().await;
    if place.has_topics() {
        node.ask("subscribe", json!({"subscriber": "s"})).await;
    }
    server.kill().unwrap();
    server.again().unwrap();
    node.surely("status", json!({})).await;
    let waiting = surely_beside(&node, "receive", json!({"timeout_ms": 60_000, "visibility_ms": 600_000}));
    let listening = place.has_topics().then(|| surely_beside(&node, "next", json!({"subscriber": "s", "timeout_ms": 60_000})));
    tokio::time::sleep(Duration::from_millis(200)).await;
    node.surely("send", json!({"payload": "back", "msg_id": "m"})).await;
    if place.has_topics() {
        node.surely("publish", json!({"payload": "news", "msg_id": "p"})).await;
    }
    assert_eq!(waiting.await.unwrap()["message"]["payload"], json!("back"));
    if let Some(listening) = listening {
        assert_eq!(listening.await.unwrap()["message"]["payload"], json!("news"));
    }
    assert_eq!(node.surely("receive", json!({})).await["message"], Value::Null);
}
