//! Nodes whose blobs are on one backend or another.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use plexspaces_actor::{BlobInfo, BlobKeys, BlobStore, Config, Content, Objects, Runtime};
use plexspaces_objects::{Kept, Place};
use plexspaces_store::{Memory, Store};
use plexspaces_testkit::servers::Bucket;
use plexspaces_types::{Clock, Failure, Name, RequestContext};
use tempfile::TempDir;

/// Where bytes are.
pub enum Backend {
    Files(TempDir),
    Bucket(Box<Bucket>),
}

impl Backend {
    fn kept(&self) -> Kept {
        match self {
            Self::Files(directory) => Kept::in_directory(directory.path()).unwrap(),
            Self::Bucket(server) => Kept::at(&place(server), server.environment().unwrap()).unwrap(),
        }
    }

    pub fn directory(&self) -> PathBuf {
        match self {
            Self::Files(directory) => directory.path().to_owned(),
            Self::Bucket(server) => server.directory(),
        }
    }

    /// How many objects there are, and parts of objects that are not complete.
    pub fn left(&self) -> (usize, usize) {
        match self {
            Self::Files(_) => (files(&self.directory()).len(), 0),
            Self::Bucket(server) => server.count().unwrap(),
        }
    }

    /// How many objects there are; parts of objects that are not complete there must be none.
    pub fn objects(&self) -> usize {
        let (objects, parts) = self.left();
        assert_eq!(parts, 0, "parts are left");
        objects
    }
}

pub fn place(server: &Bucket) -> Place {
    Place {
        url: format!("{}/a/prefix", server.url()),
        endpoint: Some(server.endpoint()),
        region: None,
        ca_file: None,
        timeout: Duration::from_secs(20),
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    // One that is gone meanwhile has none.
    let entries = std::fs::read_dir(directory).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Puts another text of the same length in the place of one, in the one file that has it.
pub fn corrupt(directory: &Path, text: &str, other: &str) {
    let is_there = |bytes: &[u8]| bytes.windows(text.len()).position(|window| window == text.as_bytes());
    let found: Vec<_> = files(directory).into_iter().filter_map(|path| Some((std::fs::read(&path).ok()?, path))).collect();
    let mut found = found.into_iter().filter_map(|(bytes, path)| Some((is_there(&bytes)?, bytes, path)));
    let (at, mut bytes, path) = found.next().unwrap();
    bytes[at..at + other.len()].copy_from_slice(other.as_bytes());
    std::fs::write(path, bytes).unwrap();
    assert!(found.next().is_none(), "more than one file has it");
}

pub struct Node {
    pub runtime: Runtime,
    pub store: Arc<dyn Store>,
    pub kept: Arc<Kept>,
    pub blobs: BlobStore,
    pub backend: Backend,
}

impl Node {
    pub fn on_files() -> Self {
        Self::over(Arc::new(Memory::new()), Backend::Files(TempDir::new().unwrap()), 7)
    }

    pub fn in_bucket(bucket: Bucket) -> Self {
        Self::over(Arc::new(Memory::new()), Backend::Bucket(Box::new(bucket)), 7)
    }

    pub fn over(store: Arc<dyn Store>, backend: Backend, mark: u8) -> Self {
        let kept = Arc::new(backend.kept());
        let (runtime, blobs) = runtime(store.clone(), kept.clone(), mark);
        Self { runtime, store, kept, blobs, backend }
    }

    pub async fn put(&self, name: &str, content: impl Into<Bytes>) -> BlobInfo {
        self.runtime.put_blob(&ctx(), name, "text/plain", whole(content), None).await.unwrap()
    }

    pub async fn get(&self, name: &str, offset: u64, length: Option<u64>) -> Result<Vec<u8>, Failure> {
        let (_, range, content) = self.runtime.get_blob(&ctx(), name, offset, length).await?;
        let bytes = bytes(content).await?;
        assert_eq!(bytes.len() as u64, range.end - range.start);
        Ok(bytes)
    }

    pub fn server(&mut self) -> &mut Bucket {
        match &mut self.backend {
            Backend::Files(_) => panic!("it has no server"),
            Backend::Bucket(server) => server,
        }
    }
}

/// A runtime whose blobs are these objects.
pub fn runtime(store: Arc<dyn Store>, objects: Arc<dyn Objects>, mark: u8) -> (Runtime, BlobStore) {
    let keys = Arc::new(BlobKeys::from_bytes(&[mark; BlobKeys::BYTES]).unwrap().into());
    let blobs = BlobStore { objects, keys, url: "https://node.example".into(), max_bytes: 20 << 20, quota_bytes: 30 << 20 };
    let config = Config::new(Name::new("node", "node1").unwrap(), store, Clock::system());
    (Runtime::new(Config { services: plexspaces_coord::services(), blobs: Some(blobs.clone()), ..config }), blobs)
}

/// The bytes of what has been begun to read.
pub async fn bytes(content: Content) -> Result<Vec<u8>, Failure> {
    content.map_ok(|piece| piece.to_vec()).try_concat().await
}

pub fn whole(content: impl Into<Bytes>) -> Content {
    let content = content.into();
    stream::once(async { Ok(content) }).boxed()
}

pub fn ctx() -> RequestContext {
    RequestContext::external(Name::default_scope(), Name::default_scope(), "test")
}

pub fn large() -> Vec<u8> {
    (0..18_000_000_u32).map(|number| (number / 1000).to_le_bytes()[0]).collect()
}

/// Waits until something is so.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "it did not become so that {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A bucket of each service for which this is built.
pub fn buckets() -> impl Iterator<Item = Bucket> {
    type Start = fn() -> anyhow::Result<Bucket>;
    let all: [(bool, Start); 3] =
        [(cfg!(feature = "s3"), Bucket::s3), (cfg!(feature = "gcs"), Bucket::gcs), (cfg!(feature = "azure"), Bucket::azure)];
    all.into_iter().filter(|(is_built, _)| *is_built).map(|(_, start)| start().unwrap())
}

/// A node on each backend, one after the other.
pub fn each() -> impl Iterator<Item = Node> {
    std::iter::once_with(Node::on_files).chain(buckets().map(Node::in_bucket))
}

/// The answer to a request for a URL: status, media type, body. Some URLs are asked elsewhere than where they say.
pub async fn http_get(url: &str, host: Option<&str>) -> (u16, String, Bytes) {
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    let mut request = http::Request::get(url);
    if let Some(host) = host {
        request = request.header("host", host);
    }
    let (parts, body) = client.request(request.body(http_body_util::Empty::<Bytes>::new()).unwrap()).await.unwrap().into_parts();
    let content_type = parts.headers.get("content-type").map_or("", |kind| kind.to_str().unwrap()).to_owned();
    (parts.status.as_u16(), content_type, http_body_util::BodyExt::collect(body).await.unwrap().to_bytes())
}
