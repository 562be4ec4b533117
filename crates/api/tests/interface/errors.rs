//! One shape for every error, whatever goes wrong.

use std::sync::Arc;

use plexspaces_api::{AuthConfig, Limits};

use crate::support::{Node, TOKEN};

#[tokio::test]
async fn every_error_has_the_same_shape() {
    let node = Node::start_with(|setup| {
        setup.api.limits = Limits { payload_bytes: 1000, request_bytes: 1000, ..Limits::default() };
        setup.metrics = Arc::new(|| panic!("a fault of the node"));
    })
    .await;
    let large = "x".repeat(2000);
    for (method, path, body, reason, field) in [
        ("GET", "/", "", "not_found", ""),
        ("GET", "/api/v2/system", "", "not_found", ""),
        ("GET", "/api/v1/actors/a/b/c/d", "", "not_found", ""),
        ("DELETE", "/api/v1/deploy", "", "method_not_allowed", ""),
        ("HEAD", "/api/v1/nothing", "", "", ""),
        ("BREW", "/api/v1/system", "", "method_not_allowed", ""),
        ("POST", "/api/v1/actors/mirror", "{", "invalid_argument", "body"),
        ("POST", "/api/v1/actors/mirror", "a=1", "invalid_argument", "body"),
        ("POST", "/api/v1/actors/mirror?nonsense=1", "{}", "invalid_argument", "nonsense"),
        ("POST", "/api/v1/actors/mirror?op=a&action=b", "{}", "invalid_argument", "action"),
        ("POST", "/api/v1/actors/mirror?invocation=maybe", "{}", "invalid_argument", "invocation"),
        ("GET", "/api/v1/actors/mirror?a=1&a=1", "", "invalid_argument", "a"),
        ("GET", "/api/v1/actors/mirror", "{}", "invalid_argument", "body"),
        ("GET", "/api/v1/actors/%FF/mirror", "", "invalid_argument", "path"),
        ("POST", "/api/v1/actors/mirror", &large, "payload_too_large", ""),
        ("GET", "/api/v1/actors/mirror?timeout_ms=x", "", "invalid_argument", "timeout_ms"),
        ("GET", "/api/v1/actors/mirror?timeout_ms=3600001", "", "invalid_argument", "timeout_ms"),
        ("GET", "/api/v1/actors/mirror?op=never&timeout_ms=10&id=stuck", "", "deadline_exceeded", ""),
        ("GET", "/api/v1/actors/mirror?op=fail", "", "handler_failed", ""),
        ("GET", "/api/v1/actors/mirror?op=unknown", "", "unknown_operation", ""),
        ("GET", "/api/v1/applications?page_size=-1", "", "invalid_argument", "page_size"),
        ("GET", "/api/v1/applications?page_size=1001", "", "invalid_argument", "page_size"),
        ("GET", "/api/v1/applications?page_size=many", "", "invalid_argument", "page_size"),
        ("GET", "/api/v1/applications?page_token=x", "", "invalid_argument", "page_token"),
        ("GET", "/api/v1/applications?nonsense=1", "", "invalid_argument", "nonsense"),
        ("GET", "/api/v1/applications?namespace=a&namespace=b", "", "invalid_argument", "namespace"),
        ("GET", "/api/v1/applications/nothing", "", "not_found", ""),
        ("GET", "/api/v1/applications/x?app=y", "", "invalid_argument", "app"),
        ("DELETE", "/api/v1/applications/nothing", "", "not_found", ""),
        ("POST", "/api/v1/deploy", "{}", "invalid_argument", "wasm"),
        ("POST", "/api/v1/deploy", "{", "invalid_argument", "body"),
        ("POST", "/api/v1/deploy", r#"{"isolation":"firecracker"}"#, "invalid_argument", "body"),
        ("POST", "/api/v1/deploy", r#"{"wasm":5}"#, "invalid_argument", "body"),
        ("POST", "/api/v1/deploy?app=x", r#"{"app":"y","wasm":"AA=="}"#, "invalid_argument", "app"),
        ("POST", "/api/v1/deploy?ap=x", r#"{"wasm":"AA=="}"#, "invalid_argument", "ap"),
        ("POST", "/api/v1/deploy", r#"{"wasm":"AA=="}"#, "invalid_component", "wasm"),
        ("POST", "/api/v1/deploy", r#"{"wasm":"AA==","client_token":"short"}"#, "invalid_argument", "client_token"),
        ("GET", "/api/v1/logs?lines=10001", "", "invalid_argument", "lines"),
        ("GET", "/api/v1/logs?follow=1", "", "invalid_argument", "follow"),
        ("GET", "/api/v1/logs?tenant_id=a%20b", "", "invalid_argument", "tenant_id"),
        ("POST", "/api/v1/system:shutdown", r#"{"now":true}"#, "invalid_argument", "body"),
        ("GET", "/metrics", "", "internal", ""),
    ] {
        let answer = node.send(method, path, &[], body.to_owned()).await;
        if method == "HEAD" {
            assert_eq!(answer.status, 404);
            continue;
        }
        assert!(!answer.status.is_success(), "{method} {path} {body}: {answer:?}");
        assert_eq!((answer.reason().as_str(), answer.field().as_str()), (reason, field), "{method} {path} {body}: {answer:?}");
    }
    let verbs = node.send("TRACE", "/api/v1/applications/x", &[], "").await;
    assert_eq!(verbs.header("allow"), "DELETE, GET, HEAD");
}

#[tokio::test]
async fn what_is_unknown_is_named_with_what_is_known() {
    let node = Node::start().await;
    let unknown = node.deploy(&[("isolation", "firecracker")]).await;
    assert_eq!(unknown.field(), "isolation");
    let message = unknown.json()["message"].as_str().unwrap().to_owned();
    assert_eq!(
        message,
        "unknown field \"isolation\"; known are tenant_id, namespace, app, actor_type, wasm, config, version, client_token, on_incompatible, if_match, name"
    );
}

#[tokio::test]
async fn a_trace_is_continued_and_names_the_request() {
    let node = Node::start().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let header = format!("00-{trace}-00f067aa0ba902b7-01");
    for path in ["/health/live", "/nowhere"] {
        let answer = node.send("GET", path, &[("traceparent", &header)], "").await;
        assert_eq!(answer.header("x-request-id"), trace);
        let answered = answer.header("traceparent");
        assert!(answered.starts_with(&format!("00-{trace}-")) && answered.ends_with("-01") && answered != header, "{answered}");
    }
    let fresh = node.send("GET", "/health/live", &[("traceparent", "nonsense")], "").await;
    assert_eq!(fresh.header("x-request-id").len(), 32);
}

#[tokio::test]
async fn authentication_comes_before_existence() {
    let node = Node::start_with(|setup| setup.api.auth = AuthConfig::Token(TOKEN.to_owned())).await;
    for path in ["/api/v1/applications/nothing", "/api/v1/actors/nobody", "/api/v1/system"] {
        assert_eq!(node.get(path).await.reason(), "unauthenticated", "{path}");
    }
}
