//! What writing and reading a blob of 64 MiB costs, inside and over HTTP, against a copy of a file: `cargo bench --workspace --bench blobs`.
//!
//! What is written is synced, the copy too; what is read comes from the system's cache, for both. A blob is hashed on both ways, so the speed
//! of SHA-256 alone is printed as well.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::{Method, Request};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use plexspaces_actor::{BlobKeys, BlobStore, Config, Content, Runtime};
use plexspaces_node::{Config as NodeConfig, FacetRegistry, Node};
use plexspaces_objects::Kept;
use plexspaces_store_sql::{Sqlite, sqlite};
use plexspaces_types::{Clock, Name, RequestContext};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

const ROUNDS: usize = 7;
const PIECE: usize = 256 << 10;

#[tokio::main]
async fn main() {
    tokio::spawn(all()).await.unwrap();
}

async fn all() {
    let size = std::env::var("BLOB_MIB").map_or(64, |mib| mib.parse().unwrap()) << 20;
    let scratch = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..size / 8).flat_map(|number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).collect();
    let source = scratch.path().join("source");
    std::fs::write(&source, &bytes).unwrap();
    let content = Bytes::from(bytes);
    let began = Instant::now();
    let hash = Sha256::digest(&content);
    println!("SHA-256 alone: {:.0} MB/s ({:02x}...)", rate(size, began.elapsed()), hash[0]);

    let runtime = inside(scratch.path());
    let shutdown = CancellationToken::new();
    let url = node(scratch.path(), shutdown.clone()).await;
    let client = Client::builder(TokioExecutor::new()).build_http::<UnsyncBoxBody<Bytes, std::io::Error>>();
    let ctx = RequestContext::external(Name::default_scope(), Name::default_scope(), "bench");

    let mut ratios: [(&str, Vec<(f64, f64)>); 4] =
        [("put inside", vec![]), ("put over HTTP", vec![]), ("get inside", vec![]), ("get over HTTP", vec![])];
    for round in 0..=ROUNDS {
        let written = tokio::task::block_in_place(|| copy(&source, scratch.path()));
        let began = Instant::now();
        runtime.put_blob(&ctx, "b", "", pieces(&content), None).await.unwrap();
        let put_inside = began.elapsed();
        let body = pieces(&content).map_ok(http_body::Frame::data).map_err(|failure| std::io::Error::other(failure.message));
        let request = Request::builder().method(Method::PUT).uri(&url).body(StreamBody::new(body).boxed_unsync()).unwrap();
        let began = Instant::now();
        let answer = client.request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        let _ = answer.into_body().collect().await.unwrap();
        let put_http = began.elapsed();

        let read = tokio::task::block_in_place(|| read(&source));
        let began = Instant::now();
        let (_, _, mut content) = runtime.get_blob(&ctx, "b", 0, None).await.unwrap();
        let mut got = 0;
        while let Some(piece) = content.try_next().await.unwrap() {
            got += piece.len() as u64;
        }
        let get_inside = began.elapsed();
        assert_eq!(got, size);
        let began = Instant::now();
        let request = Request::get(&url).body(Empty::new().map_err(|never| match never {}).boxed_unsync()).unwrap();
        let mut body = client.request(request).await.unwrap().into_body();
        let mut got = 0;
        while let Some(frame) = body.frame().await {
            got += frame.unwrap().into_data().map_or(0, |data| data.len() as u64);
        }
        let get_http = began.elapsed();
        assert_eq!(got, size);
        if round == 0 {
            continue;
        }
        for ((_, found), (ours, alone)) in
            ratios.iter_mut().zip([(put_inside, written), (put_http, written), (get_inside, read), (get_http, read)])
        {
            found.push((rate(size, ours), rate(size, alone)));
        }
    }
    for (what, found) in ratios {
        let (ours, alone): (Vec<_>, Vec<_>) = found.iter().copied().unzip();
        let ratio = median(found.iter().map(|(ours, alone)| ours / alone).collect());
        println!("{what}: {:.0} MB/s, a file {:.0} MB/s, ratio {ratio:.2}", median(ours), median(alone));
    }
    shutdown.cancel();
}

/// A runtime with its names in SQLite.
fn inside(directory: &Path) -> Runtime {
    let store = Arc::new(Sqlite::open(sqlite::Config::new(directory.join("names.db"))).unwrap());
    let blobs = BlobStore {
        objects: Arc::new(Kept::in_directory(&directory.join("inside")).unwrap()),
        keys: Arc::new(BlobKeys::from_bytes(&[7; BlobKeys::BYTES]).unwrap().into()),
        url: "".into(),
        max_bytes: u64::MAX,
        quota_bytes: u64::MAX,
    };
    let config = Config::new(Name::new("node", "node1").unwrap(), store, Clock::system());
    Runtime::new(Config { services: plexspaces_coord::services(), blobs: Some(blobs), ..config })
}

/// A whole node; gives the URL of a blob.
async fn node(directory: &Path, shutdown: CancellationToken) -> String {
    let mut config = NodeConfig::default();
    config.node.data_dir = directory.join("node");
    config.node.listen_addr = Some("127.0.0.1:0".parse().unwrap());
    config.node.control = false;
    let telemetry =
        plexspaces_node::init_telemetry(&plexspaces_node::LogConfig { filter: Some("error".to_owned()), ..Default::default() }).unwrap();
    let node = Node::start(&config, FacetRegistry::builtin(), &telemetry, shutdown).await.unwrap();
    let url = format!("http://{}/api/v1/blobs/b", node.addresses().data);
    tokio::spawn(node.run());
    url
}

/// What a copy of a file takes until it is on the disk, with its name.
fn copy(source: &Path, directory: &Path) -> Duration {
    let (mut from, began) = (File::open(source).unwrap(), Instant::now());
    let target = directory.join("copy");
    let mut into = File::create(&target).unwrap();
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece).unwrap() {
            0 => break,
            read => into.write_all(&piece[..read]).unwrap(),
        }
    }
    into.sync_all().unwrap();
    File::open(directory).unwrap().sync_all().unwrap();
    let took = began.elapsed();
    std::fs::remove_file(target).unwrap();
    took
}

fn read(source: &Path) -> Duration {
    let (mut from, began) = (File::open(source).unwrap(), Instant::now());
    let mut piece = vec![0; PIECE];
    while from.read(&mut piece).unwrap() > 0 {}
    began.elapsed()
}

fn pieces(content: &Bytes) -> Content {
    let content = content.clone();
    let pieces = (0..content.len()).step_by(PIECE).map(move |at| Ok(content.slice(at..content.len().min(at + PIECE))));
    stream::iter(pieces).boxed()
}

fn rate(bytes: u64, took: Duration) -> f64 {
    bytes as f64 / 1e6 / took.as_secs_f64()
}

fn median(mut found: Vec<f64>) -> f64 {
    found.sort_by(f64::total_cmp);
    found[found.len() / 2]
}
