//! Messages to actors over HTTP and gRPC.

use std::time::Duration;

use plexspaces_client::{Error, Invoke, Reply};
use plexspaces_types::{Code, Payload};
use serde_json::json;

use crate::support::Node;

const ASK: &str = "/api/v1/actors/mirror/invoke";

#[tokio::test]
async fn every_path_and_verb_reaches_the_actor() {
    let node = Node::start().await;
    for base in ["/api/v1/actors/default/default/mirror", "/api/v1/actors/default/mirror", "/api/v1/actors/mirror"] {
        for (method, suffix, status, operation) in [
            ("GET", "", 200, "get"),
            ("DELETE", "", 200, "delete"),
            ("POST", "", 202, ""),
            ("PUT", "", 202, ""),
            ("PATCH", "", 202, ""),
            ("GET", "/invoke", 200, "get"),
            ("DELETE", "/invoke", 200, "delete"),
            ("POST", "/invoke", 200, ""),
            ("PUT", "/invoke", 200, "update"),
            ("PATCH", "/invoke", 200, "update"),
            ("POST", "?invocation=call", 200, ""),
            ("PUT", "?invocation=ask", 200, "update"),
            ("GET", "?invocation=cast", 202, ""),
            ("DELETE", "/invoke?invocation=tell", 202, ""),
            ("POST", "/invoke?invocation=send", 202, ""),
        ] {
            let path = format!("{base}{suffix}");
            let answer = node.send(method, &path, &[], "").await;
            assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
            assert_eq!(answer.header("cache-control"), "no-store");
            if status == 200 {
                assert_eq!(answer.json()["operation"], operation, "{method} {path}");
                assert_eq!(answer.json()["call"], true);
            } else {
                assert_eq!(answer.json(), json!({ "status": "accepted", "message_id": answer.header("x-request-id") }));
            }
        }
    }
    let reserved = node.get("/api/v1/actors/invoke").await;
    assert_eq!((reserved.reason(), reserved.field()), ("invalid_argument".to_owned(), "actor_type".to_owned()));
}

#[tokio::test]
async fn the_operation_and_the_payload_come_from_where_the_caller_put_them() {
    let node = Node::start().await;
    for (method, query, body, operation, payload) in [
        ("POST", "?msg_type=m&op=o", r#"{"op":"b"}"#, "m", json!({ "op": "b" })),
        ("POST", "?action=a", r#"{"op":"b"}"#, "a", json!({ "op": "b" })),
        ("POST", "", r#"{"action":"c","op":"b"}"#, "b", json!({ "op": "b", "action": "c" })),
        ("POST", "", r#"{"action":"c"}"#, "c", json!({ "action": "c" })),
        ("PUT", "", "[1]", "update", json!({ "value": [1] })),
        ("PATCH", "?op=p", "\"x\"", "p", json!({ "value": "x" })),
        ("GET", "?op=o&a=1&b=x&c=true&d=%22", "", "o", json!({ "a": 1, "b": "x", "c": true, "d": "\"" })),
        ("GET", "?operation=x", "", "get", json!({ "operation": "x" })),
        ("DELETE", "?n=null", "", "delete", json!({ "n": null })),
    ] {
        let answer = node.send(method, &format!("{ASK}{query}"), &[], body).await;
        assert_eq!(answer.status, 200, "{method} {query} {body}: {answer:?}");
        assert_eq!((&answer.json()["operation"], &answer.json()["payload"]), (&json!(operation), &payload), "{method} {query} {body}");
    }
    // curl -d without a header.
    let form = node.send("POST", ASK, &[("content-type", "application/x-www-form-urlencoded")], r#"{"op":"b"}"#).await;
    assert_eq!(form.json()["operation"], "b");
    let bytes = node.send("POST", &format!("{ASK}?op=x"), &[("content-type", "application/octet-stream")], &b"\xff{"[..]).await;
    assert_eq!(bytes.json()["payload"], json!({ "bytes": 2 }));
    let verbatim = node.post(&format!("{ASK}?op=verbatim"), r#" { "n" : 1.00, "n2":12345678901234567890 }"#).await;
    assert_eq!(verbatim.body, r#" { "n" : 1.00, "n2":12345678901234567890 }"#);
}

#[tokio::test]
async fn a_message_without_operation_is_a_run_or_for_a_wildcard_or_refused() {
    let node = Node::start().await;
    for (method, path, body, operation) in [
        ("POST", "flow/invoke", "", "workflow_run"),
        ("POST", "flow?invocation=call", r#"{"n":1}"#, "workflow_run"),
        ("POST", "mirror/invoke", "{}", ""),
        ("POST", "scale/invoke?op=weigh", "{}", "weigh"),
        ("GET", "flow", "", "get"),
    ] {
        let answer = node.send(method, &format!("/api/v1/actors/{path}"), &[], body).await;
        assert_eq!(answer.status, 200, "{method} {path}: {answer:?}");
        assert_eq!(answer.json()["operation"], operation, "{method} {path}");
    }
    for path in ["scale", "scale/invoke", "scale?invocation=call", "scale?id=7", "default/default/scale"] {
        let refused = node.post(&format!("/api/v1/actors/{path}"), r#"{"grams":5}"#).await;
        assert_eq!((refused.reason(), refused.field()), ("invalid_argument".to_owned(), "operation".to_owned()), "{path}: {refused:?}");
        assert_eq!(refused.json()["code"], "ValidationException");
        let expected = "the message names no operation, and scale takes none without; it has weigh";
        assert_eq!(refused.json()["message"], expected, "{path}");
    }
    assert_eq!(node.post("/api/v1/actors/nobody", "{}").await.reason(), "not_found");
    // The same over gRPC.
    let client = node.client().await;
    let to = |name: &str, payload: &str| Invoke { actor_type: name.to_owned(), ..invoke("", Payload::Json(payload.to_owned())) };
    for (name, payload, operation) in
        [("flow", "{}", "workflow_run"), ("mirror", "{}", ""), ("scale", r#"{"op":"weigh"}"#, "weigh"), ("scale", r#"{"action":"a"}"#, "a")]
    {
        let Reply::Payload(Payload::Json(reply)) = client.invoke(to(name, payload)).await.unwrap() else { panic!("expected JSON") };
        assert!(reply.contains(&format!(r#""operation":"{operation}""#)), "{name} {payload}: {reply}");
    }
    assert_eq!(client.invoke(to("scale", "{}")).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn replies_are_unwrapped() {
    let node = Node::start().await;
    let null = node.get("/api/v1/actors/mirror?op=null").await;
    assert_eq!((null.status.as_u16(), null.body.as_ref()), (200, &b"{}"[..]));
    let bytes = node.get("/api/v1/actors/mirror?op=bytes").await;
    assert_eq!((bytes.header("content-type"), bytes.body.as_ref()), ("application/octet-stream", &b"\0\xff"[..]));
}

#[tokio::test]
async fn one_instance_is_addressed_by_its_id() {
    let node = Node::start().await;
    for (query, key) in [("?actor_id=alice%40example.com", "alice@example.com"), ("?id=7", "7"), ("?id=7&actor_id=7", "7"), ("", "mirror")]
    {
        assert_eq!(node.get(&format!("/api/v1/actors/mirror{query}")).await.json()["key"], key, "{query}");
    }
    assert_eq!(node.get("/api/v1/actors/mirror?id=a%2Fb").await.field(), "actor_id");
}

#[tokio::test]
async fn a_durable_actor_answers_a_repeated_key_with_the_stored_reply() {
    let node = Node::start().await;
    let key = [("idempotency-key", "0123456789abcdef")];
    let path = "/api/v1/actors/ledger/invoke?op=add";
    let first = node.send("POST", path, &key, r#"{"n":1}"#).await.json();
    assert_eq!(node.send("POST", path, &key, r#"{"n":1}"#).await.json(), first);
    assert_eq!(node.post(path, "{}").await.json()["messages"], 2);
    let cast = node.send("POST", "/api/v1/actors/ledger?op=add", &[("idempotency-key", "0123456789abcdeF")], "").await;
    assert_eq!(cast.json()["message_id"], "0123456789abcdeF");
    for bad in ["short", "ä23456789abcdef0123", &"x".repeat(129)] {
        let answer = node.send("POST", path, &[("idempotency-key", bad)], "").await;
        assert_eq!((answer.reason(), answer.field()), ("invalid_argument".to_owned(), "Idempotency-Key".to_owned()), "{bad}");
    }
}

pub(crate) fn invoke(operation: &str, payload: Payload) -> Invoke {
    Invoke {
        tenant: String::new(),
        namespace: String::new(),
        actor_type: "mirror".to_owned(),
        actor_id: None,
        operation: operation.to_owned(),
        payload,
        call: true,
        timeout: None,
        idempotency_key: None,
    }
}

#[tokio::test]
async fn grpc_does_the_same() {
    let node = Node::start().await;
    let client = node.client().await;
    let json = |text: &str| Payload::Json(text.to_owned());
    let text = r#"{"a": 1}"#;
    assert_eq!(client.invoke(invoke("verbatim", json(text))).await.unwrap(), Reply::Payload(json(text)));
    assert_eq!(client.invoke(invoke("verbatim", json("[1]"))).await.unwrap(), Reply::Payload(json(r#"{"value":[1]}"#)));
    assert_eq!(client.invoke(invoke("null", json(""))).await.unwrap(), Reply::Payload(json("null")));
    let bytes = Payload::Bytes((&b"\0\xff"[..]).into());
    assert_eq!(client.invoke(invoke("verbatim", bytes.clone())).await.unwrap(), Reply::Payload(bytes));
    let cast = Invoke { call: false, idempotency_key: Some("0123456789abcdef".to_owned()), ..invoke("x", Payload::empty()) };
    assert_eq!(client.invoke(cast).await.unwrap(), Reply::Accepted { message_id: "0123456789abcdef".to_owned() });
    let other = Invoke { actor_id: Some("alice".to_owned()), ..invoke("x", Payload::empty()) };
    let Reply::Payload(Payload::Json(reply)) = client.invoke(other).await.unwrap() else { panic!("expected JSON") };
    assert!(reply.contains(r#""key":"alice""#), "{reply}");
}

#[tokio::test]
async fn grpc_fails_as_http_does() {
    let node = Node::start().await;
    let client = node.client().await;
    let ask = |query: &str| format!("{ASK}?{query}");
    for (path, invoke) in [
        (ask("op=unknown"), invoke("unknown", Payload::empty())),
        (ask("op=fail"), invoke("fail", Payload::empty())),
        (
            ask("op=never&timeout_ms=20&id=stuck"),
            Invoke { actor_id: Some("stuck".to_owned()), timeout: Some(Duration::from_millis(20)), ..invoke("never", Payload::empty()) },
        ),
        (ask("timeout_ms=0"), Invoke { timeout: Some(Duration::ZERO), ..invoke("", Payload::empty()) }),
        (ask("id=a/b"), Invoke { actor_id: Some("a/b".to_owned()), ..invoke("", Payload::empty()) }),
        ("/api/v1/actors/nobody/invoke".to_owned(), Invoke { actor_type: "nobody".to_owned(), ..invoke("", Payload::empty()) }),
        ("/api/v1/actors/a%20b/mirror/invoke".to_owned(), Invoke { namespace: "a b".to_owned(), ..invoke("", Payload::empty()) }),
        ("/api/v1/actors/a%20b/default/mirror".to_owned(), Invoke { tenant: "a b".to_owned(), ..invoke("", Payload::empty()) }),
    ] {
        let http = node.get(&path).await;
        let Err(Error::Node { failure, request_id }) = client.invoke(invoke).await else { panic!("expected {path} to fail") };
        assert_eq!(http.reason(), failure.code.name(), "{path}");
        let body = http.json();
        assert_eq!(body["message"], failure.message, "{path}");
        assert_eq!(http.field(), failure.field.clone().unwrap_or_default(), "{path}");
        assert_eq!(body["retry_after_seconds"].as_u64(), failure.retry_after.map(|wait| wait.as_secs()), "{path}");
        assert!(request_id.is_some_and(|id| id.len() == 32 && id != body["request_id"]));
        assert!(!http.body.windows(6).any(|text| text == b"secret"), "{path} leaks its trace");
    }
    let broken = client.invoke(invoke("x", Payload::Json("{".to_owned()))).await.unwrap_err();
    assert!(matches!(&broken, Error::Node { failure, .. } if failure.field.as_deref() == Some("payload.data")), "{broken:?}");
    assert_eq!(broken.code(), Code::InvalidArgument);
}
