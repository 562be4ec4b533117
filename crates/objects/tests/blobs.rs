//! What blobs promise, on files and in a bucket.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use plexspaces_actor::{BlobAccess, BlobKeys, BlobStore, Config, Content, Objects as _, Request, Runtime};
use plexspaces_objects::{Kept, Place};
use plexspaces_store::{Memory, Store};
use plexspaces_testkit::servers::S3;
use plexspaces_types::{Clock, Failure, Name, Payload, RequestContext};
use tempfile::TempDir;

/// Where bytes are.
enum Backend {
    Files(TempDir),
    Bucket(Box<S3>),
}

impl Backend {
    fn kept(&self) -> Kept {
        match self {
            Self::Files(directory) => Kept::in_directory(directory.path()).unwrap(),
            Self::Bucket(server) => Kept::at(&place(server), environment(S3::SECRET)).unwrap(),
        }
    }

    fn directory(&self) -> PathBuf {
        match self {
            Self::Files(directory) => directory.path().to_owned(),
            Self::Bucket(server) => server.bucket(),
        }
    }

    /// How many objects there are; parts of objects that are not complete there must be none.
    fn objects(&self) -> usize {
        match self {
            Self::Files(_) => files(&self.directory()).len(),
            Self::Bucket(server) => {
                let (objects, parts) = server.count().unwrap();
                assert_eq!(parts, 0, "parts are left");
                objects
            }
        }
    }
}

fn place(server: &S3) -> Place {
    Place {
        url: format!("s3://{}/a/prefix", S3::BUCKET),
        endpoint: Some(server.endpoint()),
        region: None,
        ca_file: None,
        timeout: Duration::from_secs(20),
    }
}

fn environment(secret: &str) -> [(String, String); 2] {
    [("AWS_ACCESS_KEY_ID", S3::KEY), ("AWS_SECRET_ACCESS_KEY", secret)].map(|(name, value)| (name.to_owned(), value.to_owned()))
}

fn files(directory: &std::path::Path) -> Vec<PathBuf> {
    // One that is gone meanwhile has none.
    let entries = std::fs::read_dir(directory).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

struct Node {
    runtime: Runtime,
    store: Arc<dyn Store>,
    kept: Arc<Kept>,
    blobs: BlobStore,
    backend: Backend,
}

impl Node {
    fn on_files() -> Self {
        Self::over(Arc::new(Memory::new()), Backend::Files(TempDir::new().unwrap()), 7)
    }

    fn in_bucket() -> Self {
        Self::over(Arc::new(Memory::new()), Backend::Bucket(Box::new(S3::start().unwrap())), 7)
    }

    fn over(store: Arc<dyn Store>, backend: Backend, mark: u8) -> Self {
        let kept = Arc::new(backend.kept());
        let keys = Arc::new(BlobKeys::from_bytes(&[mark; BlobKeys::BYTES]).unwrap().into());
        let url = "https://node.example".into();
        let blobs = BlobStore { objects: kept.clone(), keys, url, max_bytes: 20 << 20, quota_bytes: 30 << 20 };
        let config = Config::new(Name::new("node", "node1").unwrap(), store.clone(), Clock::system());
        let runtime = Runtime::new(Config { services: plexspaces_coord::services(), blobs: Some(blobs.clone()), ..config });
        Self { runtime, store, kept, blobs, backend }
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
}

fn whole(content: impl Into<Bytes>) -> Content {
    let content = content.into();
    stream::once(async { Ok(content) }).boxed()
}

fn ctx() -> RequestContext {
    RequestContext::external(Name::default_scope(), Name::default_scope(), "test")
}

fn large() -> Vec<u8> {
    (0..18_000_000_u32).map(|number| (number / 1000).to_le_bytes()[0]).collect()
}

/// Waits until something is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it did not become so that {what}");
}

/// A node on each backend, one after the other.
fn each() -> impl Iterator<Item = Node> {
    [Node::on_files, Node::in_bucket].into_iter().map(|start| start())
}

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
        let old: Vec<u8> = reading.map_ok(|piece| piece.to_vec()).try_concat().await.unwrap();
        assert_eq!(old, b"old", "who reads goes on with what it has begun");
        assert_eq!(node.backend.objects(), 1, "nothing is left of the old bytes");
    }
}

#[tokio::test]
async fn a_blob_that_is_cut_off_leaves_nothing() {
    for node in each() {
        node.put("a", "whole").await;
        for size in [4, 18_000_000] {
            let pieces = [Ok(Bytes::from(vec![7; size])), Err(Failure::invalid("body", "the body ended"))];
            let failure = node.runtime.put_blob(&ctx(), "a", "", stream::iter(pieces).boxed()).await.unwrap_err();
            assert_eq!(failure.field.as_deref(), Some("body"));
            assert_eq!(node.backend.objects(), 1);
        }
        // Whoever writes goes away in the middle.
        let endless = stream::once(async { Ok(Bytes::from(vec![7; 9 << 20])) }).chain(stream::pending()).boxed();
        let ctx = ctx();
        let writing = node.runtime.put_blob(&ctx, "a", "", endless);
        assert!(tokio::time::timeout(Duration::from_millis(500), writing).await.is_err());
        let directory = node.backend.directory();
        until(&format!("{directory:?} has one file"), || files(&directory).len() == 1).await;
        assert_eq!(node.get("a", 0, None).await.unwrap(), b"whole");
    }
}

#[tokio::test]
async fn what_is_too_large_or_over_the_quota_is_refused_and_leaves_nothing() {
    for node in each() {
        let failure = node.runtime.put_blob(&ctx(), "a", "", whole(vec![0; (20 << 20) + 1])).await.unwrap_err();
        assert_eq!(failure.code.name(), "payload_too_large");
        node.put("a", vec![0; 18 << 20]).await;
        let failure = node.runtime.put_blob(&ctx(), "b", "", whole(vec![0; 18 << 20])).await.unwrap_err();
        assert_eq!(failure.code.name(), "quota_exceeded");
        node.put("a", vec![1; 19 << 20]).await;
        assert_eq!(node.backend.objects(), 1);
        for (name, content_type, field) in [("", "", "name"), ("/a", "", "name"), ("a\n", "", "name"), ("a", "ä", "content_type")] {
            let failure = node.runtime.put_blob(&ctx(), name, content_type, whole("x")).await.unwrap_err();
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
        assert!(!node.runtime.delete_blob(&elsewhere, "y").await.unwrap());
        assert!(node.runtime.delete_blob(&ctx(), "y").await.unwrap());
        assert!(!node.runtime.delete_blob(&ctx(), "y").await.unwrap());
        assert_eq!(node.get("y", 0, None).await.unwrap_err().code.name(), "not_found");
        assert_eq!(node.backend.objects(), 2);
    }
}

#[tokio::test]
async fn bytes_that_are_not_those_that_were_written_are_not_given_as_a_whole() {
    for node in each() {
        node.put("a", "what was written").await;
        let path = files(&node.backend.directory()).remove(0);
        std::fs::write(&path, "what was wr1tten").unwrap();
        let (_, _, content) = node.runtime.get_blob(&ctx(), "a", 0, None).await.unwrap();
        let failure = content.map_ok(|piece| piece.to_vec()).try_concat().await.unwrap_err();
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
        node.runtime.put_blob(&elsewhere, "a", "", whole("named elsewhere")).await.unwrap();
        // As a node leaves them that is cut off before the name is there; the last ones are those of another node, and of somebody else.
        for (directory, mark) in [("default/default", "07"), ("default/other", "07"), ("default/default", "08")] {
            let key = format!("{directory}/{}{:032x}", mark.repeat(8), 1);
            node.kept.write(&key, whole("left"), 1000).await.unwrap();
        }
        node.kept.write("default/default/readme.txt", whole("not a blob"), 1000).await.unwrap();
        assert_eq!(node.runtime.sweep_blobs(Duration::from_hours(1)).await.unwrap(), 0, "they may be named yet");
        // Their time is that of whole seconds.
        until("they are old", || {
            let now = std::time::SystemTime::now();
            files(&node.backend.directory()).iter().all(|path| {
                now.duration_since(path.metadata().unwrap().modified().unwrap()).is_ok_and(|age| age > Duration::from_millis(1100))
            })
        })
        .await;
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
        match &node.backend {
            Backend::Files(_) => assert!(read.url.starts_with("https://node.example/api/v1/blobs/a%2Fb?"), "{}", read.url),
            Backend::Bucket(server) => {
                let (status, content_type, body) = http_get(&read.url).await;
                assert_eq!((status, content_type.as_str(), &body[..]), (200, "text/plain", &b"text"[..]));
                let tampered = read.url.replace("X-Amz-Expires=900", "X-Amz-Expires=901");
                assert!(tampered != read.url && tampered.starts_with(&server.endpoint()), "{tampered}");
                assert_eq!(http_get(&tampered).await.0, 403);
            }
        }
    }
}

async fn http_get(url: &str) -> (u16, String, Bytes) {
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    let request = http::Request::get(url).body(http_body_util::Empty::<Bytes>::new()).unwrap();
    let (parts, body) = client.request(request).await.unwrap().into_parts();
    let content_type = parts.headers.get("content-type").map_or("", |kind| kind.to_str().unwrap()).to_owned();
    let body = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
    (parts.status.as_u16(), content_type, body)
}

#[tokio::test]
async fn a_bucket_that_is_away_is_unavailable_in_time_and_goes_on_by_itself() {
    let mut node = Node::in_bucket();
    node.put("a", "text").await;
    for held in [false, true] {
        let Backend::Bucket(server) = &mut node.backend else { panic!() };
        if held {
            server.hold(true).unwrap()
        } else {
            server.kill().unwrap()
        }
        let impatient = Kept::at(&Place { timeout: Duration::from_millis(300), ..place(server) }, environment(S3::SECRET)).unwrap();
        let began = std::time::Instant::now();
        for size in [4, 18_000_000] {
            let failure = impatient.write("default/default/b", whole(vec![7; size]), 20 << 20).await.unwrap_err();
            assert_eq!((failure.code.name(), failure.message.as_str()), ("unavailable", "the store of blobs (s3) does not answer"));
        }
        assert_eq!(impatient.read("default/default/b", 0..1, None).await.err().unwrap().code.name(), "unavailable");
        tokio::time::timeout(Duration::from_secs(1), impatient.away()).await.unwrap();
        assert_eq!(impatient.check().await.unwrap_err().code.name(), "unavailable");
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
        let Backend::Bucket(server) = &mut node.backend else { panic!() };
        if held {
            server.hold(false).unwrap()
        } else {
            server.again().unwrap()
        }
        node.kept.check().await.unwrap();
        assert_eq!(node.get("a", 0, None).await.unwrap(), b"text");
        node.put("b", large()).await;
        assert!(node.get("b", 0, None).await.unwrap() == large());
        node.runtime.delete_blob(&ctx(), "b").await.unwrap();
    }
}

#[tokio::test]
async fn wrong_credentials_and_a_wrong_bucket_are_told_and_not_shown() {
    let server = S3::start().unwrap();
    let wrong = Kept::at(&place(&server), environment("wr0ng")).unwrap();
    let failure = wrong.check().await.unwrap_err();
    assert_eq!(
        (failure.code.name(), failure.message.as_str()),
        ("storage_failed", "the store of blobs (s3) refuses the credentials of the node")
    );
    let elsewhere = Place { url: "s3://another".to_owned(), ..place(&server) };
    let failure = Kept::at(&elsewhere, environment(S3::SECRET)).unwrap().check().await.unwrap_err();
    assert_eq!(failure.message, "the store of blobs (s3) has no such bucket");
    for (kept, expected) in [(wrong, "refuses"), (Kept::at(&elsewhere, environment(S3::SECRET)).unwrap(), "no such bucket")] {
        for size in [4, 6_000_000] {
            let failure = kept.write("default/default/a", whole(vec![7; size]), 10 << 20).await.unwrap_err();
            assert!(failure.code.name() == "storage_failed" && failure.message.contains(expected), "{}", failure.message);
        }
    }
}

/// What the environment says does not turn encryption off.
#[tokio::test]
async fn a_request_that_is_not_encrypted_is_sent_only_where_the_configuration_says_so() {
    let server = S3::start().unwrap();
    let environment = environment(S3::SECRET).into_iter().chain(
        [("AWS_ALLOW_HTTP", "true"), ("AWS_ENDPOINT_URL", &server.endpoint())].map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let kept = Kept::at(&Place { endpoint: None, ..place(&server) }, environment).unwrap();
    assert_eq!(kept.check().await.unwrap_err().code.name(), "unavailable");
    assert!(kept.write("a", whole("text"), 10).await.is_err());
    assert_eq!(server.count().unwrap(), (0, 0));
}

#[tokio::test]
async fn nobody_outside_the_node_can_make_a_name_stand_for_anothers_bytes() {
    let node = Node::on_files();
    let request = Request { operation: "get".into(), payload: Payload::empty(), idempotency_key: None };
    let failure = node.runtime.ask_service(&ctx(), "blobs", "default", request).await.unwrap_err();
    assert_eq!(failure.code.name(), "permission_denied");
}
