//! Requests that reach the service, and when they are sent again.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use plexspaces_actor::{HttpRequest, Outbound as _};
use plexspaces_outbound::{CircuitConfig, Policy};
use plexspaces_types::Code;

use crate::server::{Server, fetch, header, link, outgoing, request};

#[tokio::test]
async fn a_request_over_a_link_arrives_below_its_base_url() {
    let (url, server) = Server::start().await;
    let links = link(&format!("{url}/base/"), |link| link.headers = [("X-Version".into(), "2".into())].into());
    let headers = vec![("content-type".into(), "application/json".into()), ("x-a".into(), "b".into())];
    let asked = HttpRequest { headers, body: Bytes::from("{}"), ..request("post", "/v1/chat?q=1") };
    let response = links.fetch("api", outgoing(asked)).await.unwrap();
    assert_eq!((response.status, &response.body[..]), (200, &b"fine"[..]));
    assert_eq!(header(&response, "x-served"), ["1", "2"]);
    let seen = server.seen.lock().unwrap()[0].clone();
    assert_eq!((seen.method.as_str(), seen.path.as_str(), &seen.body[..]), ("POST", "/base/v1/chat?q=1", &b"{}"[..]));
    for (name, value) in [("x-version", "2"), ("x-a", "b"), ("content-type", "application/json"), ("idempotency-key", "made")] {
        assert_eq!(seen.headers[name], value);
    }
}

#[tokio::test]
async fn a_status_is_a_response_and_a_redirect_is_not_followed() {
    let (url, server) = Server::start().await;
    let links = link(&url, |_| {});
    let missing = fetch(&links, "GET", "/missing").await.unwrap();
    assert_eq!((missing.status, header(&missing, "x-why")), (404, vec!["gone"]));
    let moved = fetch(&links, "GET", "/elsewhere").await.unwrap();
    assert_eq!((moved.status, header(&moved, "location")), (302, vec!["http://127.0.0.1:9/stolen"]));
    assert_eq!(server.count(), 2);
}

#[tokio::test]
async fn an_idempotent_request_is_sent_again_with_the_same_key() {
    let (url, server) = Server::start().await;
    let links = link(&url, |_| {});
    server.failures.store(2, Ordering::SeqCst);
    assert_eq!(fetch(&links, "GET", "/fail").await.unwrap().status, 200);
    server.failures.store(9, Ordering::SeqCst);
    assert_eq!(fetch(&links, "PUT", "/fail").await.unwrap().status, 500);
    let seen = server.seen.lock().unwrap();
    assert_eq!(seen.len(), 6);
    assert!(seen.iter().all(|seen| seen.headers["idempotency-key"] == "made"));
}

#[tokio::test]
async fn a_post_is_sent_again_only_with_a_key_of_the_actor_or_over_an_unsafe_link() {
    let (url, server) = Server::start().await;
    let links = link(&url, |_| {});
    server.failures.store(9, Ordering::SeqCst);
    assert_eq!(fetch(&links, "POST", "/fail").await.unwrap().status, 500);
    assert_eq!(server.count(), 1);
    assert_eq!(fetch(&links, "POST", "/break").await.unwrap_err().code, Code::Unavailable);
    assert_eq!(server.count(), 2);
    server.failures.store(1, Ordering::SeqCst);
    let keyed = HttpRequest { idempotency_key: Some("order-7".into()), ..request("POST", "/fail") };
    assert_eq!(links.fetch("api", outgoing(keyed)).await.unwrap().status, 200);
    assert_eq!(server.count(), 4);
    assert_eq!(server.seen.lock().unwrap()[3].headers["idempotency-key"], "order-7");
    let unsafe_link = link(&url, |link| link.retry.repeat_unsafe = true);
    server.failures.store(1, Ordering::SeqCst);
    assert_eq!(fetch(&unsafe_link, "POST", "/fail").await.unwrap().status, 200);
    assert_eq!(server.count(), 6);
}

#[tokio::test]
async fn a_post_is_sent_again_when_there_was_no_connection() {
    // A port that is taken, at which nobody listens; the service comes up between two attempts.
    let taken = tokio::net::TcpSocket::new_v4().unwrap();
    taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = taken.local_addr().unwrap();
    let slow =
        Policy { max_attempts: 20, initial_delay: Duration::from_millis(20), max_delay: Duration::from_millis(50), ..Policy::default() };
    let links = link(&format!("http://{address}"), |link| {
        link.retry = slow;
        link.circuit.failures = 100;
    });
    let down = link(&format!("http://{address}"), |link| link.retry.max_attempts = 1);
    let failure = fetch(&down, "POST", "/x").await.unwrap_err();
    assert!(failure.code == Code::Unavailable && failure.message.contains("cannot connect"), "{failure}");
    let asking = tokio::spawn(async move { fetch(&links, "POST", "/x").await });
    let listener = taken.listen(16).unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let service =
        hyper::service::service_fn(|_| async { Ok::<_, String>(http::Response::new(http_body_util::Full::new(Bytes::from("up")))) });
    tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(hyper_util::rt::TokioIo::new(stream), service));
    assert_eq!(asking.await.unwrap().unwrap().body, "up");
}

#[tokio::test]
async fn a_service_that_wants_a_longer_wait_than_the_link_has_is_not_asked_again() {
    let (url, server) = Server::start().await;
    let links = link(&url, |_| {});
    server.failures.store(1, Ordering::SeqCst);
    assert_eq!(fetch(&links, "GET", "/later").await.unwrap().status, 503);
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn a_circuit_opens_after_failures_and_closes_with_the_first_success() {
    let (url, server) = Server::start().await;
    let links = link(&url, |link| {
        link.retry.max_attempts = 1;
        link.circuit = CircuitConfig { failures: 2, open_for: Duration::from_secs(2) };
    });
    server.failures.store(3, Ordering::SeqCst);
    for _ in 0..2 {
        assert_eq!(fetch(&links, "GET", "/fail").await.unwrap().status, 500);
    }
    let refused = fetch(&links, "GET", "/fail").await.unwrap_err();
    assert_eq!((refused.code, server.count()), (Code::Unavailable, 2));
    let wait = refused.retry_after.unwrap();
    assert!(wait > Duration::ZERO && wait <= Duration::from_secs(2), "{refused}: {wait:?}");
    // The first request that is let through fails, so that it opens again.
    assert_eq!(admitted(&links).await, 500);
    assert_eq!(fetch(&links, "GET", "/fail").await.unwrap_err().code, Code::Unavailable);
    assert_eq!(admitted(&links).await, 200);
    assert_eq!(fetch(&links, "GET", "/fail").await.unwrap().status, 200);
    assert_eq!(server.count(), 5);
}

/// The status of the first request that the circuit lets through.
async fn admitted(links: &plexspaces_outbound::Links) -> u16 {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        match fetch(links, "GET", "/fail").await {
            Ok(response) => return response.status,
            Err(failure) => assert!(failure.code == Code::Unavailable && Instant::now() < until, "{failure}"),
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
