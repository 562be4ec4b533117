//! The node itself: health, log, shutdown, and the description of the interface.

use std::collections::BTreeMap;
use std::process::Command;

use futures::StreamExt as _;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use plexspaces_api::{LogEntry, State};
use plexspaces_client::{Logs, v1};
use plexspaces_types::Name;
use serde_json::json;

use crate::support::Node;

fn line(message: &str, app: Option<&str>) -> LogEntry {
    LogEntry {
        timestamp_ms: 1_700_000_000_000,
        level: tracing::Level::WARN,
        source: "test".to_owned(),
        message: message.to_owned(),
        tenant: app.map(|_| Name::default_scope()),
        app: app.map(str::to_owned),
        actor_id: None,
        trace_id: None,
        fields: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
    }
}

#[tokio::test]
async fn a_node_that_is_not_ready_says_so() {
    let node = Node::start().await;
    for (state, ready, invoke) in
        [(State::Starting, 503, 503), (State::Leaving, 503, 200), (State::Draining, 503, 503), (State::Ready, 200, 200)]
    {
        node.services.readiness.set(state);
        for (path, status) in [
            ("/health", ready),
            ("/health/ready", ready),
            ("/health/deep", ready),
            ("/health/live", 200),
            ("/api/v1/actors/mirror", invoke),
        ] {
            let answer = node.get(path).await;
            assert_eq!(answer.status, status, "{state:?} {path}");
            if status == 503 {
                assert_eq!((answer.reason().as_str(), answer.header("retry-after")), ("unavailable", "1"));
            }
        }
        assert_eq!(node.get("/api/v1/system").await.status, 200);
        assert_eq!(node.client().await.health().await.is_ok(), ready == 200);
    }
}

#[tokio::test]
async fn a_node_that_lacks_something_is_not_well_and_takes_requests() {
    let node = Node::start().await;
    node.services.readiness.lacks("store", Some("the store does not answer".to_owned()));
    let health = node.get("/health/ready").await;
    assert_eq!(health.status, 503);
    assert_eq!(health.json()["message"], "the store does not answer");
    assert_eq!(node.get("/health/live").await.status, 200);
    assert_eq!(node.get("/api/v1/actors/mirror").await.status, 200);
    node.services.readiness.lacks("store", None);
    assert_eq!(node.get("/health/ready").await.status, 200);
}

#[tokio::test]
async fn deep_health_shows_what_was_tried() {
    let node = Node::start().await;
    let deep = node.get("/health/deep").await.json();
    assert_eq!((&deep["status"], &deep["checks"]), (&json!("ok"), &json!([{ "name": "store", "duration_ms": 2 }])));
    assert!(deep["warnings"][0].as_str().unwrap().contains("no credentials are configured"));
    let failing = Node::start_with(|setup| setup.failing = true).await.get("/health/deep").await;
    assert_eq!((failing.reason().as_str(), &failing.json()["message"]), ("unavailable", &json!("store: does not answer")));
}

#[tokio::test]
async fn info_and_metrics_describe_the_node() {
    let node = Node::start().await;
    let info = node.get("/api/v1/system").await.json();
    let expected = json!({ "node_id": "node-1", "version": "1.2.3", "started_at": "2023-11-14T22:13:20Z", "auth_mode": "AUTH_MODE_OPEN",
        "application_count": 0, "actor_count": 0 });
    assert_eq!(info, expected);
    let metrics = node.get("/metrics").await;
    assert_eq!(
        (metrics.header("content-type"), metrics.body.as_ref()),
        ("text/plain; version=0.0.4; charset=utf-8", &b"plexspaces_up 1\n"[..])
    );
    assert_eq!(node.client().await.info().await.unwrap().node_id, "node-1");
}

#[tokio::test]
async fn requests_are_counted_by_route() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).unwrap();
    let node = Node::start().await;
    node.get("/api/v1/actors/mirror?op=fail").await;
    node.get("/made/up/17").await;
    node.send("BREW", "/api/v1/logs", &[], "").await;
    let _ = node.client().await.get("", None, "nothing").await;
    let text = handle.render();
    for expected in [
        r#"plexspaces_http_requests_total{method="GET",route="/api/v1/actors/{actor_type}",status="500"} "#,
        r#"plexspaces_http_requests_total{method="GET",route="unmatched",status="404"} "#,
        r#"plexspaces_http_requests_total{method="OTHER",route="/api/v1/logs",status="405"} "#,
        r#"plexspaces_http_requests_total{method="POST",route="/plexspaces.v1.ApplicationService/GetApplication",status="404"} "#,
        r#"plexspaces_http_request_seconds_count{route="/api/v1/actors/{actor_type}"} "#,
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
    assert!(!text.contains("/made/up/17"));
}

#[tokio::test]
async fn log_lines_are_events_and_messages() {
    let node = Node::start().await;
    for (text, app) in [("one", None), ("two", Some("shop")), ("three", Some("shop"))] {
        node.services.logs.push(line(text, app));
    }
    let tail = node.get("/api/v1/logs?app=shop&lines=1").await;
    assert_eq!(tail.header("content-type"), "text/event-stream");
    let text = String::from_utf8(tail.body.to_vec()).unwrap();
    let event: serde_json::Value = serde_json::from_str(text.trim().strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(
        event,
        json!({ "timestamp": "2023-11-14T22:13:20Z", "level": "LOG_LEVEL_WARN", "source": "test", "message": "three", "app": "shop",
            "fields": { "k": "v" } })
    );

    let client = node.client().await;
    let all: Vec<_> = client.logs(Logs::default()).await.unwrap().map(|entry| entry.unwrap().message).collect().await;
    assert_eq!(all, ["one", "two", "three"]);
    let follow = Logs { follow: true, lines: Some(0), ..Logs::default() };
    let mut following = Box::pin(client.logs(follow).await.unwrap());
    node.services.logs.push(line("four", None));
    let four = following.next().await.unwrap().unwrap();
    assert_eq!((four.message.as_str(), four.level()), ("four", v1::LogLevel::Warn));
}

#[tokio::test]
async fn a_shutdown_is_accepted_and_ends_followers() {
    let node = Node::start().await;
    let request = Request::get(format!("{}/api/v1/logs?follow=true", node.url())).body(Full::default()).unwrap();
    let following = node.http.request(request).await.unwrap();
    let answer = node.send("POST", "/api/v1/system:shutdown", &[], "").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["status"]), (202, &json!("accepted")));
    assert!(node.services.shutdown.is_cancelled());
    following.into_body().collect().await.unwrap();
    node.client().await.shutdown().await.unwrap();
}

#[tokio::test]
async fn the_openapi_document_is_valid_and_complete() {
    let node = Node::start().await;
    let served = node.get("/openapi.json").await;
    let document = served.json();
    assert_eq!(document, plexspaces_api::openapi().unwrap());
    let invoke = &document["paths"]["/api/v1/actors/{namespace}/{actor_type}/invoke"];
    assert!(["get", "post", "put", "patch", "delete"].iter().all(|verb| invoke[verb]["responses"]["202"].is_object()));
    assert!(document["paths"]["/api/v1/deploy"]["post"]["requestBody"]["content"]["multipart/form-data"].is_object());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("openapi.json");
    std::fs::write(&path, &served.body).unwrap();
    let checked = Command::new("python3").args(["-m", "openapi_spec_validator"]).arg(&path).output().unwrap();
    assert!(checked.status.success(), "{}{}", String::from_utf8_lossy(&checked.stdout), String::from_utf8_lossy(&checked.stderr));
}

#[tokio::test]
async fn a_path_without_parameters_says_so() {
    let node = Node::start().await;
    let answer = node.get("/health?x=1").await;
    assert_eq!(
        (answer.reason().as_str(), &answer.json()["message"]),
        ("invalid_argument", &serde_json::json!("unknown field \"x\"; there are none"))
    );
}
