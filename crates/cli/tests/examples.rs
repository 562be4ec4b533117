//! The examples on a real node, over HTTP, as their READMEs say.
#![allow(clippy::unwrap_used)]

mod support;

use http::Method;
use serde_json::json;
use support::{Http, Node};

#[tokio::test]
async fn counter() {
    let data = tempfile::tempdir().unwrap();
    let (node, http) = (Node::start(data.path()), Http::new());
    node.deploy_example("counter");
    assert_eq!(http.ask(&node, "default/counter", json!({"op": "increment", "amount": 5})).await.body, json!({"count": 5}));
    let told = http.send(Method::POST, &format!("{}/api/v1/actors/default/counter", node.url), &[], r#"{"action": "increment"}"#).await;
    let told = told.unwrap();
    assert_eq!((told.status, told.body["status"].as_str()), (202, Some("accepted")));
    assert_eq!(http.get(&node, "/api/v1/actors/default/counter").await.body, json!({"count": 6}));
    assert_eq!(http.ask(&node, "default/counter?actor_id=bob", json!({"op": "decrement"})).await.body, json!({"count": -1}));
    assert_eq!(http.ask(&node, "default/counter", json!({"op": "reset"})).await.body, json!({"count": 0}));
}

#[tokio::test]
async fn greeter() {
    let data = tempfile::tempdir().unwrap();
    let (node, http) = (Node::start(data.path()), Http::new());
    node.deploy_example("greeter");
    let reply = http.ask(&node, "default/greeter", json!({"op": "greet", "name": "Ada"})).await;
    assert_eq!(reply.body, json!({"message": "Hello, Ada!", "total": 1}));
    let reply = http.get(&node, "/api/v1/actors/greeter?op=greet&name=Gr%C3%BC%C3%9F").await;
    assert_eq!(reply.body, json!({"message": "Hello, Grüß!", "total": 2}));
}

#[tokio::test]
async fn bank_account_survives_a_kill() {
    let data = tempfile::tempdir().unwrap();
    let (node, http) = (Node::start(data.path()), Http::new());
    node.deploy_example("bank_account");
    for amount in 1..=10 {
        let reply = http.ask(&node, "bank/bank_account?actor_id=alice", json!({"op": "deposit", "amount": amount})).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
    }
    let refused = http.ask(&node, "bank/bank_account?actor_id=alice", json!({"op": "withdraw", "amount": 1000})).await;
    assert_eq!((refused.status, &refused.body["error"]), (200, &json!("insufficient funds")));
    http.ask(&node, "bank/branch", json!({"op": "deposit", "amount": 7})).await;
    node.kill();
    let node = Node::start(data.path());
    let alice = http.ask(&node, "bank/bank_account?actor_id=alice", json!({"op": "replay"})).await;
    assert_eq!(alice.body, json!({"balance": 55, "replayed": 55, "consistent": true}));
    assert_eq!(http.get(&node, "/api/v1/actors/bank/branch").await.body, json!({"balance": 7, "transaction_count": 1}));
}
