//! Signed links to blobs, which stand for a credential.

use plexspaces_api::AuthConfig;
use serde_json::{Value, json};

use crate::support::{Answer, Node, TOKEN};

async fn presign(node: &Node, name: &str, body: Value) -> Answer {
    let token = format!("Bearer {TOKEN}");
    node.send("POST", &format!("/api/v1/blobs/{name}:presign"), &[("authorization", &token)], body.to_string()).await
}

/// The path and the query of a link.
async fn link(node: &Node, name: &str, body: Value) -> String {
    let answer = presign(node, name, body).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    answer.json()["url"].as_str().unwrap().strip_prefix("http://node-1").unwrap().to_owned()
}

#[tokio::test]
async fn a_signed_link_reads_or_writes_one_blob_without_a_token_until_it_expires() {
    let node = Node::start_with(|setup| setup.api.auth = AuthConfig::Token(TOKEN.to_owned())).await;
    assert_eq!(presign(&node, "a", json!({})).await.reason(), "not_found");
    let put = link(&node, "dir%2Fa", json!({"method": "PUT", "expires_secs": 60})).await;
    let kind = [("content-type", "text/html")];
    assert_eq!(node.send("PUT", &put, &kind, "written").await.status, 200);
    assert_eq!(node.send("GET", &put, &[], "").await.reason(), "unauthenticated");

    let answer = presign(&node, "dir%2Fa", json!({})).await.json();
    assert_eq!((&answer["method"], &answer["expires_at"]), (&json!("GET"), &json!("2023-11-14T22:28:20Z")));
    let get = link(&node, "dir%2Fa", json!({})).await;
    let got = node.get(&get).await;
    assert_eq!((got.status.as_u16(), &got.body[..], got.header("content-type")), (200, &b"written"[..], "text/html"));
    assert_eq!((got.header("x-content-type-options"), got.header("content-security-policy")), ("nosniff", "sandbox; default-src 'none'"));
    assert_eq!(node.send("GET", &get, &[("range", "bytes=0-3")], "").await.status, 206);
    assert_eq!(node.get(&format!("{get}&offset=4")).await.body, "ten");

    let (path, query) = get.split_once('?').unwrap();
    let expires = query.split('&').find_map(|pair| pair.strip_prefix("expires=")).unwrap();
    let later = (expires.parse::<u64>().unwrap() + 1).to_string();
    for wrong in [
        get.replace("dir%2Fa", "dir%2Fb"),
        get.replace("namespace=default", "namespace=other"),
        get.replace("tenant_id=default", "tenant_id=other"),
        get.replace(expires, &later),
        get.replace("signature=", "signature=0"),
        format!("{path}?expires={expires}&signature="),
        format!("{path}?signature={}", "0".repeat(64)),
    ] {
        let answer = node.get(&wrong).await;
        assert!(matches!(answer.reason().as_str(), "unauthenticated" | "invalid_argument"), "{wrong}: {:?}", answer.body);
    }
    for (method, path) in
        [("PUT", get.as_str()), ("DELETE", &get), ("GET", &get.replace('?', "/info?")), ("GET", "/api/v1/blobs?signature=x")]
    {
        assert_eq!(node.send(method, path, &[], "x").await.reason(), "unauthenticated", "{method} {path}");
    }
    // A token that is presented is checked all the same.
    assert_eq!(node.send("GET", &get, &[("authorization", "Bearer wrong")], "").await.reason(), "unauthenticated");

    node.clock.advance(60_000);
    let late = node.send("PUT", &put, &kind, "again").await;
    assert!(late.json()["message"].as_str().unwrap().contains("has expired"), "{:?}", late.body);
    assert_eq!(node.get(&get).await.status, 200);
    node.clock.advance(840_000);
    assert_eq!(node.get(&get).await.reason(), "unauthenticated");
}

#[tokio::test]
async fn links_of_a_wrong_kind_are_not_made() {
    let node = Node::start_with(|setup| setup.api.auth = AuthConfig::Token(TOKEN.to_owned())).await;
    for (body, field) in [
        (json!({"method": "DELETE"}), "method"),
        (json!({"method": "PUT", "expires_secs": 0}), "expires_secs"),
        (json!({"method": "PUT", "expires_secs": 604_801}), "expires_secs"),
    ] {
        let answer = presign(&node, "a", body.clone()).await;
        assert_eq!((answer.reason().as_str(), answer.field().as_str()), ("invalid_argument", field), "{body}");
    }
    let without = node.send("POST", "/api/v1/blobs/a:presign", &[], "{}").await;
    assert_eq!(without.reason(), "unauthenticated");
}
