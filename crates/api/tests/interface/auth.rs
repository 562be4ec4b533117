//! Who may use a node.

use plexspaces_api::AuthConfig;
use plexspaces_client::Client;
use plexspaces_types::Code;

use crate::support::{Node, TOKEN};

#[tokio::test]
async fn a_node_with_a_token_wants_it() {
    let node = Node::start_with(|setup| setup.api.auth = AuthConfig::Token(TOKEN.to_owned())).await;
    let right = format!("Bearer {TOKEN}");
    let lower = format!("bearer {TOKEN}");
    let longer = format!("Bearer {TOKEN}x");
    for (authorization, path, status) in [
        (None, "/api/v1/system", 401),
        (None, "/openapi.json", 401),
        (None, "/health/deep", 401),
        (None, "/api/v1/actors/mirror", 401),
        (None, "/health", 200),
        (None, "/health/live", 200),
        (None, "/health/ready", 200),
        (None, "/metrics", 200),
        (Some("Bearer "), "/api/v1/system", 401),
        (Some("Bearer wrong"), "/api/v1/system", 401),
        (Some("Bearer wrong"), "/metrics", 401),
        (Some("Basic YTpi"), "/api/v1/system", 401),
        (Some(TOKEN), "/api/v1/system", 401),
        (Some(longer.as_str()), "/api/v1/system", 401),
        (Some(right.as_str()), "/api/v1/system", 200),
        (Some(lower.as_str()), "/api/v1/system", 200),
        (Some(right.as_str()), "/metrics", 200),
        (Some(right.as_str()), "/api/v1/actors/mirror", 200),
    ] {
        let headers: Vec<_> = authorization.iter().map(|value| ("authorization", *value)).collect();
        let answer = node.send("GET", path, &headers, "").await;
        assert_eq!(answer.status, status, "{authorization:?} {path}");
        if status == 401 {
            assert_eq!((answer.reason().as_str(), answer.header("www-authenticate")), ("unauthenticated", "Bearer"));
        }
    }
    let without = node.client().await.info().await.unwrap_err();
    assert_eq!(without.code(), Code::Unauthenticated);
    let with = Client::connect(&node.url(), Some(TOKEN)).await.unwrap();
    assert_eq!(with.info().await.unwrap().auth_mode(), plexspaces_client::v1::AuthMode::Token);
    // The administrator may name any tenant.
    let other = node.send("GET", "/api/v1/applications?tenant_id=acme", &[("authorization", &right)], "").await;
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn an_open_node_checks_what_is_presented() {
    let node = Node::start().await;
    let presented = node.send("GET", "/api/v1/system", &[("authorization", "Bearer x")], "").await;
    assert_eq!(presented.reason(), "unauthenticated");
    assert!(presented.json()["message"].as_str().unwrap().contains("no credentials are configured"));
    let client = Client::connect(&node.url(), Some("x")).await.unwrap();
    assert_eq!(client.info().await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_node_that_lets_everybody_in_checks_a_token_that_is_presented_and_says_why_it_is_open() {
    let node = Node::start_with(|setup| setup.api.auth = AuthConfig::Disabled(Some(TOKEN.to_owned()))).await;
    for (authorization, status) in [(None, 200), (Some(format!("Bearer {TOKEN}")), 200), (Some("Bearer wrong".to_owned()), 401)] {
        let headers: Vec<_> = authorization.iter().map(|value| ("authorization", value.as_str())).collect();
        assert_eq!(node.send("GET", "/api/v1/system", &headers, "").await.status, status, "{authorization:?}");
    }
    assert_eq!(node.send("GET", "/api/v1/system", &[("origin", "https://evil.example")], "").await.status, 403);
    let warning = node.send("GET", "/health/deep", &[], "").await.json()["warnings"][0].clone();
    assert!(warning.as_str().unwrap().starts_with("authentication is disabled"), "{warning}");
}

#[tokio::test]
async fn an_open_node_refuses_pages_of_other_origins() {
    let node = Node::start().await;
    let own = node.url();
    for (origin, status) in [("https://evil.example", 403), ("null", 403), (own.as_str(), 200)] {
        let answer = node.send("GET", "/api/v1/actors/mirror", &[("origin", origin)], "").await;
        assert_eq!(answer.status, status, "{origin}");
    }
}
