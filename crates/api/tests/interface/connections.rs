//! Limits and lifetimes of connections.

use std::time::Duration;

use axum::body::Bytes;
use futures::StreamExt as _;
use http::{Request, Version};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use plexspaces_api::{AuthConfig, Budget, Limits};
use plexspaces_client::{Client, Error, Invoke};
use plexspaces_types::{Code, Payload};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::invoke::invoke;
use crate::support::{Node, TOKEN};

const GATE: &str = "/api/v1/actors/mirror?op=gate";

#[tokio::test]
async fn http2_without_tls_serves_the_same() {
    let node = Node::start().await;
    let http = HttpClient::builder(TokioExecutor::new()).http2_only(true).build_http();
    let request = Request::get(format!("{}/api/v1/actors/mirror", node.url())).body(Full::<Bytes>::default()).unwrap();
    let response = http.request(request).await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_2));
}

#[tokio::test]
async fn a_declared_gigabyte_is_refused_before_it_is_sent() {
    let node = Node::start().await;
    for path in ["/api/v1/deploy", "/api/v1/actors/mirror", "/api/v1/system:shutdown"] {
        let mut stream = TcpStream::connect(node.addr).await.unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 1073741824\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        assert_eq!(&status, b"HTTP/1.1 413", "{path}");
    }
}

#[tokio::test]
async fn an_endless_body_is_refused_at_the_limit() {
    let limits = Limits { payload_bytes: 100_000, deploy_bytes: 100_000, ..Limits::default() };
    let node = Node::start_with(|setup| setup.api.limits = limits).await;
    let http = HttpClient::builder(TokioExecutor::new()).build_http();
    for (path, content_type) in [
        ("/api/v1/actors/mirror", "application/json"),
        ("/api/v1/deploy", "application/json"),
        ("/api/v1/deploy", "multipart/form-data; boundary=xyz"),
    ] {
        let head = Bytes::from_static(b"--xyz\r\nContent-Disposition: form-data; name=\"wasm\"\r\n\r\n");
        let pieces = futures::stream::iter([head]).chain(futures::stream::repeat(Bytes::from(vec![b'1'; 10_000])).take(1_000));
        let body = StreamBody::new(pieces.map(|piece| Ok::<_, std::convert::Infallible>(Frame::data(piece))));
        let request = Request::post(format!("{}{path}", node.url())).header("content-type", content_type).body(body).unwrap();
        let response = http.request(request).await.unwrap();
        assert_eq!(response.status(), 413, "{path} {content_type}");
    }
}

#[tokio::test]
async fn what_is_refused_early_is_still_answered() {
    let node = Node::start_with(|setup| setup.api.auth = AuthConfig::Token(TOKEN.to_owned())).await;
    let large = Bytes::from(vec![0; 8 << 20]);
    let token = format!("Bearer {TOKEN}");
    let authorization = ("authorization", token.as_str());
    let form = ("content-type", "multipart/form-data; boundary=xyz");
    let parts = [&b"--xyz\r\nContent-Disposition: form-data; name=\"isolation\"\r\n\r\n"[..], &large].concat();
    for (method, path, headers, status) in [
        ("POST", "/api/v1/deploy", vec![form], 401),
        ("POST", "/api/v1/deploy", vec![form, authorization], 400),
        ("POST", "/nowhere", vec![authorization], 404),
        ("PUT", "/api/v1/deploy", vec![authorization], 405),
        ("GET", "/api/v1/actors/mirror", vec![authorization], 400),
    ] {
        let answer = node.send(method, path, &headers, parts.clone()).await;
        assert_eq!(answer.status, status, "{method} {path}");
        answer.reason();
    }
}

#[tokio::test]
async fn grpc_refuses_what_is_too_large() {
    let limits = Limits { payload_bytes: 1000, ..Limits::default() };
    let node = Node::start_with(|setup| setup.api.limits = limits).await;
    let client = node.client().await;
    for size in [1_000_000, 2_000] {
        let refused = client.invoke(Invoke { payload: Payload::Bytes(vec![0; size].into()), ..invoke("x", Payload::empty()) }).await;
        assert_eq!(refused.unwrap_err().code(), Code::PayloadTooLarge, "{size}");
    }
}

#[tokio::test]
async fn a_full_budget_refuses_all_but_health_and_metrics() {
    let node = Node::start_with(|setup| setup.serve.budget = Budget::new(1)).await;
    let client = node.client().await;
    let gated = async { node.get(GATE).await.status };
    let meanwhile = async {
        node.entered.notified().await;
        for path in ["/health", "/health/live", "/metrics"] {
            assert_eq!(node.get(path).await.status, 200, "{path}");
        }
        for path in ["/api/v1/system", "/api/v1/actors/mirror"] {
            let refused = node.get(path).await;
            assert_eq!((refused.reason().as_str(), refused.header("retry-after")), ("overloaded", "1"), "{path}");
        }
        assert_eq!(client.deep_health().await.unwrap_err().code(), Code::Overloaded);
        node.gate.notify_one();
    };
    assert_eq!(futures::join!(gated, meanwhile).0, 200);
    assert_eq!(node.get("/api/v1/system").await.status, 200);
}

#[tokio::test]
async fn an_open_stream_does_not_use_up_the_budget() {
    let node = Node::start_with(|setup| setup.serve.budget = Budget::new(1)).await;
    let request = Request::get(format!("{}/api/v1/logs?follow=true", node.url())).body(Full::default()).unwrap();
    let following = node.http.request(request).await.unwrap();
    assert_eq!(node.get("/api/v1/system").await.status, 200);
    drop(following);
}

#[tokio::test]
async fn who_hangs_up_holds_nothing_any_more() {
    let node = Node::start_with(|setup| {
        setup.serve.budget = Budget::new(1);
        setup.serve.grace = Duration::from_secs(600);
    })
    .await;
    for path in [GATE, "/api/v1/logs?follow=true"] {
        let mut stream = TcpStream::connect(node.addr).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        if path == GATE {
            node.entered.notified().await;
        } else {
            stream.read_exact(&mut [0; 12]).await.unwrap();
        }
        drop(stream);
        // Its place is free, though the actor goes on.
        let free = async {
            while node.get("/api/v1/system").await.status != 200 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), free).await.unwrap();
    }
    node.stop.cancel();
    tokio::time::timeout(Duration::from_secs(60), node.served).await.unwrap().unwrap();
}

#[tokio::test]
async fn connections_that_send_nothing_or_half_are_closed() {
    let short = Duration::from_millis(500);
    let node = Node::start_with(|setup| (setup.serve.header_timeout, setup.serve.idle_timeout) = (short, short)).await;
    for sent in ["", "P", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\nhost: x\r\n", "GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n"] {
        let mut stream = TcpStream::connect(node.addr).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut received = Vec::new();
        // It ends, possibly with a reset.
        let _ = stream.read_to_end(&mut received).await;
        assert_eq!(received.starts_with(b"HTTP/1.1 200"), sent.contains("live"), "{sent:?}");
    }
}

#[tokio::test]
async fn a_connection_with_a_long_request_is_not_idle() {
    let short = Duration::from_millis(500);
    let node = Node::start_with(|setup| setup.serve.idle_timeout = short).await;
    let long = node.get("/api/v1/actors/mirror?op=never&timeout_ms=2000").await;
    assert_eq!(long.reason(), "deadline_exceeded");
}

#[tokio::test]
async fn a_body_that_stands_still_is_refused() {
    let limits = Limits { body_idle: Duration::from_millis(50), ..Limits::default() };
    let node = Node::start_with(|setup| setup.api.limits = limits).await;
    let mut stream = TcpStream::connect(node.addr).await.unwrap();
    stream.write_all(b"POST /api/v1/actors/mirror HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{").await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 400");
}

#[tokio::test]
async fn a_shutdown_lets_requests_finish() {
    let node = Node::start().await;
    let gated = async { node.get(GATE).await.status };
    let meanwhile = async {
        node.entered.notified().await;
        node.stop.cancel();
        // Nothing more is accepted.
        while TcpStream::connect(node.addr).await.is_ok() {
            tokio::task::yield_now().await;
        }
        node.gate.notify_one();
    };
    assert_eq!(futures::join!(gated, meanwhile).0, 200);
    assert!(node.served.await.unwrap(), "each request has finished");
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_ever() {
    let node = Node::start_with(|setup| setup.serve.grace = Duration::from_millis(50)).await;
    let gated = node.http.request(Request::get(format!("{}{GATE}", node.url())).body(Full::default()).unwrap());
    let meanwhile = async {
        node.entered.notified().await;
        node.stop.cancel();
    };
    assert!(futures::join!(gated, meanwhile).0.is_err());
    assert!(!node.served.await.unwrap(), "one was cut off");
}

#[tokio::test]
async fn the_client_says_where_no_node_is() {
    // The port is taken, and nobody listens at it.
    let taken = tokio::net::TcpSocket::new_v4().unwrap();
    taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", taken.local_addr().unwrap());
    let error = Client::connect(&url, None).await.err().unwrap();
    assert!(
        matches!(&error, Error::Unreachable { .. }) && error.to_string().starts_with(&format!("no node answers at {url}: ")),
        "{error}"
    );
    for bad in ["localhost:8094", "https://localhost:1", "", "http://"] {
        assert!(matches!(Client::connect(bad, None).await, Err(Error::Address { .. })), "{bad}");
    }
    let node = Node::start().await;
    let request = Request::get(format!("{}/health/live", node.url())).body(Full::default()).unwrap();
    node.http.request(request).await.unwrap().into_body().collect().await.unwrap();
}
