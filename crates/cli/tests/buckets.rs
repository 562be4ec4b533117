//! A node whose blobs are in a bucket elsewhere, which comes late, goes and comes back.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use http::Method;
use plexspaces_testkit::servers::S3;
use support::{Http, Node, PLEXSPACES, cli, stdout};

fn config(data: &Path, server: &S3) -> String {
    let text = format!(
        "[blobs]\nurl = \"s3://{}/node\"\nendpoint = \"{}\"\nregion = \"us-east-1\"\ntimeout = \"5s\"\n",
        S3::BUCKET,
        server.endpoint()
    );
    let path = data.join("node.toml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

async fn becomes(http: &Http, node: &Node, ready: u16) -> String {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = http.get(node, "/health/ready").await;
        if answer.status == ready {
            return answer.body["message"].as_str().unwrap_or_default().to_owned();
        }
        assert!(Instant::now() < deadline, "{} {}", answer.status, answer.body);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_starts_without_its_bucket_and_goes_on_by_itself_when_it_is_there() {
    let (data, http) = (tempfile::tempdir().unwrap(), Http::new());
    let mut server = S3::start().unwrap();
    server.stop();
    let config = config(data.path(), &server);
    let start = || {
        let mut command = Command::new(PLEXSPACES);
        command.args(["start", "--listen-addr", "127.0.0.1:0", "--no-default-ports", "--config", &config, "--data-dir"]).arg(data.path());
        command.env("AWS_ACCESS_KEY_ID", S3::KEY).env("AWS_SECRET_ACCESS_KEY", S3::SECRET);
        Node::spawn(command)
    };
    let node = start();
    let blob = |node: &Node| format!("{}/api/v1/blobs/models%2Fa", node.url);
    let large = "0123456789".repeat(2_500_000);
    assert!(becomes(&http, &node, 503).await.contains("the store of blobs (s3) does not answer"));
    let refused = http.send(Method::PUT, &blob(&node), &[], "text").await.unwrap();
    assert_eq!((refused.status, refused.body["reason"].as_str()), (503, Some("unavailable")), "{}", refused.body);
    // What needs no blobs goes on.
    assert_eq!(http.send(Method::PUT, &format!("{}/api/v1/kv/k", node.url), &[], r#"{"value":"v"}"#).await.unwrap().status, 200);
    server.again().unwrap();
    becomes(&http, &node, 200).await;
    let put = http.send(Method::PUT, &blob(&node), &[("content-type", "text/plain")], large.clone()).await.unwrap();
    assert_eq!((put.status, put.body["size"].as_u64()), (200, Some(25_000_000)), "{}", put.body);
    node.kill();
    let node = start();
    becomes(&http, &node, 200).await;
    let part = http.send(Method::GET, &blob(&node), &[("range", "bytes=10000005-10000014")], "").await.unwrap();
    assert_eq!((part.status, part.body.to_string()), (206, "5678901234".to_owned()));
    let got = http.send(Method::GET, &blob(&node), &[], "").await.unwrap();
    assert!(got.body.to_string().trim_matches('"') == large);

    let link = http.send(Method::POST, &format!("{}/presign", blob(&node)), &[], "{}").await.unwrap();
    let url = link.body["url"].as_str().unwrap().to_owned();
    assert!(url.starts_with(&server.endpoint()), "{url}");
    let direct = http.send(Method::GET, &url, &[("range", "bytes=10000005-10000014")], "").await.unwrap();
    assert_eq!((direct.status, direct.body.to_string()), (206, "5678901234".to_owned()));

    server.kill().unwrap();
    let failed = http.send(Method::GET, &blob(&node), &[], "").await.unwrap();
    assert_eq!((failed.status, failed.body["reason"].as_str()), (503, Some("unavailable")), "{}", failed.body);
    becomes(&http, &node, 503).await;
    server.again().unwrap();
    becomes(&http, &node, 200).await;
    assert_eq!(http.send(Method::DELETE, &blob(&node), &[], "").await.unwrap().status, 200);
    assert_eq!(server.count().unwrap(), (0, 0));
    assert_eq!(node.terminate(), Some(0));
}

#[test]
fn a_dump_shows_the_bucket_and_no_credentials() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("node.toml");
    std::fs::write(&path, "[blobs]\nurl = \"s3://bucket/prefix\"\n").unwrap();
    let mut command = Command::new(PLEXSPACES);
    command.args(["config", "dump", "--config", path.to_str().unwrap()]);
    let dump = stdout(&command.env("AWS_ACCESS_KEY_ID", S3::KEY).env("AWS_SECRET_ACCESS_KEY", S3::SECRET).output().unwrap());
    assert!(dump.contains("url = \"s3://bucket/prefix\"") && !dump.contains(S3::KEY) && !dump.contains(S3::SECRET), "{dump}");
    std::fs::write(&path, "[blobs]\nurl = \"s3://key:s3cret@bucket/prefix\"\n").unwrap();
    let said = cli(&["config", "check", path.to_str().unwrap()]);
    let text = format!("{}{}", stdout(&said), support::stderr(&said));
    assert!(text.contains("credentials come from the environment") && !text.contains("cret@"), "{text}");
}
