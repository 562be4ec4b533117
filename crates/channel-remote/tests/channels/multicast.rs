//! Topics over UDP, among nodes of this machine.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use plexspaces_channel_remote::{Udp, UdpConfig};
use plexspaces_types::Code;
use serde_json::{Value, json};
use socket2::{Domain, Protocol, Socket, Type};

use crate::support::{Node, Place, eventually, udp};

async fn subscribed(config: UdpConfig) -> Node {
    let node = Place::at_udp(config, "prices").node().await;
    node.ask("subscribe", json!({"subscriber": "s"})).await;
    node
}

/// The next message's payload, if one comes within a time.
async fn heard(node: &Node, timeout_ms: u64) -> Value {
    node.ask("next", json!({"subscriber": "s", "timeout_ms": timeout_ms})).await["message"]["payload"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_of_a_cluster_with_its_secret_hear_each_other_and_nobody_else() {
    let config = udp();
    let (one, other) = (subscribed(config.clone()).await, subscribed(config.clone()).await);
    let strangers = [
        subscribed(UdpConfig { cluster_name: "other".to_owned(), ..config.clone() }).await,
        subscribed(UdpConfig { secret: Some("another secret of a test".to_owned()), ..config.clone() }).await,
        subscribed(UdpConfig { secret: None, ..config }).await,
    ];
    for stranger in &strangers {
        stranger.ask("publish", json!({"payload": "noise"})).await;
    }
    one.ask("publish", json!({"payload": 1})).await;
    assert_eq!((heard(&one, 0).await, heard(&other, 60_000).await), (json!(1), json!(1)));
    other.ask("publish", json!({"payload": 2})).await;
    assert_eq!((heard(&other, 0).await, heard(&one, 60_000).await), (json!(2), json!(2)));
    assert_eq!((heard(&one, 200).await, heard(&other, 0).await), (Value::Null, Value::Null), "each once, and nothing else");
    for stranger in &strangers {
        assert_eq!((heard(stranger, 0).await, heard(stranger, 200).await), (json!("noise"), Value::Null), "its own");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_almost_a_datagram_arrives_and_a_larger_one_is_refused_with_its_bounds() {
    let config = udp();
    let (one, other) = (subscribed(config.clone()).await, subscribed(config).await);
    one.ask("publish", json!({"payload": "x".repeat(65_000)})).await;
    assert_eq!(heard(&other, 60_000).await.as_str().unwrap().len(), 65_000);
    let (code, field, message) = one.refused("publish", json!({"payload": "x".repeat(65_507)})).await;
    assert_eq!((code, field.as_deref()), ("payload_too_large", Some("payload")), "{message}");
    assert!(message.contains("a datagram holds 65507"), "{message}");
    assert_eq!(heard(&one, 0).await.as_str().unwrap().len(), 65_000);
    assert_eq!(heard(&one, 0).await, Value::Null, "what is refused reaches nobody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_slow_subscriber_loses_is_counted() {
    let node = subscribed(udp()).await;
    for number in 1..=1030 {
        node.ask("publish", json!({"payload": number})).await;
    }
    assert_eq!((node.status("dropped").await, node.status("published").await), (6, 1024));
    assert_eq!(heard(&node, 0).await, json!(7));
    assert_eq!(node.status("dropped").await, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_datagram_that_is_sent_again_or_changed_is_not_taken() {
    let config = udp();
    let listener = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
    listener.set_reuse_address(true).unwrap();
    listener.bind(&std::net::SocketAddrV4::new(config.group, config.port).into()).unwrap();
    listener.join_multicast_v4(&config.group, &Ipv4Addr::LOCALHOST).unwrap();
    listener.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let listener: UdpSocket = listener.into();
    let sender = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
    sender.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
    let sender: UdpSocket = sender.into();

    let (one, other) = (subscribed(config.clone()).await, subscribed(config.clone()).await);
    one.ask("publish", json!({"payload": "1000 EUR"})).await;
    assert_eq!(heard(&other, 60_000).await, json!("1000 EUR"));
    let mut bytes = vec![0; 65_536];
    let length = listener.recv(&mut bytes).unwrap();
    let text = String::from_utf8(bytes[..length].to_vec()).unwrap();
    let (line, body) = text.split_once('\n').unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    assert!(line.starts_with("PLEX1 lab ") && !text.contains("secret"), "{line}");
    assert_eq!((body["channel"].clone(), body["message"]["payload"].clone()), (json!("prices"), json!("1000 EUR")));
    let unsealed = format!("PLEX1 lab -\n{body}");
    let id = body["message"]["msg_id"].as_str().unwrap();
    // One that starts later knows nothing of what was before, and takes nothing of it.
    let sent = UNIX_EPOCH + Duration::from_millis(body["message"]["timestamp"].as_u64().unwrap());
    eventually("the clock goes on", async || SystemTime::now() >= sent + Duration::from_millis(1)).await;
    let late = subscribed(config.clone()).await;
    for forged in
        [text.clone(), text.replace("1000 EUR", "9000 EUR"), text.replace(id, "another"), unsealed, "noise".to_owned(), String::new()]
    {
        sender.send_to(forged.as_bytes(), (config.group, config.port)).unwrap();
    }
    one.ask("publish", json!({"payload": "the next"})).await;
    for node in [&other, &late] {
        assert_eq!(heard(node, 60_000).await, json!("the next"), "what was forged came before it");
    }
    assert_eq!(heard(&one, 0).await, json!("1000 EUR"));
    assert_eq!(heard(&one, 0).await, json!("the next"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_on_udp_has_no_queue_and_says_what_has_one() {
    let node = subscribed(udp()).await;
    let ack = || json!({"msg_id": "m"});
    let queue = [
        ("send", json!({"payload": 1})),
        ("receive", json!({})),
        ("ack", ack()),
        ("nack", ack()),
        ("dead_letters", json!({})),
        ("redrive", json!({})),
    ];
    for (operation, arguments) in queue {
        let (code, field, message) = node.refused(operation, arguments).await;
        assert_eq!((code, field.as_deref()), ("invalid_argument", Some("channel")), "{operation}: {message}");
        let wanted =
            format!("the channel \"prices\" is on udp, which has no queue: {operation} needs a channel in the store or on a broker");
        assert!(message.starts_with(&wanted), "{message}");
    }
}

#[tokio::test]
async fn a_group_that_cannot_be_joined_is_told_with_the_interface() {
    // An address for documentation, which no machine has.
    let refused = Udp::open(&UdpConfig { interface: Some(Ipv4Addr::new(203, 0, 113, 1)), ..udp() }).err().unwrap();
    assert_eq!(refused.code, Code::InvalidConfig, "{refused}");
    assert!(refused.message.contains("over the interface 203.0.113.1") && !refused.message.contains("secret"), "{refused}");
    for wrong in [UdpConfig { group: Ipv4Addr::LOCALHOST, ..udp() }, UdpConfig { port: 0, ..udp() }] {
        assert_eq!(Udp::open(&wrong).err().unwrap().code, Code::InvalidArgument);
    }
    assert!(!format!("{:?}", udp()).contains("the secret of a test"));
}
