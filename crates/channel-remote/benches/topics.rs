//! How long a published message takes to who waits for it on another node: over UDP multicast on this machine, NATS JetStream and Redis.
//!
//! `cargo bench --workspace --bench topics` prints it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use plexspaces_actor::{Broker, Brokers, Config, Request, Runtime};
use plexspaces_channel_remote::{Nats, NatsConfig, Redis, RedisConfig, Udp, UdpConfig};
use plexspaces_store::Memory;
use plexspaces_testkit::servers;
use plexspaces_types::{Clock, Name, Payload, RequestContext};
use tokio::sync::mpsc;

const MESSAGES: usize = 1000;

type Failed = Box<dyn std::error::Error + Send + Sync>;

#[derive(Clone)]
struct Node {
    runtime: Runtime,
    ctx: RequestContext,
}

impl Node {
    fn new(broker: impl Broker) -> Result<Self, Failed> {
        let by_name: BTreeMap<_, Arc<dyn Broker>> = BTreeMap::from([("broker".to_owned(), Arc::new(broker) as _)]);
        let config = Config::new(Name::new("node", "bench")?, Arc::new(Memory::default()), Clock::system());
        let brokers = Brokers { by_name, default: Some("broker".to_owned()) };
        let runtime = Runtime::new(Config { services: plexspaces_coord::services(), brokers, ..config });
        Ok(Self { runtime, ctx: RequestContext::external(Name::default_scope(), Name::default_scope(), "bench") })
    }

    async fn ask(&self, operation: &str, arguments: &str) -> Result<Payload, Failed> {
        let request = Request { operation: operation.to_owned(), payload: Payload::Json(arguments.to_owned()), idempotency_key: None };
        Ok(self.runtime.ask_service(&self.ctx, "channels", "news", request).await?)
    }

    /// Waits for one message after the other, and says when each has come.
    async fn listen(self, heard: mpsc::Sender<Instant>) -> Result<(), Failed> {
        while heard.send(self.next().await?).await.is_ok() {}
        Ok(())
    }

    async fn next(&self) -> Result<Instant, Failed> {
        let reply = self.ask("next", r#"{"subscriber":"s","timeout_ms":10000}"#).await?;
        if reply.as_bytes().starts_with(br#"{"message":null"#) {
            return Err("a message is lost".into());
        }
        Ok(Instant::now())
    }
}

/// The median and the 99th hundredth of the times.
async fn times(from: Node, to: Node) -> Result<[Duration; 2], Failed> {
    // A client of NATS connects beside.
    for node in [&from, &to] {
        while node.ask("subscribe", r#"{"subscriber":"s"}"#).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let (sender, mut heard) = mpsc::channel(1);
    let listening = tokio::spawn(to.listen(sender));
    let mut times = Vec::new();
    for _ in 0..MESSAGES {
        // Who listens waits again.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let began = Instant::now();
        from.ask("publish", r#"{"payload":{"eur":7}}"#).await?;
        let Some(at) = heard.recv().await else { break };
        times.push(at.duration_since(began));
    }
    drop(heard);
    listening.abort();
    times.sort();
    Ok([50, 99].map(|hundredth| times.get(times.len() * hundredth / 100).copied().unwrap_or_default()))
}

fn main() -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (nats, redis) = (servers::Nats::start()?, servers::Redis::start()?);
    let port = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let (group, interface) = (Ipv4Addr::new(239, 255, 80, 88), Some(Ipv4Addr::LOCALHOST));
    let secret = Some("the secret of a bench".to_owned());
    let udp = UdpConfig { group, port, cluster_name: "bench".to_owned(), interface, ttl: 0, secret };
    let (nats, redis) = (NatsConfig::new(nats.url()), RedisConfig::new(redis.url()));
    runtime.block_on(async {
        println!("from one node to who waits on another, of {MESSAGES} messages");
        println!("{:<10} {:>12} {:>12}", "", "median", "99 %");
        for place in ["udp", "nats", "redis"] {
            let (from, to) = match place {
                "udp" => (Node::new(Udp::open(&udp)?)?, Node::new(Udp::open(&udp)?)?),
                "nats" => (Node::new(Nats::open(&nats).await?)?, Node::new(Nats::open(&nats).await?)?),
                _ => (Node::new(Redis::open(&redis)?)?, Node::new(Redis::open(&redis)?)?),
            };
            let [median, most] = times(from, to).await?;
            println!("{place:<10} {:>9} us {:>9} us", median.as_micros(), most.as_micros());
        }
        Ok(())
    })
}
