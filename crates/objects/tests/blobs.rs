//! What blobs promise, on files.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use plexspaces_actor::{BlobStore, Config, Content, Request, Runtime};
use plexspaces_objects::Kept;
use plexspaces_store::{Memory, Store};
use plexspaces_types::{Clock, Failure, Name, Payload, RequestContext};
use tempfile::TempDir;

struct Node {
    runtime: Runtime,
    store: Arc<dyn Store>,
    directory: TempDir,
}

impl Node {
    fn new() -> Self {
        Self::over(Arc::new(Memory::new()), TempDir::new().unwrap())
    }

    fn over(store: Arc<dyn Store>, directory: TempDir) -> Self {
        let objects = Arc::new(Kept::in_directory(&directory.path().join("blobs")).unwrap());
        let blobs = BlobStore { objects, max_bytes: 20 << 20, quota_bytes: 30 << 20 };
        let config = Config::new(Name::new("node", "node1").unwrap(), store.clone(), Clock::system());
        let runtime = Runtime::new(Config { services: plexspaces_coord::services(), blobs: Some(blobs), ..config });
        Self { runtime, store, directory }
    }

    async fn put(&self, name: &str, content: impl Into<Bytes>) -> plexspaces_actor::BlobInfo {
        self.runtime.put_blob(&ctx(), name, "text/plain", whole(content)).await.unwrap()
    }

    async fn get(&self, name: &str, offset: u64, length: Option<u64>) -> Result<Vec<u8>, Failure> {
        let (_, range, content) = self.runtime.get_blob(&ctx(), name, offset, length).await?;
        let bytes: Vec<u8> = content.map_ok(|piece| piece.to_vec()).try_concat().await?;
        assert_eq!(bytes.len() as u64, range.end - range.start);
        Ok(bytes)
    }

    /// How many files there are.
    fn files(&self) -> usize {
        fn count(directory: &std::path::Path) -> usize {
            let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
            entries.map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
        }
        count(&self.directory.path().join("blobs"))
    }
}

fn whole(content: impl Into<Bytes>) -> Content {
    let content = content.into();
    stream::once(async { Ok(content) }).boxed()
}

fn ctx() -> RequestContext {
    RequestContext::external(Name::default_scope(), Name::default_scope(), "test")
}

#[tokio::test]
async fn a_blob_is_read_as_it_was_written_also_in_parts_and_after_a_restart() {
    let node = Node::new();
    let large: Vec<u8> = (0..12_000_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let info = node.put("models/a", large.clone()).await;
    assert_eq!((info.size, info.sha256.len(), info.content_type.as_str()), (12_000_000, 64, "text/plain"));
    let node = Node::over(node.store, node.directory);
    assert_eq!(node.runtime.blob(&ctx(), "models/a").await.unwrap(), info);
    assert_eq!(node.get("models/a", 0, None).await.unwrap(), large);
    assert_eq!(node.get("models/a", 5_999_990, Some(20)).await.unwrap(), large[5_999_990..6_000_010]);
    assert_eq!(node.get("models/a", 12_000_000, Some(20)).await.unwrap(), Vec::<u8>::new());
    assert_eq!(node.get("models/a", 12_000_001, None).await.unwrap_err().field.as_deref(), Some("offset"));
    node.put("empty", "").await;
    assert_eq!(node.get("empty", 0, None).await.unwrap(), Vec::<u8>::new());
}

#[tokio::test]
async fn a_name_stands_for_the_old_bytes_or_for_the_new_ones() {
    let node = Node::new();
    node.put("a", "old").await;
    let (_, _, reading) = node.runtime.get_blob(&ctx(), "a", 0, None).await.unwrap();
    node.put("a", "new bytes").await;
    assert_eq!(node.get("a", 0, None).await.unwrap(), b"new bytes");
    let old: Vec<u8> = reading.map_ok(|piece| piece.to_vec()).try_concat().await.unwrap();
    assert_eq!(old, b"old", "who reads goes on with what it has begun");
    assert_eq!(node.files(), 1, "nothing is left of the old bytes");
}

#[tokio::test]
async fn a_blob_that_is_cut_off_leaves_nothing() {
    let node = Node::new();
    node.put("a", "whole").await;
    let broken = stream::iter([Ok(Bytes::from_static(b"half")), Err(Failure::invalid("body", "the body ended"))]).boxed();
    assert_eq!(node.runtime.put_blob(&ctx(), "a", "", broken).await.unwrap_err().field.as_deref(), Some("body"));
    assert_eq!(node.get("a", 0, None).await.unwrap(), b"whole");
    assert_eq!(node.files(), 1);
}

#[tokio::test]
async fn what_is_too_large_or_over_the_quota_is_refused_and_leaves_nothing() {
    let node = Node::new();
    let failure = node.runtime.put_blob(&ctx(), "a", "", whole(vec![0; (20 << 20) + 1])).await.unwrap_err();
    assert_eq!(failure.code.name(), "payload_too_large");
    node.put("a", vec![0; 18 << 20]).await;
    let failure = node.runtime.put_blob(&ctx(), "b", "", whole(vec![0; 18 << 20])).await.unwrap_err();
    assert_eq!(failure.code.name(), "quota_exceeded");
    node.put("a", vec![1; 19 << 20]).await;
    assert_eq!(node.files(), 1);
    for (name, content_type, field) in [("", "", "name"), ("/a", "", "name"), ("a\n", "", "name"), ("a", "ä", "content_type")] {
        let failure = node.runtime.put_blob(&ctx(), name, content_type, whole("x")).await.unwrap_err();
        assert_eq!((failure.code.name(), failure.field.as_deref()), ("invalid_argument", Some(field)), "{name:?}");
    }
    assert_eq!(node.files(), 1);
}

#[tokio::test]
async fn blobs_are_listed_and_removed_in_their_namespace() {
    let node = Node::new();
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
    assert!(!node.runtime.delete_blob(&elsewhere, "y").await.unwrap());
    assert!(node.runtime.delete_blob(&ctx(), "y").await.unwrap());
    assert!(!node.runtime.delete_blob(&ctx(), "y").await.unwrap());
    assert_eq!(node.get("y", 0, None).await.unwrap_err().code.name(), "not_found");
    assert_eq!(node.files(), 2);
}

#[tokio::test]
async fn nobody_outside_the_node_can_make_a_name_stand_for_anothers_bytes() {
    let node = Node::new();
    let request = Request { operation: "get".into(), payload: Payload::empty(), idempotency_key: None };
    let failure = node.runtime.ask_service(&ctx(), "blobs", "default", request).await.unwrap_err();
    assert_eq!(failure.code.name(), "permission_denied");
}
