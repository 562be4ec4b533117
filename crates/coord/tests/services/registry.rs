//! The registry.

use serde_json::{Value, json};

use crate::support::{Node, eventually};

#[tokio::test]
async fn a_name_stands_for_one_target_until_it_is_unregistered() {
    let node = Node::new("registry");
    let entry = json!({"name": "printer", "target": "default/printer/1", "labels": {"floor": "2"}, "metadata": {"dpi": 600}});
    node.ask("register", entry.clone()).await;
    node.ask("register", entry).await;
    let (code, field, message) = node.refused("register", json!({"name": "printer", "target": "other"})).await;
    assert_eq!((code, field.as_deref()), ("conflict", Some("name")));
    assert!(message.contains("default/printer/1"), "{message}");
    let node = node.restart();
    let found = node.ask("lookup", json!({"name": "printer"})).await["entry"].clone();
    assert_eq!((found["target"].clone(), found["metadata"]["dpi"].clone()), (json!("default/printer/1"), json!(600)));
    assert_eq!(node.ask("unregister", json!({"name": "printer"})).await, json!({"unregistered": true}));
    assert_eq!(node.ask("unregister", json!({"name": "printer"})).await, json!({"unregistered": false}));
    assert_eq!(node.ask("lookup", json!({"name": "printer"})).await["entry"], Value::Null);
    assert_eq!(node.refused("register", json!({"name": "printer"})).await.1.as_deref(), Some("target"));
}

#[tokio::test]
async fn an_entry_that_is_not_renewed_goes() {
    let node = Node::new("registry");
    node.ask("register", json!({"name": "a", "target": "x", "ttl_ms": 2000})).await;
    node.ask("register", json!({"name": "b", "target": "x", "ttl_ms": 2000})).await;
    assert_eq!(node.ask("renew", json!({"name": "b", "ttl_ms": 60_000})).await, json!({"renewed": true}));
    eventually("it is gone", async || node.ask("lookup", json!({"name": "a"})).await["entry"].is_null()).await;
    assert!(node.ask("lookup", json!({"name": "b"})).await["entry"].is_object());
    assert_eq!(node.ask("renew", json!({"name": "a", "ttl_ms": 1})).await, json!({"renewed": false}));
    node.ask("register", json!({"name": "a", "target": "another"})).await;
}

#[tokio::test]
async fn entries_are_found_by_labels_and_health() {
    let node = Node::new("registry");
    for (name, zone) in [("a", "1"), ("b", "2"), ("c", "1")] {
        node.ask("register", json!({"name": name, "target": name, "labels": {"zone": zone, "kind": "worker"}})).await;
    }
    node.ask("renew", json!({"name": "c", "healthy": false})).await;
    let names = async |arguments: Value| {
        let found = node.ask("find", arguments).await;
        found["entries"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect::<String>()
    };
    assert_eq!(names(json!({"labels": {"kind": "worker"}})).await, "abc");
    assert_eq!(names(json!({"labels": {"kind": "worker", "zone": "1"}})).await, "ac");
    assert_eq!(names(json!({"labels": {"zone": "1"}, "healthy": true})).await, "a");
    assert_eq!(names(json!({"limit": 1, "after": "a"})).await, "b");
}
