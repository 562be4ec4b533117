//! The node's configuration file. Every key has a default; an unknown one is an error.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};

use plexspaces_app::{ByteSize, ConfigError, Duration, LimitsConfig, parse_strict};
use plexspaces_objects::Place;
use plexspaces_store_remote::redis;
use plexspaces_store_sql::postgres;
use plexspaces_types::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::Error;

mod brokers;
mod effective;

pub use brokers::{ClusterSecret, NatsConfig, RedisConfig, UdpConfig};

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The node itself.
    pub node: NodeConfig,
    /// Where durable state is kept.
    pub store: StoreConfig,
    /// Where large objects are kept.
    pub blobs: BlobsConfig,
    /// Where channels are kept.
    pub channels: ChannelsConfig,
    /// How guests run.
    pub wasm: WasmConfig,
    /// What an actor may use, unless its application says otherwise.
    pub limits: LimitsConfig,
    /// What is kept of what happened to supervised actors.
    pub supervision: SupervisionConfig,
    /// The HTTP and gRPC interface.
    pub api: ApiConfig,
    /// Who may use the node.
    pub security: SecurityConfig,
    /// What the service links of applications use of the node.
    pub service_links: ServiceLinksConfig,
    /// The node's log.
    pub log: LogConfig,
}

/// `[node]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NodeConfig {
    /// The node's name.
    #[schemars(with = "String")]
    pub id: Name,
    /// Where everything is kept that must survive a restart.
    pub data_dir: PathBuf,
    /// Where requests to actors are taken: HTTP/1.1, HTTP/2 and gRPC. Without it 127.0.0.1:8080.
    #[serde(deserialize_with = "address")]
    pub listen_addr: Option<SocketAddr>,
    /// The same interface with a budget of its own, so that load on the first cannot keep an operator out. Without it
    /// 127.0.0.1:8094; if `listen_addr` is given and this is not, a port in use is a warning instead of an error.
    #[serde(deserialize_with = "address")]
    pub control_addr: Option<SocketAddr>,
    /// Whether there is a control listener.
    pub control: bool,
    /// How long a node that is to stop takes requests all the same, while its health says already that it goes, so that load balancers send the
    /// next ones elsewhere. It should be longer than the time between two of their probes.
    pub drain_delay: Duration,
    /// How long a shutdown waits, after that, for what is under way.
    pub shutdown_grace: Duration,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            id: Name::new("node", "node1").unwrap_or_else(|_| Name::default_scope()),
            data_dir: PathBuf::from("plexspaces-data"),
            listen_addr: None,
            control_addr: None,
            control: true,
            drain_delay: Duration(std::time::Duration::from_millis(500)),
            shutdown_grace: Duration(std::time::Duration::from_secs(20)),
        }
    }
}

/// `[store]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// What keeps durable state.
    pub backend: StoreBackend,
    /// Where the database is: `postgres://user:password@host:port/database` or `redis://user:password@host:port/number`.
    pub url: Option<StoreUrl>,
    /// Certificates in PEM of authorities that are trusted besides those of the system, for a URL with `?sslmode=require`, one that begins
    /// with `rediss`, or DynamoDB.
    pub ca_file: Option<PathBuf>,
    /// Connections to that database at most, or requests under way to DynamoDB, at least 2. Without it 8, or 64.
    pub pool_size: Option<u32>,
    /// How long that database may take for one operation. Without it 10 s.
    pub timeout: Option<Duration>,
    /// The table in DynamoDB. Without it `plexspaces`.
    pub table: Option<String>,
    /// The region of AWS that the table is in, such as `eu-west-1`. Without it that of the environment: `AWS_REGION` or `AWS_DEFAULT_REGION`.
    pub region: Option<String>,
    /// Where DynamoDB is, if it is not the service of the region: `https://host:port`, or `http://host:port` in a closed network.
    pub endpoint: Option<String>,
    /// What the names of all keys in Redis begin with, followed by a colon. Without it `plexspaces`.
    pub prefix: Option<String>,
    /// What an acknowledged change in Redis survives. Without it `synced`.
    pub durability: Option<StoreDurability>,
    /// Checks the whole file of the backend `sqlite` when the node starts; it takes as long as reading it.
    pub verify: bool,
}

impl StoreConfig {
    /// What the types of single keys cannot say.
    fn check(&self) -> Result<(), &'static str> {
        let shown: Option<fn(&str) -> Option<String>> = match self.backend {
            StoreBackend::Postgres => Some(postgres::masked),
            StoreBackend::Redis => Some(redis::masked),
            StoreBackend::Sqlite | StoreBackend::DynamoDb | StoreBackend::Memory => None,
        };
        let is_dynamodb = self.backend == StoreBackend::DynamoDb;
        if is_dynamodb && !cfg!(feature = "dynamodb") {
            return Err("store.backend is \"dynamodb\" and this program was built without the feature `dynamodb`");
        }
        if !is_dynamodb && (self.table.is_some() || self.region.is_some() || self.endpoint.is_some()) {
            return Err("store.table, store.region and store.endpoint are for store.backend = \"dynamodb\"");
        }
        if self.endpoint.as_ref().is_some_and(|endpoint| endpoint.contains('@')) {
            return Err("store.endpoint is http(s)://host:port; credentials come from the environment");
        }
        if self.backend != StoreBackend::Redis && (self.prefix.is_some() || self.durability.is_some()) {
            return Err("store.prefix and store.durability are for store.backend = \"redis\"");
        }
        if self.verify && self.backend != StoreBackend::Sqlite && self.backend != StoreBackend::Memory {
            return Err("store.verify is for store.backend = \"sqlite\"");
        }
        if shown.is_none() && self.url.is_some() {
            return Err("store.url is for store.backend = \"postgres\" and \"redis\"");
        }
        if shown.is_none() && !is_dynamodb {
            let is_set = self.ca_file.is_some() || self.pool_size.is_some() || self.timeout.is_some();
            let other = "store.ca_file, store.pool_size and store.timeout are for store.backend = \"postgres\", \"redis\" and \"dynamodb\"";
            return if is_set { Err(other) } else { Ok(()) };
        }
        // The file may leave the URL, which is secret, to the environment.
        match (&self.url, shown) {
            (Some(url), Some(shown)) if shown(&url.0).is_none() => Err(match self.backend {
                StoreBackend::Redis => {
                    "store.url cannot be read, expected redis://user:password@host:port/number with special characters percent-encoded"
                }
                _ => {
                    "store.url cannot be read, expected postgres://user:password@host:port/database with special characters percent-encoded"
                }
            }),
            _ if self.pool_size.is_some_and(|size| size < 2) => Err("store.pool_size must be at least 2"),
            _ if self.timeout.is_some_and(|timeout| timeout.0.is_zero()) => Err("store.timeout must be more than 0 s"),
            _ => Ok(()),
        }
    }
}

/// What an acknowledged change in Redis survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StoreDurability {
    /// The loss of power. A server that does not sync each change to its file before it answers is refused.
    Synced,
    /// What the server is set up to survive, which is not looked at.
    Server,
}

/// Where a database is, with a password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct StoreUrl(pub String);

impl StoreUrl {
    /// Without the password.
    fn shown(&self) -> Option<String> {
        redis::masked(&self.0).or_else(|| postgres::masked(&self.0))
    }
}

impl std::fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown().unwrap_or_else(|| HIDDEN.to_owned()))
    }
}

/// Stands where a secret is.
const HIDDEN: &str = "(not shown: it is secret)";

/// What keeps durable state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StoreBackend {
    /// A file in the data directory; an acknowledged change is on disk.
    #[default]
    Sqlite,
    /// A database of PostgreSQL.
    Postgres,
    /// A server of Redis.
    Redis,
    /// A table of DynamoDB.
    DynamoDb,
    /// Memory: everything is gone when the node ends. For tests.
    Memory,
}

/// `[blobs]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BlobsConfig {
    /// The directory of their bytes. Without it, and without `url`, `blobs` in the data directory.
    pub dir: Option<PathBuf>,
    /// The bucket of their bytes, instead of a directory: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`. Credentials
    /// come from the environment.
    pub url: Option<String>,
    /// Where the bucket's store is, if it is not where its maker has it: `https://host:port`, or `http://host:port` in a closed network.
    pub endpoint: Option<String>,
    /// The region of a bucket of S3. Without it that of the environment, else `us-east-1`.
    pub region: Option<String>,
    /// Certificates in PEM of authorities that are trusted besides those of the system, for the bucket's store.
    pub ca_file: Option<PathBuf>,
    /// How long the bucket's store may take to answer one request, and for each piece of an answer. Without it 30 s.
    pub timeout: Option<Duration>,
    /// The largest blob.
    pub max_size: ByteSize,
    /// What all blobs of one namespace may have together.
    pub namespace_quota: ByteSize,
}

impl Default for BlobsConfig {
    fn default() -> Self {
        Self {
            dir: None,
            url: None,
            endpoint: None,
            region: None,
            ca_file: None,
            timeout: None,
            max_size: ByteSize(1 << 30),
            namespace_quota: ByteSize(100 << 30),
        }
    }
}

impl BlobsConfig {
    /// The bucket, if there is one.
    pub(crate) fn place(&self) -> Option<Place> {
        let timeout = self.timeout.map_or(std::time::Duration::from_secs(30), |timeout| timeout.0);
        let Self { url, endpoint, region, ca_file, .. } = self.clone();
        Some(Place { url: url?, endpoint, region, ca_file, timeout })
    }

    /// What the types of single keys cannot say.
    fn check(&self) -> Result<(), String> {
        if self.timeout.is_some_and(|timeout| timeout.0.is_zero()) {
            return Err("blobs.timeout must be more than 0 s".to_owned());
        }
        if let Some(place) = self.place() {
            if self.dir.is_some() {
                return Err("blobs.dir and blobs.url contradict one another".to_owned());
            }
            return place.check().map_err(|failure| failure.message);
        }
        let is_set = self.endpoint.is_some() || self.region.is_some() || self.ca_file.is_some() || self.timeout.is_some();
        if is_set { Err("blobs.endpoint, blobs.region, blobs.ca_file and blobs.timeout are for blobs.url".to_owned()) } else { Ok(()) }
    }
}

/// `[channels]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChannelsConfig {
    /// Where those channels are for which no application says otherwise.
    pub default: ChannelBackend,
    /// A cluster of Apache Kafka. A user is `PLEXSPACES_KAFKA_USER` with `PLEXSPACES_KAFKA_PASSWORD` of the environment.
    pub kafka: Option<KafkaConfig>,
    /// A server of NATS with JetStream.
    pub nats: Option<NatsConfig>,
    /// A server of Redis, version 6.2 or newer.
    pub redis: Option<RedisConfig>,
    /// Queues of Amazon SQS. The credentials are `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, for a session, `AWS_SESSION_TOKEN` of the
    /// environment, else those of the role of the container or machine.
    pub sqs: Option<SqsConfig>,
    /// Datagrams to the other nodes of a cluster: topics without a server, whose messages may be lost.
    pub udp: Option<UdpConfig>,
}

impl ChannelsConfig {
    /// Where those channels are for which no application says otherwise, by the name for the runtime; `None` is the store.
    pub(crate) fn home(&self) -> Option<&'static str> {
        match self.default {
            // In the order in which they are preferred. Nobody's messages are lost because nothing was said.
            ChannelBackend::Auto => {
                let brokers = [("kafka", self.kafka.is_some()), ("nats", self.nats.is_some()), ("sqs", self.sqs.is_some())];
                brokers.into_iter().find(|(_, is_there)| *is_there).map(|(name, _)| name)
            }
            ChannelBackend::Store => None,
            ChannelBackend::Memory => Some("memory"),
            ChannelBackend::Kafka => Some("kafka"),
            ChannelBackend::Nats => Some("nats"),
            ChannelBackend::Redis => Some("redis"),
            ChannelBackend::Sqs => Some("sqs"),
            ChannelBackend::Udp => Some("udp"),
            ChannelBackend::ProcessGroup => Some("process_group"),
        }
    }

    /// What the types of single keys cannot say.
    fn check(&self) -> Result<(), &'static str> {
        if !cfg!(feature = "kafka") && (self.kafka.is_some() || self.default == ChannelBackend::Kafka) {
            return Err("[channels.kafka]: this program was built without the feature `kafka`");
        }
        if !cfg!(feature = "sqs") && (self.sqs.is_some() || self.default == ChannelBackend::Sqs) {
            return Err("[channels.sqs]: this program was built without the feature `sqs`");
        }
        if self.sqs.as_ref().and_then(|sqs| sqs.endpoint.as_deref()).is_some_and(|endpoint| endpoint.contains('@')) {
            return Err("channels.sqs.endpoint holds credentials, which come from the environment; expected https://host:port");
        }
        if self.kafka.as_ref().is_some_and(|kafka| kafka.bootstrap.iter().any(|address| address.contains(['@', '/']))) {
            return Err("channels.kafka.bootstrap cannot be read, expected [\"host:port\"]");
        }
        match self.default {
            ChannelBackend::Kafka if self.kafka.is_none() => Err("channels.default is \"kafka\" and channels.kafka.bootstrap is missing"),
            ChannelBackend::Sqs if self.sqs.is_none() => Err("channels.default is \"sqs\" and channels.sqs.region is missing"),
            ChannelBackend::Nats if self.nats.is_none() => Err("channels.default is \"nats\" and channels.nats.url is missing"),
            ChannelBackend::Redis if self.redis.is_none() => Err("channels.default is \"redis\" and channels.redis.url is missing"),
            ChannelBackend::Udp if self.udp.is_none() => Err("channels.default is \"udp\" and channels.udp.cluster_name is missing"),
            _ => Ok(()),
        }
    }
}

/// Where channels are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChannelBackend {
    /// The first that the node has of Kafka, NATS and SQS, else the node's store.
    #[default]
    Auto,
    /// The node's store.
    Store,
    /// The node's memory. What is there ends with the node.
    Memory,
    /// The cluster of `[channels.kafka]`.
    Kafka,
    /// The server of `[channels.nats]`.
    Nats,
    /// The server of `[channels.redis]`.
    Redis,
    /// The queues of `[channels.sqs]`.
    Sqs,
    /// The cluster of `[channels.udp]`. Such a channel has no queue.
    Udp,
    /// The process group of the channel's name, whose members are told what is published. Such a channel has no queue.
    #[serde(rename = "process_group")]
    ProcessGroup,
}

/// `[channels.kafka]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KafkaConfig {
    /// Some of the cluster's brokers: `["host:port"]`.
    pub bootstrap: Vec<String>,
    /// What the names of topics begin with: 1 to 32 letters, digits, `-` and `_`.
    #[serde(default = "prefix")]
    pub prefix: String,
    /// How many replicas a topic has that the node makes; what the cluster says if it is not given.
    #[serde(default)]
    pub replicas: Option<u8>,
    /// Whether connections are encrypted.
    #[serde(default)]
    pub tls: bool,
    /// Certificates in PEM of authorities that are trusted besides those of the system.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

/// `[channels.sqs]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqsConfig {
    /// The region, such as `eu-west-1`.
    pub region: String,
    /// Where the service is, if it is not that of the region: `https://host:port`.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// What the names of queues begin with: 1 to 15 letters, digits, `-` and `_`.
    #[serde(default = "prefix")]
    pub prefix: String,
    /// Whether each message of a channel waits until the one before it is done, which keeps their order.
    #[serde(default)]
    pub ordered: bool,
}

fn prefix() -> String {
    "plexspaces".to_owned()
}

/// The address of a message broker, with a password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct BrokerUrl(pub String);

impl BrokerUrl {
    /// Without the password.
    fn shown(&self) -> Option<String> {
        plexspaces_channel_remote::masked(&self.0)
    }
}

impl std::fmt::Debug for BrokerUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown().unwrap_or_else(|| HIDDEN.to_owned()))
    }
}

/// `[wasm]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WasmConfig {
    /// Actors in memory at the same time.
    pub instances: u32,
    /// Resident memory of the node from which on actors that were used longest ago leave memory. Only those leave that lose nothing by it:
    /// durable ones and those with an idle time-out, unless they are eager. No limit unless given. What they leave behind, up to 4 MiB of
    /// each, is kept for the actors that come: the node takes up what was needed at once at the most.
    pub memory_budget: Option<ByteSize>,
    /// An actor that has grown beyond this, and beyond twice its size at its start, gets a fresh instance with the same state.
    pub replace_at: ByteSize,
}

impl Default for WasmConfig {
    fn default() -> Self {
        let engine = plexspaces_wasm::Config::new("");
        Self { instances: engine.instances, memory_budget: None, replace_at: ByteSize(engine.replace_at_bytes as u64) }
    }
}

/// `[supervision]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SupervisionConfig {
    /// Events that the history of each application's supervisors has at most; the oldest go first.
    pub keep_events: u64,
    /// How old an event of it becomes at most.
    pub keep_for: Duration,
}

impl Default for SupervisionConfig {
    fn default() -> Self {
        let retention = plexspaces_actor::Retention::default();
        Self { keep_events: retention.events, keep_for: Duration(retention.age) }
    }
}

/// `[api]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// The largest deployment.
    pub max_deploy_size: ByteSize,
    /// Under which URL clients reach the node, for the links that it makes: `https://plexspaces.example`. Without it that of the
    /// first listener, unless that listens on all addresses: then it makes none.
    pub public_url: Option<String>,
    /// The largest invocation.
    pub max_request_size: ByteSize,
    /// Requests under way at the same time on the first listener; more are answered `overloaded`.
    pub concurrency: u32,
    /// The same for the control listener.
    pub control_concurrency: u32,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            max_deploy_size: ByteSize(128 << 20),
            public_url: None,
            max_request_size: ByteSize(16 << 20),
            concurrency: 4096,
            control_concurrency: 256,
        }
    }
}

/// `[security]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SecurityConfig {
    /// The administrator's token. Without it a node on loopback is open, and one on any other address makes a token and prints it.
    pub admin_token: Option<String>,
    /// Lets everybody in, on whatever address. For tests on a closed network.
    pub disable_auth: bool,
    /// Refuses to start without `admin_token`, be it from here or from the environment, and with `disable_auth`. For production.
    pub require_auth: bool,
}

/// `[service_links]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceLinksConfig {
    /// Holds the secrets that links name: a directory for each tenant, in it a file for each secret.
    pub secrets_dir: Option<PathBuf>,
    /// Environment variables that begin so are secrets of the tenant `default`: `llm-key` is this and `LLM_KEY`. Empty for none.
    pub secrets_env_prefix: String,
    /// Certificates in PEM of authorities that are trusted besides those of the system.
    pub ca_file: Option<PathBuf>,
}

impl Default for ServiceLinksConfig {
    fn default() -> Self {
        Self { secrets_dir: None, secrets_env_prefix: "PLEXSPACES_SECRET_".to_owned(), ca_file: None }
    }
}

/// `[log]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// How lines look.
    pub format: LogFormat,
    /// What is logged, as in `RUST_LOG`, which stands over it. Without either: `info`.
    pub filter: Option<String>,
}

/// How lines of the log look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::ConfigFile { path: path.to_owned(), source })?;
        Ok(Self::parse(&path.display().to_string(), &text)?)
    }

    /// Reads a file's text; `what` names it in errors.
    pub fn parse(what: &str, text: &str) -> Result<Self, ConfigError> {
        let config: Self = parse_strict(what, text)?;
        config.check(what)?;
        Ok(config)
    }

    /// What may come from elsewhere until a node starts with it.
    pub fn check_whole(&self) -> Result<(), ConfigError> {
        match self.store.backend {
            StoreBackend::Postgres | StoreBackend::Redis => crate::store::url(self).map(drop),
            StoreBackend::Sqlite | StoreBackend::DynamoDb | StoreBackend::Memory => Ok(()),
        }
    }

    /// What the types of single keys cannot say; `what` names the configuration in errors.
    pub fn check(&self, what: &str) -> Result<(), ConfigError> {
        let wrong = |message: &str| Err(ConfigError::new(what, message));
        if self.wasm.instances == 0 {
            return wrong("wasm.instances is 0, expected at least 1");
        }
        if self.supervision.keep_events == 0 || self.supervision.keep_for.0.is_zero() {
            return wrong("supervision.keep_events and supervision.keep_for must be more than 0");
        }
        if self.api.concurrency == 0 || self.api.control_concurrency == 0 {
            return wrong("api.concurrency and api.control_concurrency must be at least 1");
        }
        if self.api.public_url.as_deref().is_some_and(|url| !is_public_url(url)) {
            return wrong(
                "api.public_url cannot be used, expected http://host:port or https://host:port, perhaps with a path, and nothing more",
            );
        }
        if self.security.admin_token.as_ref().is_some_and(|token| token.len() < 16) {
            return wrong("security.admin_token is too short, expected at least 16 characters");
        }
        if self.security.admin_token.is_some() && self.security.disable_auth {
            return wrong("security.admin_token and security.disable_auth contradict one another");
        }
        if self.security.require_auth && self.security.disable_auth {
            return wrong("security.require_auth and security.disable_auth contradict one another");
        }
        if let Some(Err(error)) = self.log.filter.as_deref().map(tracing_subscriber::EnvFilter::try_new) {
            return wrong(&format!("log.filter cannot be read: {error}"));
        }
        self.limits.check().or_else(|message| wrong(&message))?;
        self.blobs.check().or_else(|message| wrong(&message))?;
        self.channels.check().or_else(wrong)?;
        self.channels.check_brokers().or_else(|failure| wrong(&failure.message))?;
        self.store.check().or_else(wrong)
    }

    /// The same with its secrets hidden, to be shown.
    #[must_use]
    pub fn masked(&self) -> Self {
        let mut shown = self.clone();
        shown.security.admin_token = self.security.admin_token.as_ref().map(|_| HIDDEN.to_owned());
        shown.channels.hide_secrets();
        shown.store.url = self.store.url.as_ref().map(|url| StoreUrl(url.shown().unwrap_or_else(|| HIDDEN.to_owned())));
        shown
    }

    /// The whole configuration, defaults included, as a file.
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        toml::to_string_pretty(self).map_err(|error| ConfigError::new("configuration", error.to_string()))
    }

    /// The JSON Schema of the file.
    #[must_use]
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Self).into()
    }

    /// Where requests to actors are taken.
    #[must_use]
    pub fn listen_addr(&self) -> SocketAddr {
        self.node.listen_addr.unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080))
    }

    /// Where operators come in.
    #[must_use]
    pub fn control_addr(&self) -> SocketAddr {
        self.node.control_addr.unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8094))
    }
}

/// The address that `host:port` means; of several that of IPv4, which is what others try.
pub fn resolve(text: &str) -> Result<SocketAddr, String> {
    let parts = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    let (host, _) = parts.ok_or_else(|| format!("{text:?} is no address, expected HOST:PORT such as 127.0.0.1:8080"))?;
    let unknown = |why: &dyn std::fmt::Display| format!("the host {host:?} cannot be resolved: {why}");
    let found: Vec<_> = text.to_socket_addrs().map_err(|error| unknown(&error))?.collect();
    found.iter().find(|address| address.is_ipv4()).or(found.first()).copied().ok_or_else(|| unknown(&"it has no address"))
}

/// An address of a file, which means the same wherever it is read: no name but `localhost` is looked up.
fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let port = text.strip_prefix("localhost:").and_then(|port| port.parse().ok());
    let address = port.map_or_else(|| text.parse(), |port| Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
    let expected = format!("{text:?} is no address, expected one such as 127.0.0.1:8080 or localhost:8080");
    address.map(Some).map_err(|_| serde::de::Error::custom(expected))
}

/// Whether a path can be put behind a URL.
fn is_public_url(url: &str) -> bool {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    rest.is_some_and(|rest| {
        !rest.is_empty() && !rest.starts_with('/') && rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#@".contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_a_valid_file() {
        let text = Config::default().to_toml().unwrap();
        assert_eq!(Config::parse("dump", &text), Ok(Config::default()));
        assert_eq!(Config::parse("empty", ""), Ok(Config::default()));
    }

    #[test]
    fn wrong_files_are_refused_with_the_place_and_the_remedy() {
        let error = |text: &str| Config::parse("node.toml", text).unwrap_err().to_string();
        assert!(error("[node]\ndata_dri = \"x\"").ends_with("did you mean `data_dir`?"), "{}", error("[node]\ndata_dri = \"x\""));
        assert!(error("[node]\nlisten_addr = \"nowhere\"").starts_with("node.toml, line 2: "));
        assert!(error("[node]\ncontrol_addr = \"example.com:80\"").contains("\"example.com:80\" is no address, expected one such as"));
        assert!(resolve("no.such.host.invalid:80").unwrap_err().contains("the host \"no.such.host.invalid\" cannot be resolved"));
        assert!(error("[wasm]\ninstances = 0").contains("expected at least 1"));
        assert!(error("[supervision]\nkeep_events = 0").contains("more than 0"));
        assert!(error("[security]\nadmin_token = \"short\"").contains("at least 16"));
        assert!(error("[limits]\nmailbox = 0").contains("limits.mailbox is 0, expected at least 1"));
        assert!(error("[log]\nfilter = \"][\"").contains("log.filter cannot be read"));
        let both = |other: &str| error(&format!("[security]\ndisable_auth = true\n{other}"));
        assert!(both("admin_token = \"0123456789abcdef\"").contains("contradict") && both("require_auth = true").contains("contradict"));
        assert!(error("[store]\nbackend = \"sqlit\"").ends_with("did you mean `sqlite`?"));
        assert!(error("[store]\nbackend = \"postgres\"\npool_size = 1").contains("at least 2"));
        assert!(error("[store]\npool_size = 4").contains("are for store.backend = \"postgres\""));
        assert!(error("[store]\nbackend = \"redis\"\ntable = \"x\"").contains("are for store.backend = \"dynamodb\""));
        let dynamodb = |rest: &str| error(&format!("[store]\nbackend = \"dynamodb\"\n{rest}"));
        if cfg!(feature = "dynamodb") {
            assert!(dynamodb("url = \"redis://db\"").contains("store.url is for"));
            let credentials = dynamodb("endpoint = \"https://key:s3cret@db\"");
            assert!(credentials.contains("come from the environment") && !credentials.contains("cret"), "{credentials}");
        } else {
            assert!(dynamodb("").contains("without the feature `dynamodb`"));
        }
        assert!(error("[blobs]\nurl = \"s3://bucket\"\ndir = \"x\"").contains("contradict"));
        assert!(error("[blobs]\nregion = \"eu\"").contains("are for blobs.url"));
        assert!(error("[blobs]\nurl = \"s3://bucket\"\ntimeout = \"0s\"").contains("more than 0 s"));
        let credentials = error("[blobs]\nurl = \"s3://key:s3cret@bucket\"");
        assert!(credentials.contains("come from the environment") && !credentials.contains("cret"), "{credentials}");
        for url in ["host:80", "http://", "http:///x", "http://a?b", "https://a b"] {
            assert!(error(&format!("[api]\npublic_url = \"{url}\"")).contains("expected http://host:port"), "{url}");
        }
        assert!(error("[channels]\ndefault = \"nats\"").contains("channels.nats.url is missing"));
        assert!(error("[channels]\ndefault = \"sqs\"").contains("channels.sqs.region is missing"));
        assert!(error("[channels.sqs]\nregion = \"eu-west-1\"\nsecret = \"x\"").contains("unknown field"));
        assert!(error("[channels]\ndefault = \"kafka\"").contains("channels.kafka.bootstrap is missing"));
        for wrong in
            ["[channels.sqs]\nregion = \"x\"\nendpoint = \"http://k:s3cret@h\"", "[channels.kafka]\nbootstrap = [\"k:s3cret@h:1\"]"]
        {
            let credentials = error(wrong);
            assert!(credentials.contains("expected") && !credentials.contains("cret@"), "{credentials}");
        }
        assert!(error("[channels]\ndefault = \"rabbit\"").contains("expected one of"), "{}", error("[channels]\ndefault = \"rabbit\""));
        let unreadable = error("[channels.redis]\nurl = \"localhost:6379 s3cret\"");
        assert!(unreadable.contains("expected redis://") && !unreadable.contains("cret"), "{unreadable}");
        assert!(error("[channels.redis]\nurl = \"rediss://h/#insecure\"").contains("expected redis://"));
        assert!(error("[channels.nats]\nurl = \"nats://h\"\nca_file = \"ca.pem\"").contains("begins with tls://"));
        assert!(error("[channels.redis]\nurl = \"redis://h\"\nca_file = \"ca.pem\"").contains("begins with rediss://"));
        let both = error("[channels.nats]\nurl = \"tls://t0ken@h\"\ncredentials_file = \"plex.creds\"");
        assert!(both.contains("contradict") && !both.contains("t0ken"), "{both}");
        let udp = |rest: &str| error(&format!("[channels.udp]\n{rest}"));
        assert!(udp("").contains("channels.udp.cluster_name is \"\""), "{}", udp(""));
        assert!(udp("cluster_name = \"a b\"").contains("expected 1 to 64 letters"));
        assert!(udp("cluster_name = \"lab\"\ngroup = \"10.0.0.1\"").contains("expected a multicast address"));
        assert!(udp("cluster_name = \"lab\"\nport = 0").contains("expected 1 to 65535"));
        let short = udp("cluster_name = \"lab\"\nsecret = \"s3cret\"");
        assert!(short.contains("at least 16 bytes") && !short.contains("s3cret"), "{short}");
        assert!(error("[channels]\ndefault = \"udp\"").contains("channels.udp.cluster_name is missing"));
        assert!(error("[store]\nbackend = \"postgres\"\nprefix = \"x\"").contains("are for store.backend = \"redis\""));
        assert!(error("[store]\nbackend = \"redis\"\nverify = true").contains("is for store.backend = \"sqlite\""));
        let unreadable = error("[store]\nbackend = \"postgres\"\nurl = \"postgres://plex:s3cret@db:port\"");
        assert!(unreadable.contains("percent-encoded") && !unreadable.contains("cret"), "{unreadable}");
        let other = error("[store]\nbackend = \"redis\"\nurl = \"postgres://plex:s3cret@db/state\"");
        assert!(other.contains("redis://") && !other.contains("cret"), "{other}");
    }

    #[test]
    fn a_listener_may_be_given_by_the_name_of_its_host() {
        let config = Config::parse("node.toml", "[node]\nlisten_addr = \"localhost:8080\"").unwrap();
        assert!(config.listen_addr().ip().is_loopback() && config.listen_addr().port() == 8080);
    }

    #[test]
    fn channels_are_at_the_first_broker_that_there_is_and_else_in_the_store() {
        let parse = |sections: &[&str]| -> ChannelsConfig { toml::from_str(&sections.concat()).unwrap() };
        let (kafka, nats) = ("[kafka]\nbootstrap = [\"h:9092\"]\n", "[nats]\nurl = \"nats://h\"\n");
        let (sqs, redis) = ("[sqs]\nregion = \"eu-west-1\"\n", "[redis]\nurl = \"redis://h\"\n");
        let udp = "[udp]\ncluster_name = \"lab\"\n";
        let home = |sections: &[&str]| parse(sections).home();
        assert_eq!(home(&[udp, redis, sqs, nats, kafka]), Some("kafka"));
        assert_eq!(home(&[udp, redis, sqs, nats]), Some("nats"));
        assert_eq!(home(&[udp, redis, sqs]), Some("sqs"));
        assert_eq!(home(&[udp, redis]), None, "neither loses messages unasked");
        assert_eq!(home(&[]), None);
        for named in ["kafka", "nats", "redis", "sqs", "udp", "process_group", "memory"] {
            let default = format!("default = \"{named}\"\n");
            assert_eq!(home(&[&default, kafka, nats, sqs, redis, udp]), Some(named));
        }
        assert_eq!(home(&["default = \"store\"\n", kafka]), None);
    }

    #[test]
    fn secrets_are_shown_nowhere() {
        for (backend, place) in [("postgres", "@db:5433/state"), ("redis", "@db:7000/1")] {
            let text = format!(
                "[store]\nbackend = \"{backend}\"\nurl = \"{backend}://plex:s3cret{place}\"\n\
                 [channels.nats]\nurl = \"nats://plex:s3cret@mq:4222\"\n\
                 [channels.udp]\ncluster_name = \"lab\"\nsecret = \"0123456789s3cret\"\n\
                 [security]\nadmin_token = \"0123456789s3cret\""
            );
            let config = Config::parse("node.toml", &text).unwrap();
            let shown = config.masked().to_toml().unwrap();
            assert!(shown.contains(&format!("{backend}://plex:(hidden){place}")) && !shown.contains("s3cret"), "{shown}");
            assert!(shown.contains("nats://plex:(hidden)@mq:4222"), "{shown}");
            assert!(shown.contains("(not shown: it is secret)") && shown.contains("239.255.80.88"), "{shown}");
            assert!(!format!("{:?} {:?}", config.store, config.channels).contains("s3cret"));
            // What a start makes of flags and file is the same as the file.
            assert_eq!(Config::parse("dump", &config.to_toml().unwrap()), Ok(config));
        }
    }

    #[test]
    fn every_key_of_the_schema_has_a_description() {
        let schema = Config::schema();
        let sections = schema["properties"].as_object().unwrap();
        assert_eq!(sections.len(), 11);
        for definition in schema["$defs"].as_object().unwrap().values() {
            for (key, property) in definition["properties"].as_object().into_iter().flatten() {
                assert!(property.get("description").is_some() || property.get("$ref").is_some(), "{key}");
            }
        }
    }
}
