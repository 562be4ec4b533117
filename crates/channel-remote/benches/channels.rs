//! What a message costs from its sending to its acknowledgement: the node's own channel on SQLite, and channels on Kafka, NATS JetStream and Redis.
//!
//! `cargo bench --workspace --bench channels` prints it. SQLite syncs each round and Redis each write (`appendfsync always`). NATS writes to its files
//! and syncs when it likes to, unless its configuration has `sync_interval: always`, which servers have from 2.10 on. Kafka leaves that to the
//! operating system.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use plexspaces_actor::{Broker, Brokers, Config, Request, Runtime};
use plexspaces_channel_remote::{Kafka, Nats, NatsConfig, Redis, RedisConfig, kafka};
use plexspaces_store::{Memory, Store};
use plexspaces_store_sql::{Sqlite, sqlite};
use plexspaces_testkit::servers;
use plexspaces_types::{Clock, Name, Payload, RequestContext};
use serde_json::Value;

const ROUNDS: usize = 3;

type Failed = Box<dyn std::error::Error + Send + Sync>;

#[derive(Clone)]
struct Node {
    runtime: Runtime,
    ctx: RequestContext,
}

impl Node {
    fn new(store: Arc<dyn Store>, broker: Option<Arc<dyn Broker>>) -> Result<Self, Failed> {
        let default = broker.as_ref().map(|_| "broker".to_owned());
        let by_name: BTreeMap<_, _> = broker.into_iter().map(|broker| ("broker".to_owned(), broker)).collect();
        let config = Config::new(Name::new("node", "bench")?, store, Clock::system());
        let runtime = Runtime::new(Config { services: plexspaces_coord::services(), brokers: Brokers { by_name, default }, ..config });
        Ok(Self { runtime, ctx: RequestContext::external(Name::default_scope(), Name::default_scope(), "bench") })
    }

    async fn ask(&self, operation: &str, arguments: String) -> Result<Value, Failed> {
        let request = Request { operation: operation.to_owned(), payload: Payload::Json(arguments), idempotency_key: None };
        let reply = self.runtime.ask_service(&self.ctx, "channels", "work", request).await?;
        Ok(serde_json::from_slice(reply.as_bytes()).unwrap_or_default())
    }

    /// Sends a message, receives one and acknowledges it, again and again; how often.
    async fn work(self, until: Instant) -> Result<u64, Failed> {
        let mut done = 0;
        while Instant::now() < until {
            self.ask("send", r#"{"payload":{"account":"ann","amount":17},"msg_type":"job"}"#.to_owned()).await?;
            let reply = self.ask("receive", r#"{"timeout_ms":10000}"#.to_owned()).await?;
            let id = reply.get("message").and_then(|message| message.get("msg_id")).ok_or("there is no message")?;
            self.ask("ack", format!(r#"{{"msg_id":{id}}}"#)).await?;
            done += 1;
        }
        Ok(done)
    }

    async fn rate(&self, callers: usize, round: Duration) -> Result<f64, Failed> {
        let began = Instant::now();
        let tasks: Vec<_> = (0..callers).map(|_| tokio::spawn(self.clone().work(began + round))).collect();
        let mut done = 0;
        for task in tasks {
            done += task.await??;
        }
        Ok(done as f64 / began.elapsed().as_secs_f64())
    }
}

fn main() -> Result<(), Failed> {
    let round = std::env::var("ROUND_MS").ok().and_then(|text| text.parse().ok()).map_or(Duration::from_secs(1), Duration::from_millis);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let directory = tempfile::tempdir()?;
    let (kafka, nats, redis) = (servers::Kafka::start()?, servers::Nats::start()?, servers::Redis::start()?);
    runtime.block_on(async {
        let own = Node::new(Arc::new(Sqlite::open(sqlite::Config::new(directory.path().join("db")))?), None)?;
        let (bootstrap, prefix, ca_file, login) = (vec![kafka.url()], "plexspaces".to_owned(), None, None);
        let config = kafka::Config { bootstrap, prefix, replicas: -1, tls: false, ca_file, login };
        let client: Arc<dyn Broker> = Arc::new(Kafka::open(&config).map_err(|failure| failure.to_string())?);
        let kafka = Node::new(Arc::new(Memory::default()), Some(client))?;
        let client: Arc<dyn Broker> = Arc::new(Nats::open(&NatsConfig::new(nats.url())).await.map_err(|failure| failure.to_string())?);
        let nats = Node::new(Arc::new(Memory::default()), Some(client))?;
        let client: Arc<dyn Broker> = Arc::new(Redis::open(&RedisConfig::new(redis.url())).map_err(|failure| failure.to_string())?);
        let redis = Node::new(Arc::new(Memory::default()), Some(client))?;
        // A client of NATS connects beside.
        while nats.ask("status", "{}".to_owned()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        println!("messages sent, received and acknowledged per second, medians of {ROUNDS} rounds");
        println!("{:<10} {:>14} {:>10} {:>10} {:>10}", "callers", "own (SQLite)", "Kafka", "NATS", "Redis");
        for callers in [1, 64] {
            let mut rates = [const { Vec::new() }; 4];
            // In turn, so that what the machine does besides meets all.
            for _ in 0..ROUNDS {
                for (node, rates) in [&own, &kafka, &nats, &redis].into_iter().zip(&mut rates) {
                    rates.push(node.rate(callers, round).await?);
                }
            }
            let [own, kafka, nats, redis] = rates.map(median);
            println!("{callers:<10} {own:>14.0} {kafka:>10.0} {nats:>10.0} {redis:>10.0}");
            println!("{:<10} {:>14} {:>10.2} {:>10.2} {:>10.2}", "", "own to it", own / kafka, own / nats, own / redis);
        }
        Ok(())
    })
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}
