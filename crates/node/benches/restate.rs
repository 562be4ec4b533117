//! The node against a Restate server that runs beside it: `cargo bench --workspace --bench restate`.
//!
//! **Counters.** On Restate a virtual object whose exclusive handler `add` reads its count, adds one, stores it and returns it, in JavaScript;
//! on the node a durable actor that counts, once the tiny guest and once in Python. 1, 16 and 256 callers, each with a key of its own and a
//! connection that is kept, post one request after the other over HTTP/1.1. Printed are requests a second, the p50 of a request in
//! milliseconds, and how the node's are to Restate's: at least 5 times the throughput, at most a fifth of the p50.
//!
//! **Workflows** of ten steps, once each a step of their own and once each an answer of another: on Restate `ctx.run`, and a call of another
//! service's handler; on the node, in Python, code and `host.checkpoint`, and `host.ask` of an actor that stores nothing. Restate keeps what a
//! step gave before the next begins, since a step may do anything; the node before anything leaves the actor. One run after the other, each
//! under a key of its own. Printed are steps a second, and the p50 from the request to the result in milliseconds: at most a fifth.
//!
//! Both sides sync to the disk before they answer, in temporary directories next to each other, the one to SQLite, the other to its log, with
//! the defaults of both. Both are asked by the same code, which shares the node's process. Rounds alternate; figures are medians of three,
//! after one that does not count, and ratios those of neighbouring rounds. Every reply is checked.
//!
//! The first run needs npm: it fetches Restate's packages into `~/.cache/plexspaces/bench-restate`. `PLEXSPACES_BENCH_SECONDS` is the length
//! of a round (3). `-- counters` runs only those, `-- workflows` these.
#![allow(clippy::indexing_slicing)]

#[path = "restate/http.rs"]
mod http_client;
#[path = "restate/server.rs"]
mod server;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use plexspaces_app::Deploy;
use plexspaces_node::{Config, FacetRegistry, LogConfig, Node, NodeConfig, init_telemetry};
use plexspaces_testkit::{guests, python};
use plexspaces_types::Name;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use http_client::Connection;
use server::Restate;

const ROUNDS: usize = 3;

/// Of a workflow, on both sides.
const STEPS: f64 = 10.0;

/// How much longer than a round its last answers may take.
const PATIENCE: Duration = Duration::from_secs(60);

const ACTORS: &str = r#""""Counts, and runs of ten steps."""
from plexspaces import actor, handler, host, run_handler, state, workflow_actor


@actor(facets=["durability"])
class Counter:
    count: int = state(default=0)

    @handler("count")
    def up(self) -> dict:
        self.count += 1
        return {"count": self.count}


@actor
class Numbers:
    @handler("number")
    def number(self, step: int) -> dict:
        return {"number": step}


@workflow_actor(facets=["durability"])
class Steps:
    @run_handler
    def run(self, input_data: dict) -> dict:
        total = 0
        for step in range(10):
            total += step
            host.checkpoint()
        return {"sum": total}


@workflow_actor(facets=["durability"])
class Asks:
    @run_handler
    def run(self, input_data: dict) -> dict:
        total = 0
        for step in range(10):
            total += host.ask("numbers", "number", {"step": step})["number"]
        return {"sum": total}
"#;

#[global_allocator]
static ALLOCATOR: plexspaces_node::Allocator = plexspaces_node::Allocator;

/// Where a kind of request goes.
#[derive(Clone, Copy)]
struct Side {
    name: &'static str,
    address: SocketAddr,
    path: fn(&str) -> String,
    /// What is posted; Restate takes nothing for a handler without input.
    body: &'static str,
}

#[derive(Clone, Copy)]
enum Work {
    /// With so many callers.
    Counters(usize),
    Workflows,
}

/// One round of a side: requests a second, and the p50 of a request in milliseconds.
#[derive(Clone, Copy)]
struct Figures {
    rate: f64,
    p50: f64,
}

#[tokio::main]
async fn main() -> Result<()> {
    // A task, as every caller in a node is one: the thread of `main` is none of the runtime's workers.
    tokio::spawn(all()).await?
}

async fn all() -> Result<()> {
    let round = match std::env::var("PLEXSPACES_BENCH_SECONDS") {
        Ok(text) => Duration::try_from_secs_f64(text.parse::<f64>().with_context(|| format!("PLEXSPACES_BENCH_SECONDS is {text:?}"))?)?,
        Err(_) => Duration::from_secs(3),
    };
    let scratch = tempfile::tempdir()?;
    let restate = Restate::start().await?;
    let shutdown = CancellationToken::new();
    let (address, node) = start_node(scratch.path(), &shutdown).await?;

    let theirs = Side { name: "Restate", address: restate.ingress, path: |key| format!("/counter/{key}/add"), body: "" };
    let tiny = |key: &str| format!("/api/v1/actors/tiny/echo/invoke?op=count&timeout_ms=60000&actor_id={key}");
    let in_python = |key: &str| format!("/api/v1/actors/bench/counter/invoke?op=count&timeout_ms=60000&actor_id={key}");
    let ours =
        [Side { name: "tiny guest", address, path: tiny, body: "{}" }, Side { name: "Python", address, path: in_python, body: "{}" }];
    let parts: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    if wanted("counters") {
        println!("counters, each caller with its own         requests/s   p50 in ms   throughput (at least 5.00)   p50 (at most 0.20)");
        for callers in [1, 16, 256] {
            let figures = compare(&[theirs, ours[0], ours[1]], Work::Counters(callers), round).await?;
            print(&format!("{callers:>3} callers"), &figures, 1.0);
        }
    }
    if wanted("workflows") {
        println!("workflows of ten, one after the other           steps/s   p50 in ms   throughput                   p50 (at most 0.20)");
        let flow = |name, path: fn(&str) -> String| Side { name, address, path, body: "{}" };
        let theirs = |path: fn(&str) -> String| Side { name: "Restate", address: restate.ingress, path, body: "" };
        let steps = |key: &str| format!("/api/v1/actors/bench/steps/invoke?msg_type=workflow_run&timeout_ms=60000&actor_id={key}");
        let asks = |key: &str| format!("/api/v1/actors/bench/asks/invoke?msg_type=workflow_run&timeout_ms=60000&actor_id={key}");
        let sides = [theirs(|key| format!("/steps/{key}/run")), flow("Python", steps)];
        print("steps of their own", &compare(&sides, Work::Workflows, round).await?, STEPS);
        let sides = [theirs(|key| format!("/asks/{key}/run")), flow("Python", asks)];
        print("asks of another", &compare(&sides, Work::Workflows, round).await?, STEPS);
    }

    shutdown.cancel();
    ensure!(node.await?, "the node did not shut down in time");
    Ok(())
}

/// A node with the counters and the workflow, and the task that runs it.
async fn start_node(data: &Path, shutdown: &CancellationToken) -> Result<(SocketAddr, JoinHandle<bool>)> {
    let source = data.join("bench.py");
    std::fs::write(&source, ACTORS)?;
    let component = tokio::task::block_in_place(|| python::component(&source))?;
    let telemetry = init_telemetry(&LogConfig { filter: Some("warn".to_owned()), ..LogConfig::default() })?;
    let listen_addr = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let node = NodeConfig { data_dir: data.join("node"), listen_addr, control: false, ..NodeConfig::default() };
    let node = Node::start(&Config { node, ..Config::default() }, FacetRegistry::default(), &telemetry, shutdown.clone()).await?;
    let tiny = "[app]\nname = \"tiny\"\nnamespace = \"tiny\"\n[types.echo]\nfacets = [{ type = \"durability\" }]\n";
    let bench = "[app]\nname = \"bench\"\nnamespace = \"bench\"\n";
    for (wasm, config) in [(Bytes::from(guests::echo()), tiny), (std::fs::read(component)?.into(), bench)] {
        let deploy = Deploy { wasm, config: Some(config.to_owned()), ..Deploy::default() };
        node.applications().deploy(&Name::new("tenant", "default")?, deploy).await?;
    }
    let address = node.addresses().data;
    Ok((address, tokio::spawn(node.run())))
}

/// The rounds of all sides, in turns.
async fn compare(sides: &[Side], work: Work, time: Duration) -> Result<Vec<(&'static str, Vec<Figures>)>> {
    let mut all: Vec<_> = sides.iter().map(|side| (side.name, Vec::new())).collect();
    for round in 0..=ROUNDS {
        for (side, (name, figures)) in sides.iter().zip(&mut all) {
            let measured = match work {
                Work::Counters(callers) => counters(*side, callers, time).await,
                Work::Workflows => workflows(*side, round as u64 * 1_000_000, time).await,
            };
            let measured = measured.with_context(|| format!("asking {name}"))?;
            // In the first round actors come to life.
            if round > 0 {
                figures.push(measured);
            }
        }
    }
    Ok(all)
}

/// Callers that each count with a key of their own.
async fn counters(side: Side, callers: usize, round: Duration) -> Result<Figures> {
    let mut tasks = JoinSet::new();
    let mut connections = Vec::new();
    for _ in 0..callers {
        connections.push(Connection::open(side.address).await?);
    }
    let started = Instant::now();
    for (caller, mut connection) in connections.into_iter().enumerate() {
        let path = (side.path)(&format!("of-{callers}-{caller}"));
        tasks.spawn(async move {
            let (mut times, mut last) = (Vec::new(), None);
            while started.elapsed() < round {
                let asked = Instant::now();
                let reply = connection.post(&path, side.body).await?;
                times.push(asked.elapsed());
                let count = number(&reply)?;
                ensure!(last.is_none_or(|last| count == last + 1), "{count} came after {last:?}");
                last = Some(count);
            }
            anyhow::Ok(times)
        });
    }
    let mut times = Vec::new();
    while let Some(task) = tokio::time::timeout(round + PATIENCE, tasks.join_next()).await? {
        times.extend(task??);
    }
    Ok(figures(times, started.elapsed()))
}

/// Runs one after the other, under keys from `first` on.
async fn workflows(side: Side, first: u64, round: Duration) -> Result<Figures> {
    let mut connection = Connection::open(side.address).await?;
    let (mut times, started) = (Vec::new(), Instant::now());
    for key in first.. {
        if started.elapsed() >= round {
            break;
        }
        let path = (side.path)(&key.to_string());
        let asked = Instant::now();
        let reply = tokio::time::timeout(PATIENCE, connection.post(&path, side.body)).await??;
        times.push(asked.elapsed());
        ensure!(number(&reply)? == 45, "a run gave {}", String::from_utf8_lossy(&reply));
    }
    Ok(figures(times, started.elapsed()))
}

/// The only number in a reply.
fn number(reply: &[u8]) -> Result<u64> {
    let digits: Vec<u8> = reply.iter().copied().filter(u8::is_ascii_digit).collect();
    let number = String::from_utf8(digits)?.parse::<u64>();
    number.with_context(|| format!("there is no number in {}", String::from_utf8_lossy(reply)))
}

fn figures(mut times: Vec<Duration>, took: Duration) -> Figures {
    times.sort_unstable();
    let p50 = times.get(times.len() / 2).copied().unwrap_or_default();
    Figures { rate: times.len() as f64 / took.as_secs_f64(), p50: p50.as_secs_f64() * 1000.0 }
}

/// A line for each side, with what is done in a second where a request does so much. The first is that with which the others are compared.
fn print(label: &str, sides: &[(&'static str, Vec<Figures>)], of_a_request: f64) {
    let theirs = &sides[0].1;
    for (number, (name, ours)) in sides.iter().enumerate() {
        let of = |what: fn(&Figures) -> f64| middle(ours.iter().map(what).collect());
        let ratio = |what: fn(&Figures) -> f64| middle(ours.iter().zip(theirs).map(|(ours, theirs)| what(ours) / what(theirs)).collect());
        let (rate, p50) = (of(|figures| figures.rate) * of_a_request, of(|figures| figures.p50));
        print!("  {label:<24}{name:<14}{rate:>13.0}{p50:>12.3}");
        if number > 0 {
            print!("{:>13.2}{:>29.3}", ratio(|figures| figures.rate), ratio(|figures| figures.p50));
        }
        println!();
    }
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
