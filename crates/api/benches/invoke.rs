//! An invocation over HTTP against a bare axum handler that answers the same JSON:
//! `cargo bench -p plexspaces-api --bench invoke`. Prints requests per second of both, in turns, and their ratio.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code)]
#[path = "../tests/interface/support.rs"]
mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::routing::post;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use support::Node;

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(2);
const BODY: &str = r#"{"op":"verbatim","items":[1,2,3],"name":"a name of some length","nested":{"a":true,"b":null}}"#;

#[tokio::main]
async fn main() {
    metrics::set_global_recorder(metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder()).unwrap();
    let node = Node::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bare = listener.local_addr().unwrap();
    let echo = axum::Router::new().route("/echo", post(|body: Bytes| async move { ([("content-type", "application/json")], body) }));
    tokio::spawn(async move { axum::serve(listener, echo).await });
    for connections in [1, 64] {
        let (mut ours, mut theirs) = (0.0_f64, 0.0_f64);
        for _ in 0..ROUNDS {
            theirs = theirs.max(load(bare, "/echo", connections).await);
            ours = ours.max(load(node.addr, "/api/v1/actors/default/default/mirror/invoke", connections).await);
        }
        println!("{connections:>3} connections: invoke {ours:>8.0}/s, bare axum {theirs:>8.0}/s, ratio {:.2}", ours / theirs);
    }
}

async fn load(addr: SocketAddr, path: &str, connections: usize) -> f64 {
    let request =
        format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}", BODY.len());
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let request = request.clone();
        tasks.spawn(async move {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut buffer = vec![0; 4096];
            let mut done = 0_u64;
            while started.elapsed() < ROUND {
                stream.write_all(request.as_bytes()).await.unwrap();
                let mut filled = 0;
                while !buffer[..filled].ends_with(BODY.as_bytes()) {
                    let read = stream.read(&mut buffer[filled..]).await.unwrap();
                    assert!(read > 0, "{}", String::from_utf8_lossy(&buffer[..filled]));
                    filled += read;
                }
                done += 1;
            }
            done
        });
    }
    let done: u64 = tasks.join_all().await.into_iter().sum();
    done as f64 / started.elapsed().as_secs_f64()
}
