//! Changes under a condition, and what conflicts say.

use plexspaces_client::Error;
use plexspaces_types::Code;
use serde_json::{Value, json};

use crate::support::{Answer, Node};

/// What a conflict is with, and the version that is there.
#[track_caller]
fn conflict(answer: &Answer) -> (Value, Value) {
    assert_eq!((answer.status.as_u16(), answer.reason().as_str()), (409, "conflict"), "{answer:?}");
    let body = answer.json();
    (body["resource"].clone(), body["current_version"].clone())
}

/// The entity tag that a path is shown with, and the version in it.
async fn tag(node: &Node, path: &str) -> (String, Value) {
    let shown = node.get(path).await;
    let tag = shown.header("etag").to_owned();
    let version = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).unwrap_or_else(|| panic!("{path}: {shown:?}"));
    (tag.clone(), version.into())
}

#[tokio::test]
async fn a_condition_is_met_or_refused_and_never_overlooked() {
    let node = Node::start().await;
    for (resource, one, two) in [("kv/k", r#"{"value":"1"}"#, r#"{"value":"2"}"#), ("blobs/b", "1", "2")] {
        let path = format!("/api/v1/{resource}");
        let put = async |header: &str, value: &str, body: &'static str| node.send("PUT", &path, &[(header, value)], body).await;
        let delete = async |value: &str| node.send("DELETE", &path, &[("if-match", value)], "").await;
        let none = (json!(resource), Value::Null);
        for missing in ["*", "\"1\""] {
            assert_eq!(conflict(&put("if-match", missing, one).await), none, "{missing}");
        }
        assert_eq!(put("if-none-match", "*", one).await.status, 200);
        let (first, version) = tag(&node, &path).await;
        let now = (json!(resource), version);
        assert_eq!(conflict(&put("if-none-match", "*", two).await), now);
        assert_eq!(conflict(&put("if-match", "\"0\"", two).await), now);
        for wrong in ["W/\"1\"", "\"1\", \"2\"", "1", "\"\"", ""] {
            let refused = put("if-match", wrong, two).await;
            assert_eq!((refused.reason().as_str(), refused.field().as_str()), ("invalid_argument", "if-match"), "{wrong}");
        }
        assert_eq!(put("if-none-match", &first, two).await.field(), "if-none-match");
        let both = node.send("PUT", &path, &[("if-match", &first), ("if-none-match", "*")], two).await;
        assert_eq!(both.reason(), "invalid_argument");
        assert_eq!(tag(&node, &path).await.0, first, "nothing was changed");

        assert_eq!(put("if-match", &first, two).await.status, 200);
        let (second, version) = tag(&node, &path).await;
        assert_ne!(second, first);
        assert_eq!(conflict(&delete(&first).await), (json!(resource), version));
        assert_eq!(put("if-match", "*", one).await.status, 200);
        assert_eq!(delete("*").await.status, 200);
        assert_eq!(conflict(&delete("*").await), none);
    }
    for (method, path) in [
        ("POST", "/api/v1/actors/mirror"),
        ("GET", "/api/v1/actors/mirror"),
        ("POST", "/api/v1/kv/k:cas"),
        ("GET", "/api/v1/kv/k"),
        ("GET", "/api/v1/blobs/b"),
        ("DELETE", "/api/v1/channels/c/subscribers/s"),
    ] {
        let refused = node.send(method, path, &[("if-match", "\"1\"")], "").await;
        assert_eq!((refused.reason().as_str(), refused.field().as_str()), ("invalid_argument", "if-match"), "{method} {path}");
    }
}

#[tokio::test]
async fn an_application_is_replaced_only_as_it_was_seen() {
    let node = Node::start().await;
    let path = "/api/v1/applications/a";
    let deploy = async |version: &str, condition: &str| node.deploy(&[("app", "a"), ("version", version), ("if_match", condition)]).await;
    assert_eq!(conflict(&deploy("1", "*").await), (json!("applications/default/a"), Value::Null));
    let created = deploy("1", "").await;
    let (first, version) = tag(&node, path).await;
    assert_eq!((created.status.as_u16(), created.header("etag"), &created.json()["etag"]), (201, first.as_str(), &version));
    for stale in ["", "0"] {
        assert_eq!(conflict(&deploy("2", stale).await), (json!("applications/default/a"), version.clone()));
    }
    assert_eq!(deploy("2", version.as_str().unwrap()).await.status, 200);
    let (second, version) = tag(&node, path).await;
    let undeploy = async |tag: &str| node.send("DELETE", path, &[("if-match", tag)], "").await;
    assert_eq!(conflict(&undeploy(&first).await), (json!("applications/default/a"), version));
    assert_eq!(undeploy(&second).await.status, 200);
    assert_eq!(undeploy("*").await.status, 404);
}

#[tokio::test]
async fn a_conflict_names_what_it_is_with() {
    let node = Node::start().await;
    let (key, other) = ("0123456789abcdef", "fedcba9876543210");
    let header = [("idempotency-key", key)];
    let (kv, registry) = ("/api/v1/kv/k", "/api/v1/registry/n");
    let ledger = "/api/v1/actors/ledger/invoke?op=note&id=7";
    for (method, path, first, second, resource) in [
        ("PUT", kv, r#"{"value":"1"}"#, r#"{"value":"2"}"#, "kv/k"),
        ("POST", ledger, r#"{"a":1}"#, r#"{"a":2}"#, "actors/default/ledger/7"),
        ("PUT", registry, r#"{"target":"a"}"#, r#"{"target":"b"}"#, "registry/n"),
    ] {
        let done = node.send(method, path, &header, first).await;
        assert_eq!(done.status, 200, "{done:?}");
        let again = node.send(method, path, &header, second).await;
        assert_eq!(conflict(&again), (json!(resource), Value::Null));
    }
    assert_eq!(node.deploy(&[("app", "a"), ("client_token", other)]).await.status, 201);
    let mismatch = node.deploy(&[("app", "b"), ("client_token", other)]).await;
    assert_eq!(conflict(&mismatch), (json!("applications/default/a"), tag(&node, "/api/v1/applications/a").await.1));

    // The same over gRPC, with any characters.
    let client = node.client().await;
    let request = json!({"key": "\u{e4} 100%", "value": "1", "if_match": ""});
    client.call("KvService.PutPair", request.clone()).await.unwrap();
    let Err(Error::Node { failure, .. }) = client.call("KvService.PutPair", request).await else { panic!("it was set twice") };
    let resource = failure.resource.unwrap();
    assert_eq!((failure.code, resource.name.as_str(), resource.current_version.as_deref()), (Code::Conflict, "kv/\u{e4} 100%", Some("2")));
}

#[tokio::test]
async fn a_workflow_that_is_started_twice_with_its_token_is_one() {
    let node = Node::start().await;
    let start = async |key: &str, input: u64| {
        let body = json!({"actor_type": "flow", "input": {"n": input}}).to_string();
        node.send("POST", "/api/v1/workflows", &[("idempotency-key", key)], body).await
    };
    let (first, again) = (start("0123456789abcdef", 1).await, start("0123456789abcdef", 1).await);
    let id = first.json()["workflow_id"].as_str().unwrap().to_owned();
    assert_eq!((first.status.as_u16(), again.status.as_u16(), &again.json()["workflow_id"]), (202, 202, &json!(id)), "{again:?}");
    assert_eq!(conflict(&start("0123456789abcdef", 2).await), (json!(format!("workflows/default/flow/{id}")), Value::Null));
    assert_ne!(start("fedcba9876543210", 1).await.json()["workflow_id"], json!(id));
    assert_eq!(start("short", 1).await.field(), "Idempotency-Key");
}
