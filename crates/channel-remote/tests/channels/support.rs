//! Nodes whose channels are somewhere.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use plexspaces_actor::{Broker, Brokers, Config, Request, Runtime};
use plexspaces_channel_remote::{Kafka, Nats, NatsConfig, Redis, RedisConfig, Sqs, Udp, UdpConfig, kafka, sqs};
use plexspaces_store::{Memory, Store};
use plexspaces_store_sql::{Postgres, Sqlite, postgres, sqlite};
use plexspaces_testkit::servers;
use plexspaces_types::{Clock, Failure, Name, Payload, RequestContext};
use serde_json::Value;
use tempfile::TempDir;

/// Within this everything comes to pass that does at all, however much the machine has to do besides.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Where a test's channel is.
pub(crate) struct Place {
    pub(crate) channel: String,
    kind: Kind,
    _directory: Option<TempDir>,
}

enum Kind {
    /// The node's memory, whatever its store is.
    Memory,
    Store(Arc<dyn Store>),
    Kafka(String),
    Nats(String),
    Redis(String),
    Sqs {
        url: String,
        ordered: bool,
    },
    Udp(UdpConfig),
}

/// The servers of all tests of this process; each test has channels of its own.
static POSTGRES: OnceLock<servers::Postgres> = OnceLock::new();
static KAFKA: OnceLock<servers::Kafka> = OnceLock::new();
static NATS: OnceLock<servers::Nats> = OnceLock::new();
static REDIS: OnceLock<servers::Redis> = OnceLock::new();
static SQS: OnceLock<servers::Sqs> = OnceLock::new();

impl Place {
    pub(crate) fn memory(channel: &str) -> Self {
        Self { channel: channel.to_owned(), kind: Kind::Memory, _directory: None }
    }

    pub(crate) fn postgres(channel: &str) -> Self {
        let server = POSTGRES.get_or_init(|| servers::Postgres::start().unwrap());
        let config = postgres::Config { timeout: PATIENCE / 2, ..postgres::Config::new(server.url()) };
        let store = Arc::new(Postgres::open(&config).unwrap());
        Self { channel: channel.to_owned(), kind: Kind::Store(store), _directory: None }
    }

    pub(crate) fn sqlite(channel: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Sqlite::open(sqlite::Config::new(directory.path().join("db"))).unwrap();
        Self { channel: channel.to_owned(), kind: Kind::Store(Arc::new(store)), _directory: Some(directory) }
    }

    pub(crate) fn kafka(channel: &str) -> Self {
        let server = KAFKA.get_or_init(|| servers::Kafka::start().unwrap());
        Self::at_kafka(&server.url(), channel)
    }

    pub(crate) fn at_kafka(url: &str, channel: &str) -> Self {
        Self { channel: channel.to_owned(), kind: Kind::Kafka(url.to_owned()), _directory: None }
    }

    pub(crate) fn nats(channel: &str) -> Self {
        let server = NATS.get_or_init(|| servers::Nats::start().unwrap());
        Self::at_nats(&server.url(), channel)
    }

    pub(crate) fn at_nats(url: &str, channel: &str) -> Self {
        Self { channel: channel.to_owned(), kind: Kind::Nats(url.to_owned()), _directory: None }
    }

    pub(crate) fn redis(channel: &str) -> Self {
        let server = REDIS.get_or_init(|| servers::Redis::start().unwrap());
        Self::at_redis(&server.url(), channel)
    }

    pub(crate) fn at_redis(url: &str, channel: &str) -> Self {
        Self { channel: channel.to_owned(), kind: Kind::Redis(url.to_owned()), _directory: None }
    }

    pub(crate) fn sqs(channel: &str) -> Self {
        let server = SQS.get_or_init(|| servers::Sqs::start().unwrap());
        Self::at_sqs(&server.url(), channel)
    }

    pub(crate) fn at_sqs(url: &str, channel: &str) -> Self {
        Self { channel: channel.to_owned(), kind: Kind::Sqs { url: url.to_owned(), ordered: false }, _directory: None }
    }

    pub(crate) fn at_sqs_ordered(url: &str, channel: &str) -> Self {
        Self { channel: channel.to_owned(), kind: Kind::Sqs { url: url.to_owned(), ordered: true }, _directory: None }
    }

    pub(crate) fn udp(channel: &str) -> Self {
        Self::at_udp(udp(), channel)
    }

    pub(crate) fn at_udp(config: UdpConfig, channel: &str) -> Self {
        Self { channel: channel.to_owned(), kind: Kind::Udp(config), _directory: None }
    }

    /// Whether the node has the channel itself.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self.kind, Kind::Memory | Kind::Store(_))
    }

    /// Whether messages are given out in the order in which they were sent while many are in hand.
    pub(crate) fn keeps_order(&self) -> bool {
        !matches!(self.kind, Kind::Sqs { .. })
    }

    /// Whether any node can settle a message by its id.
    pub(crate) fn settles_by_id(&self) -> bool {
        !matches!(self.kind, Kind::Sqs { .. })
    }

    /// Whether a message whose consumer was cut off before it had it comes back when its time is over.
    pub(crate) fn comes_back(&self) -> bool {
        !matches!(self.kind, Kind::Nats(_))
    }

    pub(crate) fn has_topics(&self) -> bool {
        !matches!(self.kind, Kind::Sqs { .. })
    }

    /// Sends a message that was sent before, as if its broker knew its id no more.
    pub(crate) async fn send_anew(&self, node: &Node, id: &str) {
        let escaped = |escape: &str| self.channel.replace('_', escape);
        let message = serde_json::json!({"msg_id": id, "msg_type": "", "payload": 1, "timestamp": 1}).to_string();
        match &self.kind {
            Kind::Redis(url) => {
                let mut connection = redis::Client::open(url.as_str()).unwrap().get_multiplexed_async_connection().await.unwrap();
                let known = format!("plexspaces:{{default/default/{}}}:lately", self.channel);
                redis::cmd("ZREM").arg(known).arg(id).query_async::<()>(&mut connection).await.unwrap();
            }
            Kind::Nats(url) => {
                let options = async_nats::ConnectOptions::with_user_and_password("plex".to_owned(), servers::Nats::PASSWORD.to_owned());
                let jetstream = async_nats::jetstream::new(options.connect(url).await.unwrap());
                let subject = format!("plexspaces.PLEXQ_default_default_{}.ready.{id}", escaped("=5F"));
                jetstream.publish(subject, message.into()).await.unwrap().await.unwrap();
                return;
            }
            Kind::Kafka(_) => {
                let topic = format!("plexspaces.queue.default.default.{}", escaped("_5F"));
                let again = ("plexspaces", r#"{"do":"send","again":true}"#);
                return KAFKA.get().unwrap().produce_with(&topic, again, &message).unwrap();
            }
            _ => {}
        }
        node.ask("send", serde_json::json!({"payload": 1, "msg_id": id})).await;
    }

    /// A client of its own.
    pub(crate) async fn broker(&self) -> Option<Arc<dyn Broker>> {
        match &self.kind {
            Kind::Memory | Kind::Store(_) => None,
            Kind::Kafka(url) => {
                let bootstrap = vec![url.clone()];
                let (prefix, ca_file, login) = ("plexspaces".to_owned(), None, None);
                let config = kafka::Config { bootstrap, prefix, replicas: -1, tls: false, ca_file, login };
                Some(Arc::new(Kafka::open(&config).unwrap()))
            }
            Kind::Sqs { url, ordered } => Some(Arc::new(Sqs::open(&sqs::Config { ordered: *ordered, ..sqs_config(url) }).unwrap())),
            Kind::Nats(url) => Some(Arc::new(Nats::open(&NatsConfig::new(url)).await.unwrap())),
            Kind::Redis(url) => Some(Arc::new(Redis::open(&RedisConfig::new(url)).unwrap())),
            Kind::Udp(config) => Some(Arc::new(Udp::open(config).unwrap())),
        }
    }

    /// A node that knows nothing of those before it but what the place keeps.
    pub(crate) async fn node(&self) -> Node {
        let mut brokers = Brokers::default();
        let broker = self.broker().await;
        if let Some(broker) = broker {
            brokers = Brokers { by_name: BTreeMap::from([("broker".to_owned(), broker)]), default: Some("broker".to_owned()) };
        }
        if matches!(self.kind, Kind::Memory) {
            brokers.default = Some("memory".to_owned());
        }
        let store = match &self.kind {
            Kind::Store(store) => store.clone(),
            _ => Arc::new(Memory::default()),
        };
        let config = Config::new(Name::new("node", "node1").unwrap(), store, Clock::system());
        let runtime = Runtime::new(Config { services: plexspaces_coord::services(), brokers, ..config });
        let ctx = RequestContext::external(Name::default_scope(), Name::default_scope(), "test");
        let node = Node { runtime, channel: self.channel.clone(), ctx };
        // A client of NATS connects beside whatever else happens.
        node.surely("status", serde_json::json!({})).await;
        node
    }

    /// The node that goes on where this one ends; the same one where nothing is left of a channel after its node.
    pub(crate) async fn follow(&self, node: Node) -> Node {
        if matches!(self.kind, Kind::Memory) {
            return node;
        }
        drop(node);
        self.node().await
    }
}

#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) runtime: Runtime,
    pub(crate) channel: String,
    pub(crate) ctx: RequestContext,
}

impl Node {
    /// The same node for another of its channels.
    pub(crate) fn other(&self, channel: &str) -> Self {
        Self { channel: channel.to_owned(), ..self.clone() }
    }

    pub(crate) async fn ask(&self, operation: &str, arguments: Value) -> Value {
        self.try_ask(operation, arguments).await.unwrap()
    }

    pub(crate) async fn try_ask(&self, operation: &str, arguments: Value) -> Result<Value, Failure> {
        self.keyed(operation, arguments, None).await
    }

    pub(crate) async fn keyed(&self, operation: &str, arguments: Value, key: Option<&str>) -> Result<Value, Failure> {
        let request =
            Request { operation: operation.to_owned(), payload: Payload::from_value(&arguments), idempotency_key: key.map(str::to_owned) };
        let reply = self.runtime.ask_service(&self.ctx, "channels", &self.channel, request).await?;
        Ok(serde_json::from_slice(reply.as_bytes()).unwrap_or_default())
    }

    /// What is refused, as code, field and message.
    pub(crate) async fn refused(&self, operation: &str, arguments: Value) -> (&'static str, Option<String>, String) {
        let failure = self.try_ask(operation, arguments.clone()).await.expect_err(&arguments.to_string());
        (failure.code.name(), failure.field, failure.message)
    }

    /// Asks until the broker answers.
    pub(crate) async fn surely(&self, operation: &str, arguments: Value) -> Value {
        self.surely_keyed(operation, arguments, None).await
    }

    /// The same under a key, so that an answer that was lost comes again.
    pub(crate) async fn surely_keyed(&self, operation: &str, arguments: Value, key: Option<&str>) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.keyed(operation, arguments.clone(), key).await {
                Ok(reply) => return reply,
                Err(failure) => {
                    assert_eq!(failure.code.name(), "unavailable", "{failure}");
                    assert!(Instant::now() < deadline, "{failure}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    pub(crate) async fn send(&self, number: u64) -> Value {
        self.ask("send", serde_json::json!({"payload": {"n": number}, "msg_type": "job"})).await["msg_id"].clone()
    }

    /// The next message, for which it waits. It is not given out again before the end of the test.
    pub(crate) async fn receive(&self) -> Value {
        self.ask("receive", serde_json::json!({"timeout_ms": 60_000, "visibility_ms": 600_000})).await["message"].clone()
    }

    /// The next message if there is one now.
    pub(crate) async fn poll(&self) -> Value {
        self.ask("receive", serde_json::json!({})).await["message"].clone()
    }

    pub(crate) async fn status(&self, field: &str) -> u64 {
        self.ask("status", serde_json::json!({})).await[field].as_u64().unwrap()
    }
}

/// A service of SQS, whose user it does not check.
pub(crate) fn sqs_config(url: &str) -> sqs::Config {
    let (region, credentials) = ("eu-west-1".to_owned(), sqs::Credentials::new("plex", "s3cret", None));
    sqs::Config { region, endpoint: Some(url.to_owned()), prefix: "plexspaces".to_owned(), ordered: false, credentials }
}

/// A cluster of one test, on this machine.
pub(crate) fn udp() -> UdpConfig {
    let port = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let secret = Some("the secret of a test".to_owned());
    UdpConfig {
        group: Ipv4Addr::new(239, 255, 80, 88),
        port,
        cluster_name: "lab".to_owned(),
        interface: Some(Ipv4Addr::LOCALHOST),
        ttl: 0,
        secret,
    }
}

/// Asks beside whatever follows.
pub(crate) fn beside(node: &Node, operation: &'static str, arguments: Value) -> tokio::task::JoinHandle<Value> {
    let node = node.clone();
    tokio::spawn(async move { node.ask(operation, arguments).await })
}

/// The same until the broker answers.
pub(crate) fn surely_beside(node: &Node, operation: &'static str, arguments: Value) -> tokio::task::JoinHandle<Value> {
    let node = node.clone();
    tokio::spawn(async move { node.surely(operation, arguments).await })
}

pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "it never came to pass that {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
