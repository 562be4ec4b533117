//! Process groups, as far as they do without actors; `crates/actor/tests` and the tests of the node have those.

use serde_json::{Value, json};

use crate::support::Node;

#[tokio::test]
async fn a_request_from_outside_names_the_actor() {
    let node = Node::new("groups");
    assert_eq!(node.ask("members", json!({"group": "nobody"})).await, json!({"members": [], "next": null}));
    assert_eq!(node.refused("join", json!({"group": "g"})).await.1.as_deref(), Some("actor"));
    assert_eq!(node.refused("join", json!({"group": "g", "actor": "no identity"})).await.1.as_deref(), Some("actor"));
    assert_eq!(node.refused("join", json!({"group": "", "actor": "default/a/b"})).await.1.as_deref(), Some("group"));
    assert_eq!(node.ask("list", json!({})).await, json!({"groups": [], "next": Value::Null}));
    node.ask("leave", json!({"group": "g", "actor": "default/a/b"})).await;
    node.ask("publish", json!({"group": "g", "payload": {}})).await;
    assert_eq!(node.refused("members", json!({"group": "g", "limit": 0})).await.1.as_deref(), Some("limit"));
}
