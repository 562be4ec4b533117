//! A node's life: lock, listen, store, engine, actors, interface; and the same backwards.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use plexspaces_actor::{self as actor, Brokers, FacetRegistry, Runtime};
use plexspaces_api::{self as api, AuthConfig, Budget, NodeInfo, Readiness, ServeConfig, Services, State};
use plexspaces_app::{self as app, Applications, ConfigError};
use plexspaces_channel_remote::{Nats, Redis, Udp};
use plexspaces_outbound::{self as outbound, Client, SecretsConfig};
use plexspaces_types::{Clock, Failure};
use plexspaces_wasm::Engine;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::bring_up::{BringUp, is_passing};
use crate::config::SecurityConfig;
use crate::lock::DataDirLock;
use crate::store::OpenStore;
use crate::{ChannelsConfig, Config, Error, Telemetry, blobs};

/// So much of the grace is left for actors, which have accepted more than what those wait for whose requests took the rest.
const LEAST_GRACE: Duration = Duration::from_secs(1);

/// Where a node can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// For requests to actors.
    pub data: SocketAddr,
    /// For operators, if there is a listener of their own.
    pub control: Option<SocketAddr>,
    /// The token that the node made because it had none and can be reached from outside.
    pub made_token: Option<String>,
}

/// A node that answers.
pub struct Node {
    addresses: Addresses,
    applications: Applications,
    runtime: Runtime,
    readiness: Readiness,
    store: OpenStore,
    servers: JoinSet<bool>,
    shutdown: CancellationToken,
    /// Cancelled when nothing more is accepted.
    closing: CancellationToken,
    drain_delay: Duration,
    grace: Duration,
    _lock: DataDirLock,
}

impl Node {
    /// Starts a node whose actors can have these facets; it answers when this returns. It runs until `shutdown` is cancelled, by the caller
    /// or through its interface. Where its store is elsewhere and cannot be reached, it refuses requests until it can: [`Node::started`].
    pub async fn start(config: &Config, facets: FacetRegistry, telemetry: &Telemetry, shutdown: CancellationToken) -> Result<Self, Error> {
        let lock = DataDirLock::acquire(&config.node.data_dir)?;
        let (data, control) = listen(config).await?;
        let store = OpenStore::open(config).await?;
        let engine = Engine::new(plexspaces_wasm::Config {
            cache_dir: config.node.data_dir.join("compiled"),
            instances: config.wasm.instances,
            replace_at_bytes: usize::try_from(config.wasm.replace_at.0).unwrap_or(usize::MAX),
        })?;
        let clock = Clock::system();
        let budget = actor::Budget {
            memory_bytes: config.wasm.memory_budget.map(|size| size.0),
            // The engine refuses more instances, so some leave before.
            actors: Some(config.wasm.instances as usize * 9 / 10),
        };
        let actor_config = actor::Config::new(config.node.id.clone(), store.handle(), clock.clone());
        let services = plexspaces_coord::services();
        let (kept, blob_keys) = (blobs::open(config)?, Arc::<OnceLock<_>>::default());
        let blobs = Some(blobs::store(config, kept.clone(), blob_keys.clone(), &public_url(config, &data)));
        let brokers = brokers(&config.channels).await?;
        let kept_of = engine.clone();
        let kept_bytes = Arc::new(move || kept_of.kept_bytes());
        let history = actor::Retention { events: config.supervision.keep_events, age: config.supervision.keep_for.0 };
        let runtime = Runtime::new(actor::Config { budget, kept_bytes, facets, services, blobs, brokers, history, ..actor_config });
        let limits = config.limits.over(actor::Limits::default());
        let components = config.node.data_dir.join("components");
        let outbound = Client::new(outbound_config(config))?;
        let app_config = app::Config { components, limits, outbound, clock: clock.clone() };
        let applications = Applications::new(app_config, store.handle(), runtime.clone(), engine).map_err(Error::Applications)?;

        let exposed = ![&data, control.as_ref().unwrap_or(&data)].into_iter().all(is_loopback);
        let (auth, made_token) = authentication(config, exposed)?;
        let readiness = Readiness::default();
        let (metrics, counted) = (telemetry.metrics.clone(), runtime.clone());
        let services = Services {
            runtime: runtime.clone(),
            applications: applications.clone(),
            logs: telemetry.logs.clone(),
            node: NodeInfo { id: config.node.id.to_string(), version: env!("CARGO_PKG_VERSION").to_owned(), started_at_ms: clock.now_ms() },
            readiness: readiness.clone(),
            probe: crate::probe::probe(store.handle(), applications.clone()),
            metrics: Arc::new(move || {
                counted.count_actors();
                metrics.render()
            }),
            shutdown: shutdown.clone(),
        };
        let page_key = Arc::<OnceLock<_>>::default();
        let mut api_config = api::Config::new(auth, page_key.clone());
        api_config.limits.deploy_bytes = usize::try_from(config.api.max_deploy_size.0).unwrap_or(usize::MAX);
        api_config.limits.payload_bytes = usize::try_from(config.api.max_request_size.0).unwrap_or(usize::MAX);
        let router = api::router(services, &api_config)?;

        let grace = config.node.shutdown_grace.0;
        let addresses = Addresses { data: address(&data), control: control.as_ref().map(address), made_token };
        let (mut servers, closing) = (JoinSet::new(), CancellationToken::new());
        let listeners = [(Some(data), config.api.concurrency), (control, config.api.control_concurrency)];
        for (listener, concurrency) in listeners {
            let Some(listener) = listener else { continue };
            let serve_config = ServeConfig { grace, ..ServeConfig::new(Budget::new(concurrency as usize)) };
            servers.spawn(api::serve(listener, router.clone(), serve_config, closing.clone()));
        }
        if kept.is_remote() {
            tokio::spawn(blobs::tend(kept, readiness.clone(), shutdown.clone()));
        }
        tokio::spawn(blobs::sweep(runtime.clone(), shutdown.clone()));
        let bring_up =
            BringUp { store: store.handle(), applications: applications.clone(), page_key, blob_keys, readiness: readiness.clone() };
        let failed = bring_up.go().await.err();
        match failed {
            Some(error) if !store.is_remote() || !is_passing(&error) => return Err(error),
            failed if store.is_remote() => drop(tokio::spawn(bring_up.tend(failed, shutdown.clone()))),
            _ => {}
        }
        let drain_delay = config.node.drain_delay.0;
        Ok(Self { addresses, applications, runtime, readiness, store, servers, shutdown, closing, drain_delay, grace, _lock: lock })
    }

    /// Where it can be reached.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Whether it takes requests already.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.readiness.get() == State::Ready
    }

    /// Waits until it takes requests, or ends before it does; says which.
    pub fn started(&self) -> impl Future<Output = bool> + Send + use<> {
        let readiness = self.readiness.clone();
        async move { readiness.started().await == State::Ready }
    }

    /// Its applications.
    #[must_use]
    pub fn applications(&self) -> &Applications {
        &self.applications
    }

    /// Runs until the shutdown: then its health says that it goes, after a moment nothing more is accepted, what is under way is finished, and
    /// everything is flushed. Returns whether all of that was done within the grace period.
    pub async fn run(mut self) -> bool {
        self.shutdown.cancelled().await;
        tracing::info!("shutting down");
        if self.is_ready() {
            self.readiness.set(State::Leaving);
            tokio::time::sleep(self.drain_delay).await;
        }
        self.readiness.set(State::Draining);
        let closed = Instant::now();
        self.closing.cancel();
        let mut answered = true;
        while let Some(finished) = self.servers.join_next().await {
            answered &= finished.unwrap_or(false);
        }
        let left = self.grace.saturating_sub(closed.elapsed()).max(LEAST_GRACE.min(self.grace));
        let drained = self.runtime.shutdown(left).await && answered;
        self.store.close().await;
        tracing::info!(drained, "stopped");
        drained
    }
}

/// Both listeners. An address that the configuration names must be free; the control listener's default may be taken when another main
/// address was chosen, so that a second node on a laptop needs one option.
async fn listen(config: &Config) -> Result<(TcpListener, Option<TcpListener>), Error> {
    let bind = async |address: SocketAddr| TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source });
    let data = bind(config.listen_addr()).await?;
    if !config.node.control {
        return Ok((data, None));
    }
    match bind(config.control_addr()).await {
        Ok(control) => Ok((data, Some(control))),
        Err(error) if config.node.listen_addr.is_some() && config.node.control_addr.is_none() => {
            tracing::warn!(%error, "there is no control listener; the main one serves everything");
            Ok((data, None))
        }
        Err(error) => Err(error),
    }
}

/// Under which URL clients reach the node; empty where that cannot be known.
fn public_url(config: &Config, data: &TcpListener) -> String {
    let address = address(data);
    let own = || if address.ip().is_unspecified() { String::new() } else { format!("http://{address}") };
    config.api.public_url.clone().unwrap_or_else(own)
}

/// The brokers that channels can be on. They need not be there yet.
async fn brokers(config: &ChannelsConfig) -> Result<Brokers, Error> {
    let mut brokers = Brokers::default();
    let wrong = |failure: Failure| ConfigError::new("the configuration", failure.message);
    if let Some(nats) = &config.nats {
        let client = Nats::open(&nats.complete()?).await.map_err(wrong)?;
        brokers.by_name.insert("nats".to_owned(), Arc::new(client));
    }
    if let Some(redis) = &config.redis {
        let client = Redis::open(&redis.complete()?).map_err(wrong)?;
        brokers.by_name.insert("redis".to_owned(), Arc::new(client));
    }
    #[cfg(feature = "kafka")]
    if let Some(kafka) = &config.kafka {
        brokers.by_name.insert("kafka".to_owned(), Arc::new(open_kafka(kafka).map_err(wrong)?));
    }
    #[cfg(feature = "sqs")]
    if let Some(sqs) = &config.sqs {
        brokers.by_name.insert("sqs".to_owned(), Arc::new(open_sqs(sqs).map_err(wrong)?));
    }
    if let Some(udp) = &config.udp {
        if udp.secret.is_none() {
            tracing::warn!("channels.udp has no secret: whoever reaches {} can publish to its channels", udp.group);
        }
        brokers.by_name.insert("udp".to_owned(), Arc::new(Udp::open(&udp.access()).map_err(wrong)?));
    }
    let default = config.home();
    if !brokers.by_name.is_empty() {
        let known: Vec<&str> = brokers.by_name.keys().map(String::as_str).collect();
        tracing::info!(brokers = known.join(", "), default = default.unwrap_or("store"), "channels initialized");
    }
    brokers.default = default.map(str::to_owned);
    Ok(brokers)
}

#[cfg(feature = "kafka")]
fn open_kafka(config: &crate::config::KafkaConfig) -> Result<plexspaces_channel_remote::Kafka, Failure> {
    use plexspaces_channel_remote::{Kafka, kafka};
    let crate::config::KafkaConfig { bootstrap, prefix, replicas, tls, ca_file } = config.clone();
    let replicas = replicas.map_or(-1, i16::from);
    Kafka::open(&kafka::Config { bootstrap, prefix, replicas, tls, ca_file, login: kafka::Login::from_env()? })
}

#[cfg(feature = "sqs")]
fn open_sqs(config: &crate::config::SqsConfig) -> Result<plexspaces_channel_remote::Sqs, Failure> {
    use plexspaces_channel_remote::{Sqs, sqs};
    let crate::config::SqsConfig { region, endpoint, prefix, ordered } = config.clone();
    let credentials = sqs::Credentials::from_env();
    let credentials = credentials.map_err(|error| Failure::new(error.code(), format!("[channels.sqs]: {error}")))?;
    Sqs::open(&sqs::Config { region, endpoint, prefix, ordered, credentials })
}

fn outbound_config(config: &Config) -> outbound::Config {
    let settings = &config.service_links;
    let env_prefix = Some(settings.secrets_env_prefix.clone()).filter(|prefix| !prefix.is_empty());
    let secrets = SecretsConfig { dir: settings.secrets_dir.clone(), env_prefix };
    outbound::Config { secrets, ca_file: settings.ca_file.clone() }
}

/// Who may come in: see `[security]`.
fn authentication(config: &Config, exposed: bool) -> Result<(AuthConfig, Option<String>), Error> {
    let SecurityConfig { admin_token, disable_auth, require_auth } = config.security.clone();
    let refused = |why: &str| Err(ConfigError::new("the configuration", format!("security.require_auth is true and {why}")).into());
    match admin_token {
        _ if disable_auth && require_auth => refused("authentication is disabled"),
        token if disable_auth => {
            tracing::warn!("authentication is disabled: everybody who reaches this node may do everything");
            Ok((AuthConfig::Disabled(token), None))
        }
        Some(token) => Ok((AuthConfig::Token(token), None)),
        None if require_auth => refused("there are no credentials; give security.admin_token or PLEXSPACES_ADMIN_TOKEN"),
        None if exposed => {
            let token: String = rand::random::<[u8; 24]>().iter().map(|byte| format!("{byte:02x}")).collect();
            Ok((AuthConfig::Token(token.clone()), Some(token)))
        }
        None => {
            tracing::warn!("no credentials are configured: the node is open to every process on this machine");
            Ok((AuthConfig::Open, None))
        }
    }
}

fn is_loopback(listener: &TcpListener) -> bool {
    listener.local_addr().is_ok_and(|address| address.ip().is_loopback())
}

fn address(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0))
}
