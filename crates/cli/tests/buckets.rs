//! A node whose blobs are in a bucket elsewhere, which comes late, goes and comes back.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::path::Path;
use std::process::Command;

use http::Method;
use plexspaces_testkit::servers::Bucket;
use support::{Http, Node, PLEXSPACES, cli, stdout, until};

fn config(data: &Path, server: &Bucket) -> String {
    let text = format!("[blobs]\nurl = \"{}/node\"\nendpoint = \"{}\"\ntimeout = \"20s\"\n", server.url(), server.endpoint());
    let path = data.join("node.toml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_starts_without_its_bucket_and_goes_on_by_itself_when_it_is_there() {
    comes_and_goes(Bucket::s3().unwrap()).await;
}

#[cfg(feature = "gcs")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_starts_without_its_bucket_of_google_and_goes_on_by_itself_when_it_is_there() {
    comes_and_goes(Bucket::gcs().unwrap()).await;
}

#[cfg(feature = "azure")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_starts_without_its_container_of_azure_and_goes_on_by_itself_when_it_is_there() {
    comes_and_goes(Bucket::azure().unwrap()).await;
}

async fn comes_and_goes(mut server: Bucket) {
    let (data, http) = (tempfile::tempdir().unwrap(), Http::new());
    server.stop();
    let (config, environment) = (config(data.path(), &server), server.environment().unwrap());
    let start = || {
        let mut command = Node::command(data.path(), &["--config", &config]);
        command.envs(environment.clone());
        Node::spawn(command)
    };
    let node = start();
    let blob = |node: &Node| format!("{}/api/v1/blobs/models%2Fa", node.url);
    let large = "0123456789".repeat(2_500_000);
    assert!(http.becomes(&node, 503).await.contains(&format!("the store of blobs ({}) does not answer", server.name())));
    let refused = http.send(Method::PUT, &blob(&node), &[], "text").await.unwrap();
    assert_eq!((refused.status, refused.body["reason"].as_str()), (503, Some("unavailable")), "{}", refused.body);
    // What needs no blobs goes on.
    assert_eq!(http.send(Method::PUT, &format!("{}/api/v1/kv/k", node.url), &[], r#"{"value":"v"}"#).await.unwrap().status, 200);
    server.again().unwrap();
    http.becomes(&node, 200).await;
    let put = http.send(Method::PUT, &blob(&node), &[("content-type", "text/plain")], large.clone()).await.unwrap();
    assert_eq!((put.status, put.body["size"].as_u64()), (200, Some(25_000_000)), "{}", put.body);
    node.kill();
    let node = start();
    http.becomes(&node, 200).await;
    let part = http.send(Method::GET, &blob(&node), &[("range", "bytes=10000005-10000014")], "").await.unwrap();
    assert_eq!((part.status, part.body.to_string()), (206, "5678901234".to_owned()));
    let got = http.send(Method::GET, &blob(&node), &[], "").await.unwrap();
    assert!(got.body.to_string().trim_matches('"') == large);

    let link = http.send(Method::POST, &format!("{}:presign", blob(&node)), &[], "{}").await.unwrap();
    let url = link.body["url"].as_str().unwrap().to_owned();
    // The links of Google are good for Google's own address only: elsewhere they lead to the node.
    let begin = if server.name() == "gcs" { node.url.clone() } else { server.endpoint() };
    assert!(url.starts_with(&begin), "{url}");
    let direct = http.send(Method::GET, &url, &[("range", "bytes=10000005-10000014")], "").await.unwrap();
    assert_eq!((direct.status, direct.body.to_string()), (206, "5678901234".to_owned()));

    server.kill().unwrap();
    let failed = http.send(Method::GET, &blob(&node), &[], "").await.unwrap();
    assert_eq!((failed.status, failed.body["reason"].as_str()), (503, Some("unavailable")), "{}", failed.body);
    http.becomes(&node, 503).await;
    server.again().unwrap();
    http.becomes(&node, 200).await;
    assert_eq!(http.send(Method::DELETE, &blob(&node), &[], "").await.unwrap().status, 200);
    until(async || server.count().unwrap() == (0, 0)).await;
    assert_eq!(node.terminate(), Some(0));
}

#[test]
fn a_dump_shows_the_bucket_and_no_credentials() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("node.toml");
    let key = data.path().join("key.json");
    std::fs::write(&key, r#"{"private_key": "s3cret"}"#).unwrap();
    for (scheme, environment) in [
        ("s3", [("AWS_ACCESS_KEY_ID", "s3cret"), ("AWS_SECRET_ACCESS_KEY", "s3cret")]),
        ("gs", [("GOOGLE_APPLICATION_CREDENTIALS", key.to_str().unwrap()), ("GOOGLE_BEARER_TOKEN", "s3cret")]),
        ("az", [("AZURE_STORAGE_ACCOUNT", "plexspaces"), ("AZURE_STORAGE_KEY", "s3cret==")]),
    ] {
        if !built(scheme) {
            continue;
        }
        std::fs::write(&path, format!("[blobs]\nurl = \"{scheme}://bucket/prefix\"\n")).unwrap();
        let mut command = Command::new(PLEXSPACES);
        command.args(["config", "dump", "--config", path.to_str().unwrap()]);
        let dump = stdout(&command.envs(environment).output().unwrap());
        assert!(dump.contains(&format!("url = \"{scheme}://bucket/prefix\"")) && !dump.contains("s3cret"), "{dump}");
        std::fs::write(&path, format!("[blobs]\nurl = \"{scheme}://key:s3cret@bucket/prefix\"\n")).unwrap();
        let said = cli(&["config", "check", path.to_str().unwrap()]);
        let text = format!("{}{}", stdout(&said), support::stderr(&said));
        assert!(text.contains("credentials come from the environment") && !text.contains("cret@"), "{text}");
    }
}

/// Whether the program knows such places.
fn built(scheme: &str) -> bool {
    match scheme {
        "gs" => cfg!(feature = "gcs"),
        "az" => cfg!(feature = "azure"),
        _ => true,
    }
}

/// What cannot be read at all ends the start; it is named, and not repeated.
#[cfg(feature = "gcs")]
#[test]
fn a_key_that_cannot_be_read_ends_the_start_and_is_not_shown() {
    let data = tempfile::tempdir().unwrap();
    let (path, key) = (data.path().join("node.toml"), data.path().join("key.json"));
    std::fs::write(&path, "[blobs]\nurl = \"gs://bucket\"\n").unwrap();
    std::fs::write(&key, r#"{"type": "service_account", "private_key": "s3cret"}"#).unwrap();
    let mut command = Node::command(data.path(), &["--config", path.to_str().unwrap()]);
    let output = command.env("GOOGLE_APPLICATION_CREDENTIALS", &key).output().unwrap();
    let text = format!("{}{}", stdout(&output), support::stderr(&output));
    assert!(!output.status.success() && !text.contains("s3cret"), "{text}");
    assert!(text.contains("GOOGLE_APPLICATION_CREDENTIALS cannot be used: it has no text \"private_key_id\""), "{text}");
}
