//! What a link refuses and where it ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use plexspaces_actor::{HttpRequest, Outbound as _, Outgoing};
use plexspaces_outbound::{CircuitConfig, Config, Link, Rate};
use plexspaces_types::Code;

use crate::server::{Server, fetch, link, open_with, outgoing, request};

#[tokio::test]
async fn a_link_that_there_is_not_is_named_with_those_that_there_are() {
    let (url, _) = Server::start().await;
    let failure = link(&url, |_| {}).fetch("nobody", outgoing(request("GET", "/"))).await.unwrap_err();
    assert_eq!(failure.code, Code::NotFound);
    assert_eq!(failure.message, "unknown service link \"nobody\"; the application has api");
}

#[tokio::test]
async fn a_service_that_does_not_answer_in_time_is_given_up() {
    let (url, server) = Server::start().await;
    let links = link(&url, |link| {
        link.timeout = Duration::from_secs(1);
        link.retry.max_attempts = 2;
    });
    let failure = fetch(&links, "GET", "/hold").await.unwrap_err();
    assert!(failure.code == Code::DeadlineExceeded && failure.message.contains("within 1s"), "{failure}");
    assert_eq!(server.count(), 2);
}

#[tokio::test]
async fn a_request_ends_with_the_deadline_of_whoever_waits_and_that_is_no_fault_of_the_service() {
    let (url, server) = Server::start().await;
    let links = link(&url, |link| link.circuit = CircuitConfig { failures: 1, open_for: Duration::from_secs(60) });
    let soon = |deadline| Outgoing { deadline: Some(deadline), ..outgoing(request("GET", "/hold")) };
    let failure = links.fetch("api", soon(Instant::now() + Duration::from_secs(1))).await.unwrap_err();
    assert!(failure.code == Code::DeadlineExceeded && failure.message.contains("before the deadline"), "{failure}");
    let failure = links.fetch("api", soon(Instant::now())).await.unwrap_err();
    assert!(failure.code == Code::DeadlineExceeded && failure.message.contains("was sent"), "{failure}");
    assert_eq!(server.count(), 1);
    assert_eq!(fetch(&links, "GET", "/").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_response_over_its_limit_is_refused() {
    let (url, server) = Server::start().await;
    let links = link(&url, |link| link.max_response = 99_999);
    let failure = fetch(&links, "GET", "/big").await.unwrap_err();
    assert!(failure.code == Code::PayloadTooLarge && failure.message.contains("99999 bytes"), "{failure}");
    // The actor's own limit holds as well.
    let roomy = link(&url, |_| {});
    let failure = roomy.fetch("api", Outgoing { max_response: 10, ..outgoing(request("GET", "/big")) }).await.unwrap_err();
    assert_eq!((failure.code, server.count()), (Code::PayloadTooLarge, 2));
    assert_eq!(fetch(&roomy, "GET", "/big").await.unwrap().body.len(), 100_000);
}

#[tokio::test]
async fn only_allowed_methods_and_paths_leave_the_node() {
    let (url, server) = Server::start().await;
    let links = link(&url, |link| {
        link.allowed_methods = Some(vec!["GET".into()]);
        link.allowed_paths = Some(vec!["/v1/*".into(), "/status".into()]);
    });
    for (method, path, code) in [
        ("POST", "/v1/a", Code::PermissionDenied),
        ("FETCH", "/v1/a", Code::InvalidArgument),
        ("GET", "/admin", Code::PermissionDenied),
        ("GET", "/v1", Code::PermissionDenied),
        ("GET", "/v1/../admin", Code::InvalidArgument),
        ("GET", "/v1/%2e%2e/admin", Code::InvalidArgument),
        ("GET", "/v1/%252e%252e%252fadmin", Code::InvalidArgument),
        ("GET", "//evil.example/v1/", Code::InvalidArgument),
        ("GET", "http://evil.example/v1/", Code::InvalidArgument),
        ("GET", "@evil.example/v1/", Code::InvalidArgument),
        ("GET", "", Code::InvalidArgument),
    ] {
        assert_eq!(fetch(&links, method, path).await.unwrap_err().code, code, "{method} {path}");
    }
    assert_eq!(server.count(), 0);
    for path in ["/v1/a?x=/../y", "/status"] {
        assert_eq!(fetch(&links, "GET", path).await.unwrap().status, 200, "{path}");
    }
}

#[tokio::test]
async fn headers_that_are_the_nodes_or_the_links_cannot_be_set() {
    let (url, server) = Server::start().await;
    let links = link(&url, |link| link.headers = [("X-Team".into(), "blue".into())].into());
    for (name, value, code) in [
        ("Host", "evil.example", Code::InvalidArgument),
        ("Content-Length", "5", Code::InvalidArgument),
        ("Transfer-Encoding", "chunked", Code::InvalidArgument),
        ("Idempotency-Key", "k", Code::InvalidArgument),
        ("x-team", "red", Code::PermissionDenied),
        ("x y", "z", Code::InvalidArgument),
        ("x", "a\r\nHost: evil.example", Code::InvalidArgument),
    ] {
        let asked = HttpRequest { headers: vec![(name.into(), value.into())], ..request("GET", "/") };
        assert_eq!(links.fetch("api", outgoing(asked)).await.unwrap_err().code, code, "{name}");
    }
    assert_eq!(server.count(), 0);
}

#[tokio::test]
async fn no_more_requests_than_the_limit_are_under_way_and_the_rest_wait() {
    let (url, server) = Server::start().await;
    let links = Arc::new(link(&url, |link| link.max_concurrent = 2));
    let asking: Vec<_> = (0..6)
        .map(|_| {
            let links = links.clone();
            tokio::spawn(async move { fetch(&links, "GET", "/hold").await.unwrap().status })
        })
        .collect();
    server.arrived(2).await;
    server.open_gate(6);
    for asked in asking {
        assert_eq!(asked.await.unwrap(), 200);
    }
    assert_eq!(server.most_at_once.load(std::sync::atomic::Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_request_that_finds_no_slot_in_its_time_is_overloaded_and_a_dropped_one_frees_its_slot() {
    let (url, server) = Server::start().await;
    let links = Arc::new(link(&url, |link| link.max_concurrent = 1));
    let (own, holding) = (links.clone(), server.clone());
    let held = tokio::spawn(async move { fetch(&own, "GET", "/hold").await });
    holding.arrived(1).await;
    let hurried = Outgoing { deadline: Some(Instant::now() + Duration::from_secs(1)), ..outgoing(request("GET", "/")) };
    let failure = links.fetch("api", hurried).await.unwrap_err();
    assert!(failure.code == Code::Overloaded && failure.message.contains("all 1 requests"), "{failure}");
    held.abort();
    assert!(held.await.unwrap_err().is_cancelled());
    assert_eq!(fetch(&links, "GET", "/").await.unwrap().status, 200);
}

#[tokio::test]
async fn requests_over_the_rate_are_refused_with_the_time_to_wait() {
    let (url, server) = Server::start().await;
    let links = link(&url, |link| link.rate = Some(Rate { requests: 2, per: Duration::from_secs(600), burst: None }));
    for _ in 0..2 {
        assert_eq!(fetch(&links, "GET", "/").await.unwrap().status, 200);
    }
    let failure = fetch(&links, "GET", "/").await.unwrap_err();
    assert_eq!((failure.code, server.count()), (Code::Overloaded, 2));
    assert!(failure.retry_after.is_some_and(|wait| wait > Duration::from_secs(200)), "{failure:?}");
}

#[test]
fn an_application_has_few_links_and_each_name_once() {
    let links: Vec<Link> = (0..65).map(|n| Link::new(format!("l{n}"), "http://x")).collect();
    assert!(open_with(Config::default(), &links[..64]).is_ok());
    assert!(open_with(Config::default(), &links).err().unwrap().to_string().contains("64 service links"));
    let twice = [links[0].clone(), links[0].clone()];
    assert!(open_with(Config::default(), &twice).err().unwrap().to_string().contains("is given to two"));
}
