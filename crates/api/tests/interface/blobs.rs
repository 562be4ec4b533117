//! Blobs over HTTP: names of any characters, parts, media types.

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use plexspaces_types::{Name, RequestContext};
use serde_json::json;

use crate::support::Node;

fn path(name: &str) -> String {
    let encoded: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
    format!("/api/v1/blobs/{encoded}")
}

#[tokio::test]
async fn a_blob_of_any_name_is_reached_by_it() {
    let node = Node::start().await;
    for name in ["a b", "ä/ö 名", "100%", "a?b=c&d#e", "x:presign", "x/presign", "x/info", "...", "a//b/", "\"'<>\\", "a+b"] {
        let path = path(name);
        let put = node.send("PUT", &path, &[], name.to_owned()).await;
        assert_eq!((put.status.as_u16(), &put.json()["name"]), (200, &json!(name)), "{name}");
        assert_eq!(node.get(&path).await.body, name);
        assert_eq!(node.get(&format!("{path}/info")).await.json()["name"], name);
        let link = node.send("POST", &format!("{path}:presign"), &[], "{}").await.json();
        let link = link["url"].as_str().unwrap().strip_prefix("http://node-1").unwrap();
        assert_eq!(node.get(link).await.body, name);
        assert_eq!(node.send("DELETE", &path, &[], "").await.json(), json!({"deleted": true}));
    }
    for name in [".", "..", "/a", "a\u{7}", &"a".repeat(513)] {
        let answer = node.send("PUT", &path(name), &[], "x").await;
        assert_eq!((answer.reason().as_str(), answer.field().as_str()), ("invalid_argument", "name"), "{name}");
    }
}

#[tokio::test]
async fn a_part_is_given_where_there_is_one_and_else_how_much_there_is() {
    let node = Node::start().await;
    for (name, content) in [("ten", "0123456789"), ("empty", "")] {
        assert_eq!(node.send("PUT", &path(name), &[], content).await.status, 200);
    }
    for (range, status, part, body) in [
        ("bytes=2-3", 206, "bytes 2-3/10", "23"),
        ("bytes=8-", 206, "bytes 8-9/10", "89"),
        ("bytes=-2", 206, "bytes 8-9/10", "89"),
        ("bytes=0-99999999999999999999", 206, "bytes 0-9/10", "0123456789"),
        ("bytes=3-2", 200, "", "0123456789"),
        ("bytes=0-1,3-4", 200, "", "0123456789"),
    ] {
        let answer = node.send("GET", &path("ten"), &[("range", range)], "").await;
        assert_eq!((answer.status.as_u16(), answer.header("content-range")), (status, part), "{range}");
        assert_eq!(answer.body, body, "{range}");
    }
    let whole = node.send("GET", &path("ten"), &[("range", "bytes=2-3"), ("if-range", "\"another\"")], "").await;
    assert_eq!((whole.status.as_u16(), whole.body.len()), (200, 10), "a part of another version is no use");
    let beyond = node.send("GET", &path("ten"), &[("range", "bytes=10-")], "").await;
    assert_eq!((beyond.status.as_u16(), beyond.header("content-range"), beyond.field().as_str()), (416, "bytes */10", "Range"));
    assert_eq!(beyond.json()["request_id"], beyond.header("x-request-id"));
    let empty = node.send("GET", &path("empty"), &[("range", "bytes=0-9")], "").await;
    assert_eq!((empty.status.as_u16(), empty.body.len(), empty.header("content-length")), (200, 0, "0"));
}

#[tokio::test]
async fn a_blob_without_a_media_type_is_bytes() {
    let node = Node::start().await;
    let ctx = RequestContext::external(Name::default_scope(), Name::default_scope(), "test");
    let content = stream::once(async { Ok(Bytes::from_static(b"x")) }).boxed();
    node.services.runtime.put_blob(&ctx, "a", "", content, None).await.unwrap();
    assert_eq!(node.get(&path("a")).await.header("content-type"), "application/octet-stream");
    let odd = node.send("PUT", &path("b"), &[("content-type", "a/b; c=\"d\"")], "x").await;
    assert_eq!(odd.json()["content_type"], "a/b; c=\"d\"");
    assert_eq!(node.get(&path("b")).await.header("content-type"), "a/b; c=\"d\"");
    let long = node.send("PUT", &path("b"), &[("content-type", &"a".repeat(257))], "x").await;
    assert_eq!((long.reason().as_str(), long.field().as_str()), ("invalid_argument", "content_type"));
}

#[tokio::test]
async fn a_tenant_knows_nothing_of_anothers_blobs() {
    let node = Node::start().await;
    let (own, acme) = (path("plan"), format!("{}?tenant_id=acme", path("plan")));
    assert_eq!(node.send("PUT", &own, &[], "ours").await.status, 200);
    for hidden in [acme.clone(), format!("{}/info?tenant_id=acme", path("plan"))] {
        assert_eq!(node.get(&hidden).await.reason(), "not_found", "{hidden}");
    }
    assert_eq!(node.send("DELETE", &acme, &[], "").await.json(), json!({"deleted": false}));
    assert_eq!(node.get("/api/v1/blobs?tenant_id=acme").await.json()["blobs"], json!([]));
    // The same name is another blob.
    assert_eq!(node.send("PUT", &acme, &[], "theirs").await.status, 200);
    assert_eq!((node.get(&own).await.body, node.get(&acme).await.body), ("ours".into(), "theirs".into()));
    let sizes = async |list: &str| {
        let list = node.get(list).await.json();
        list["blobs"].as_array().unwrap().iter().map(|blob| blob["size"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(sizes("/api/v1/blobs").await, [json!(4)]);
    assert_eq!(sizes("/api/v1/blobs?tenant_id=acme").await, [json!(6)]);
    // A link is one tenant's.
    let link = node.send("POST", &format!("{}:presign", path("plan")), &[], "{}").await.json();
    let link = link["url"].as_str().unwrap().strip_prefix("http://node-1").unwrap().to_owned();
    assert_eq!(node.get(&link).await.body, "ours");
    assert!(link.contains("default"), "{link}");
    assert_ne!(node.get(&link.replacen("default", "acme", 1)).await.status, 200);
    assert_eq!(node.send("DELETE", &acme, &[], "").await.json(), json!({"deleted": true}));
    assert_eq!(node.get(&own).await.body, "ours");
}

#[tokio::test]
async fn who_has_a_blob_is_not_given_it_again() {
    let node = Node::start().await;
    let path = path("plan");
    assert_eq!(node.send("PUT", &path, &[], "one").await.status, 200);
    let first = node.get(&path).await;
    let tag = first.header("etag");
    for given in [tag.to_owned(), format!("\"x\", W/{tag}"), "*".to_owned()] {
        let same = node.send("GET", &path, &[("if-none-match", &given)], "").await;
        assert_eq!((same.status.as_u16(), same.header("etag"), same.body.len()), (304, tag, 0), "{given}");
    }
    assert_eq!(node.send("GET", &path, &[("if-none-match", "\"x\"")], "").await.body, "one");
}
