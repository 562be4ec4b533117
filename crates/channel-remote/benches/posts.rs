//! How fast what durable actors post reaches one channel on a broker: NATS JetStream and Redis, from one actor and from many.
//!
//! `cargo bench --workspace --bench posts` prints it: messages a second from the first turn until the broker has all of them. The actors' own
//! commits go to memory. As in `channels`, Redis syncs each write and NATS when it likes to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use plexspaces_actor::{
    Application, Broker, Brokers, Config, Description, Factory, Fault, Instance, Profile, Reply, Request, Runtime, Spec, SupervisorSpec,
    Target, Turn, TypeSpec,
};
use plexspaces_channel_remote::{Nats, NatsConfig, Redis, RedisConfig};
use plexspaces_store::Memory;
use plexspaces_testkit::servers;
use plexspaces_types::{Clock, Message, Name, Payload, RequestContext};
use serde_json::{Value, json};

const ROUNDS: usize = 3;

/// Messages of one round, however many actors post them.
const MESSAGES: usize = 3200;

/// Messages that one turn posts.
const AT_ONCE: usize = 50;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Posts to the channel that its message names.
struct Poster;

#[async_trait]
impl Instance for Poster {
    async fn handle(&mut self, message: &Message, mut turn: Turn, want_state: bool) -> Result<(Reply, Turn), Fault> {
        let channel: String = serde_json::from_slice(message.payload.as_bytes()).unwrap_or_default();
        for _ in 0..AT_ONCE {
            let payload = json!({"payload": {"account": "ann", "amount": 17}, "msg_id": format!("{:032x}", rand::random::<u128>())});
            if let Err(failure) = turn.service("channels", &channel, "send", Payload::from_value(&payload)).await {
                return Err(Fault::Crashed { failure, trace: String::new() });
            }
        }
        Ok((Reply { payload: Payload::empty(), state: want_state.then(Payload::empty) }, turn))
    }

    async fn snapshot(&mut self) -> Result<Payload, Fault> {
        Ok(Payload::empty())
    }

    async fn restore(&mut self, _: &Payload) -> Result<(), Fault> {
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}

struct Posters(Description);

#[async_trait]
impl Factory for Posters {
    fn description(&self) -> &Description {
        &self.0
    }

    async fn create(&self, _: &Spec, turn: Turn) -> Result<(Box<dyn Instance>, Turn), Fault> {
        Ok((Box::new(Poster), turn))
    }
}

#[derive(Clone)]
struct Node {
    runtime: Runtime,
    ctx: RequestContext,
}

impl Node {
    async fn new(broker: Arc<dyn Broker>) -> Result<Self, Failed> {
        let brokers = Brokers { by_name: BTreeMap::from([("broker".to_owned(), broker)]), default: Some("broker".to_owned()) };
        let config = Config::new(Name::new("node", "bench")?, Arc::new(Memory::default()), Clock::system());
        let runtime = Runtime::new(Config { services: plexspaces_coord::services(), brokers, ..config });
        let poster = json!({"type": "poster", "behavior": "GenServer", "handlers": []});
        let described = json!({"sdk": {"language": "rust", "version": "0"}, "actors": [poster]});
        let name = Name::new("type", "poster")?;
        let profile = Profile { durable: true, ..Profile::default() };
        let application = Application {
            tenant: Name::default_scope(),
            namespace: Name::default_scope(),
            name: name.clone(),
            factory: Arc::new(Posters(serde_json::from_value(described)?)),
            earlier: Vec::new(),
            outbound: None,
            channels: BTreeMap::new(),
            types: vec![TypeSpec { name, guest_type: "poster".to_owned(), aliases: Vec::new(), profile }],
            supervisor: SupervisorSpec::new("root", Vec::new()),
        };
        runtime.deploy(&application).await?;
        Ok(Self { runtime, ctx: RequestContext::external(Name::default_scope(), Name::default_scope(), "bench") })
    }

    async fn ready(&self, channel: &str) -> Option<u64> {
        let request = Request { operation: "status".to_owned(), payload: Payload::empty(), idempotency_key: None };
        let reply = self.runtime.ask_service(&self.ctx, "channels", channel, request).await.ok()?;
        serde_json::from_slice::<Value>(reply.as_bytes()).ok()?.get("ready")?.as_u64()
    }

    /// An actor's part of a round.
    async fn post(self, channel: String, actor: usize, turns: usize) -> Result<(), Failed> {
        for _ in 0..turns {
            let request = Request { operation: "post".to_owned(), payload: Payload::from_value(&json!(channel)), idempotency_key: None };
            let target = Target { name: "poster", key: Some(&actor.to_string()) };
            self.runtime.ask(&self.ctx, target, request).await?;
        }
        Ok(())
    }

    async fn rate(&self, channel: &str, actors: usize) -> Result<f64, Failed> {
        // A client of NATS connects beside.
        while self.ready(channel).await.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let (began, turns) = (Instant::now(), MESSAGES / AT_ONCE / actors);
        let tasks: Vec<_> = (0..actors).map(|actor| tokio::spawn(self.clone().post(channel.to_owned(), actor, turns))).collect();
        for task in tasks {
            task.await??;
        }
        let wanted = u64::try_from(turns * AT_ONCE * actors)?;
        while self.ready(channel).await != Some(wanted) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(wanted as f64 / began.elapsed().as_secs_f64())
    }
}

fn main() -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (nats, redis) = (servers::Nats::start()?, servers::Redis::start()?);
    runtime.block_on(async {
        let client: Arc<dyn Broker> = Arc::new(Nats::open(&NatsConfig::new(nats.url())).await?);
        let nats = Node::new(client).await?;
        let client: Arc<dyn Broker> = Arc::new(Redis::open(&RedisConfig::new(redis.url()))?);
        let redis = Node::new(client).await?;
        println!("messages of durable actors that reach one channel per second, medians of {ROUNDS} rounds");
        println!("{:<10} {:>14} {:>14}", "actors", "NATS", "Redis");
        for actors in [1, 8, 64] {
            let mut rates = [const { Vec::new() }; 2];
            for round in 0..ROUNDS {
                for (node, rates) in [&nats, &redis].into_iter().zip(&mut rates) {
                    rates.push(node.rate(&format!("work-{actors}-{round}"), actors).await?);
                }
            }
            let [nats, redis] = rates.map(median);
            println!("{actors:<10} {nats:>14.0} {redis:>14.0}");
        }
        Ok(())
    })
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}
