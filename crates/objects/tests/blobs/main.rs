//! What blobs promise, on files and in buckets.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod buckets;
mod node;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use node::{Backend, Node, corrupt, ctx, each, http_get, large, until, whole};
use plexspaces_actor::{BlobAccess, BlobStore, Config, Content, Objects, Request, Runtime, Written};
use plexspaces_objects::Kept;
use plexspaces_store::Memory;
use plexspaces_types::{Clock, Failure, Name, Payload};
use tokio::sync::{Notify, Semaphore};

#[tokio::test]
async fn a_blob_is_read_as_it_was_written_also_in_parts_and_after_a_restart() {
    for node in each() {
        let large = large();
        let info = node.put("models/a", large.clone()).await;
        assert_eq!((info.size, info.sha256.len(), info.content_type.as_str()), (18_000_000, 64, "text/plain"));
        let node = Node::over(node.store, node.backend, 7);
        assert_eq!(node.runtime.blob(&ctx(), "models/a").await.unwrap(), info);
        assert!(node.get("models/a", 0, None).await.unwrap() == large);
        assert_eq!(node.get("models/a", 5_242_870, Some(20)).await.unwrap(), large[5_242_870..5_242_890]);
        assert_eq!(node.get("models/a", 18_000_000, Some(20)).await.unwrap(), Vec::<u8>::new());
        assert_eq!(node.get("models/a", 18_000_001, None).await.unwrap_err().field.as_deref(), Some("offset"));
        for (name, size) in [("empty", 0), ("piece", 1 << 20), ("bucket", 5 << 20)] {
            node.put(name, vec![7; size]).await;
            assert!(node.get(name, 0, None).await.unwrap() == vec![7; size], "{name}");
        }
        assert_eq!(node.backend.objects(), 4);
    }
}

#[tokio::test]
async fn a_name_stands_for_the_old_bytes_or_for_the_new_ones() {
    for node in each() {
        node.put("a", "old").await;
        let (_, _, reading) = node.runtime.get_blob(&ctx(), "a", 0, None).await.unwrap();
        node.put("a", "new bytes").await;
        assert_eq!(node.get("a", 0, None).await.unwrap(), b"new bytes");
        assert_eq!(node::bytes(reading).await.unwrap(), b"old", "who reads goes on with what it has begun");
        assert_eq!(node.backend.objects(), 1, "nothing is left of the old bytes");
    }
}

#[tokio::test]
async fn a_blob_that_is_cut_off_leaves_nothing() {
    for node in each() {
        node.put("a", "whole").await;
        for size in [4, 18_000_000] {
            let pieces = [Ok(Bytes::from(vec![7; size])), Err(Failure::invalid("body", "the body ended"))];
            let failure = node.runtime.put_blob(&ctx(), "a", "", stream::iter(pieces).boxed(), None).await.unwrap_err();
            assert_eq!(failure.field.as_deref(), Some("body"));
            assert_eq!(node.backend.objects(), 1);
        }
        // Whoever writes goes away in the middle.
        let endless = stream::once(async { Ok(Bytes::from(vec![7; 9 << 20])) }).chain(stream::pending()).boxed();
        let ctx = ctx();
        let writing = node.runtime.put_blob(&ctx, "a", "", endless, None);
        assert!(tokio::time::timeout(Duration::from_millis(500), writing).await.is_err());
        until(&format!("{} has one object and no parts", node.kept.name()), || node.backend.left() == (1, 0)).await;
        assert_eq!(node.get("a", 0, None).await.unwrap(), b"whole");
    }
}

#[tokio::test]
async fn what_is_too_large_or_over_the_quota_is_refused_and_leaves_nothing() {
    for node in each() {
        let failure = node.runtime.put_blob(&ctx(), "a", "", whole(vec![0; (20 << 20) + 1]), None).await.unwrap_err();
        assert_eq!(failure.code.name(), "payload_too_large");
        node.put("a", vec![0; 18 << 20]).await;
        let failure = node.runtime.put_blob(&ctx(), "b", "", whole(vec![0; 18 << 20]), None).await.unwrap_err();
        assert_eq!(failure.code.name(), "quota_exceeded");
        node.put("a", vec![1; 19 << 20]).await;
        assert_eq!(node.backend.objects(), 1);
        for (name, content_type, field) in
            [("", "", "name"), ("/a", "", "name"), ("a\n", "", "name"), ("..", "", "name"), ("a", "ä", "content_type")]
        {
            let failure = node.runtime.put_blob(&ctx(), name, content_type, whole("x"), None).await.unwrap_err();
            assert_eq!((failure.code.name(), failure.field.as_deref()), ("invalid_argument", Some(field)), "{name:?}");
        }
        assert_eq!(node.backend.objects(), 1);
    }
}

#[tokio::test]
async fn blobs_are_listed_and_removed_in_their_namespace() {
    for node in each() {
        for name in ["x/1", "x/2", "y"] {
            node.put(name, name.to_owned()).await;
        }
        let (first, more) = node.runtime.list_blobs(&ctx(), "x/", None, 1).await.unwrap();
        assert_eq!((first[0].name.as_str(), more), ("x/1", true));
        let (second, more) = node.runtime.list_blobs(&ctx(), "x/", Some("x/1"), 10).await.unwrap();
        assert_eq!((second.len(), second[0].name.as_str(), more), (1, "x/2", false));
        let mut elsewhere = ctx();
        elsewhere.namespace = Name::new("namespace", "other").unwrap();
        assert_eq!(node.runtime.blob(&elsewhere, "y").await.unwrap_err().code.name(), "not_found");
        assert!(!node.runtime.delete_blob(&elsewhere, "y", None).await.unwrap());
        assert!(node.runtime.delete_blob(&ctx(), "y", None).await.unwrap());
        assert!(!node.runtime.delete_blob(&ctx(), "y", None).await.unwrap());
        assert_eq!(node.get("y", 0, None).await.unwrap_err().code.name(), "not_found");
        assert_eq!(node.backend.objects(), 2);
    }
}

#[tokio::test]
async fn bytes_that_are_not_those_that_were_written_are_not_given_as_a_whole() {
    for node in each() {
        node.put("a", "what was written").await;
        corrupt(&node.backend.directory(), "what was written", "what was wr1tten");
        let (_, _, content) = node.runtime.get_blob(&ctx(), "a", 0, None).await.unwrap();
        let failure = node::bytes(content).await.unwrap_err();
        assert_eq!(failure.code.name(), "storage_failed");
        assert!(failure.message.contains("not those that were written"), "{}", failure.message);
    }
}

#[tokio::test]
async fn objects_that_no_name_stands_for_are_swept_and_no_others() {
    for node in each() {
        let mut elsewhere = ctx();
        elsewhere.namespace = Name::new("namespace", "other").unwrap();
        node.put("a", "named").await;
        node.put("a", "named again").await;
        node.runtime.put_blob(&elsewhere, "a", "", whole("named elsewhere"), None).await.unwrap();
        // As a node leaves them that is cut off before the name is there; the last ones are those of another node, and of somebody else.
        for (directory, mark) in [("default/default", "07"), ("default/other", "07"), ("default/default", "08")] {
            let key = format!("{directory}/{}{:032x}", mark.repeat(8), 1);
            node.kept.write(&key, "", whole("left"), 1000).await.unwrap();
        }
        node.kept.write("default/default/readme.txt", "", whole("not a blob"), 1000).await.unwrap();
        assert_eq!(node.runtime.sweep_blobs(Duration::from_hours(1)).await.unwrap(), 0, "they may be named yet");
        // Their time is that of whole seconds.
        let old = async || node.kept.list(Duration::from_millis(1100)).try_collect::<Vec<_>>().await.unwrap().len();
        while old().await < 6 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(node.runtime.sweep_blobs(Duration::ZERO).await.unwrap(), 2);
        assert_eq!(node.runtime.sweep_blobs(Duration::ZERO).await.unwrap(), 0);
        assert_eq!(node.get("a", 0, None).await.unwrap(), b"named again");
        assert_eq!(node.runtime.get_blob(&elsewhere, "a", 0, None).await.unwrap().0.size, 15);
        assert_eq!(node.backend.objects(), 4);
        // A new node knows as much.
        let node = Node::over(node.store, node.backend, 7);
        assert_eq!(node.runtime.sweep_blobs(Duration::ZERO).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_link_is_made_of_what_can_be_read_or_written() {
    for node in each() {
        let life = Duration::from_mins(15);
        let failure = node.runtime.presign_blob(&ctx(), "a/b", BlobAccess::Read, life).await.unwrap_err();
        assert_eq!(failure.code.name(), "not_found");
        node.put("a/b", "text").await;
        for wrong in [Duration::ZERO, Duration::from_hours(7 * 24 + 1)] {
            let failure = node.runtime.presign_blob(&ctx(), "a/b", BlobAccess::Read, wrong).await.unwrap_err();
            assert_eq!(failure.field.as_deref(), Some("expires_secs"));
        }
        assert_eq!(node.runtime.presign_blob(&ctx(), "/", BlobAccess::Write, life).await.unwrap_err().field.as_deref(), Some("name"));
        let write = node.runtime.presign_blob(&ctx(), "a/c", BlobAccess::Write, life).await.unwrap();
        let begin = "https://node.example/api/v1/blobs/a%2Fc?tenant_id=default&namespace=default&expires=";
        assert!(write.url.starts_with(begin), "{}", write.url);
        let nowhere = BlobStore { url: "".into(), ..node.blobs.clone() };
        let config = Config::new(Name::new("node", "node2").unwrap(), node.store.clone(), Clock::system());
        let runtime = Runtime::new(Config { services: plexspaces_coord::services(), blobs: Some(nowhere), ..config });
        let failure = runtime.presign_blob(&ctx(), "a/c", BlobAccess::Write, life).await.unwrap_err();
        assert!(failure.code.name() == "invalid_config" && failure.message.contains("api.public_url"), "{}", failure.message);
        let read = node.runtime.presign_blob(&ctx(), "a/b", BlobAccess::Read, life).await.unwrap();
        let through_node = || assert!(read.url.starts_with("https://node.example/api/v1/blobs/a%2Fb?"), "{}", read.url);
        let (part, other) = match node.kept.name() {
            "s3" => ("X-Amz-Expires=900", "X-Amz-Expires=901"),
            "azure" => ("sp=r", "sp=rw"),
            // Links of Google are good for Google's own address only.
            _ => {
                through_node();
                continue;
            }
        };
        let Backend::Bucket(server) = &node.backend else { panic!() };
        let (status, content_type, body) = http_get(&read.url, None).await;
        assert_eq!((status, content_type.as_str(), &body[..]), (200, "text/plain", &b"text"[..]));
        let tampered = read.url.replace(part, other);
        assert!(tampered != read.url && tampered.starts_with(&server.endpoint()), "{tampered}");
        assert_eq!(http_get(&tampered, None).await.0, 403);
    }
}

/// Objects that are opened late.
struct Late {
    kept: Kept,
    asked: Notify,
    opens: Semaphore,
}

#[async_trait]
impl Objects for Late {
    async fn write(&self, key: &str, content_type: &str, content: Content, limit: u64) -> Result<Written, Failure> {
        self.kept.write(key, content_type, content, limit).await
    }

    async fn read(&self, key: &str, range: Range<u64>, sha256: Option<[u8; 32]>) -> Result<Content, Failure> {
        self.asked.notify_one();
        drop(self.opens.acquire().await.unwrap());
        self.kept.read(key, range, sha256).await
    }

    async fn remove(&self, key: &str) -> Result<(), Failure> {
        self.kept.remove(key).await
    }

    async fn url(&self, key: &str, content_type: &str, life: Duration) -> Result<Option<String>, Failure> {
        self.kept.url(key, content_type, life).await
    }

    fn list(&self, age: Duration) -> BoxStream<'_, Result<String, Failure>> {
        self.kept.list(age)
    }
}

#[tokio::test]
async fn who_opens_a_blob_while_it_is_replaced_reads_the_new_one() {
    let directory = tempfile::tempdir().unwrap();
    let kept = Kept::in_directory(directory.path()).unwrap();
    let late = Arc::new(Late { kept, asked: Notify::new(), opens: Semaphore::new(0) });
    let (runtime, _) = node::runtime(Arc::new(Memory::new()), late.clone(), 7);
    let put = async |text: &'static str| runtime.put_blob(&ctx(), "a", "", whole(text), None).await.unwrap();
    let get = || {
        let runtime = runtime.clone();
        tokio::spawn(async move { node::bytes(runtime.get_blob(&ctx(), "a", 0, None).await?.2).await })
    };
    put("old").await;
    let reading = get();
    late.asked.notified().await;
    put("new bytes").await;
    late.opens.add_permits(1);
    assert_eq!(reading.await.unwrap().unwrap(), b"new bytes");
    late.asked.notified().await;
    late.opens.forget_permits(1);
    let reading = get();
    late.asked.notified().await;
    assert!(runtime.delete_blob(&ctx(), "a", None).await.unwrap());
    late.opens.add_permits(1);
    assert_eq!(reading.await.unwrap().unwrap_err().code.name(), "not_found");
}

#[tokio::test]
async fn nobody_outside_the_node_can_make_a_name_stand_for_anothers_bytes() {
    let node = Node::on_files();
    let request = Request { operation: "get".into(), payload: Payload::empty(), idempotency_key: None };
    let failure = node.runtime.ask_service(&ctx(), "blobs", "default", request).await.unwrap_err();
    assert_eq!(failure.code.name(), "permission_denied");
}
