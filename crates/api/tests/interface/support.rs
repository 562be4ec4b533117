//! A node's interface on a port of its own, with actors that say what reached them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use futures::FutureExt as _;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use plexspaces_actor::{
    self as actor, BlobKeys, BlobStore, Description, Factory, Fault, Instance, Limits, Profile, Reply, Runtime, Spec, SupervisorSpec, Turn,
    TypeSpec,
};
use plexspaces_api::{AuthConfig, Budget, Check, Config, LogBook, NodeInfo, Readiness, ServeConfig, Services, State, router, serve};
use plexspaces_app::Applications;
use plexspaces_client::Client;
use plexspaces_store::Memory;
use plexspaces_types::{Clock, Code, Failure, Message, MessageKind, Name, Payload};
use plexspaces_wasm::Engine;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const TOKEN: &str = "a-token-of-the-administrator";

/// A node's interface.
pub(crate) struct Node {
    pub(crate) addr: SocketAddr,
    pub(crate) services: Services,
    pub(crate) clock: Clock,
    /// Told when an actor has begun with `gate`, and lets it go on.
    pub(crate) entered: Arc<Notify>,
    pub(crate) gate: Arc<Notify>,
    pub(crate) stop: CancellationToken,
    pub(crate) served: JoinHandle<bool>,
    pub(crate) http: HttpClient<HttpConnector, Full<Bytes>>,
    _directory: TempDir,
}

/// What a test sets of a node.
pub(crate) struct Setup {
    pub(crate) api: Config,
    pub(crate) serve: ServeConfig,
    pub(crate) metrics: Arc<dyn Fn() -> String + Send + Sync>,
    pub(crate) failing: bool,
}

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The error's reason, after a look at its shape.
    #[track_caller]
    pub(crate) fn reason(&self) -> String {
        assert_eq!((self.header("content-type"), self.header("cache-control")), ("application/json", "no-store"));
        let body = self.json();
        let reason = body["reason"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned();
        let code: Code = reason.parse().unwrap();
        assert_eq!(body["code"], code.error_type().name());
        assert_eq!(self.status.as_u16(), code.http_status());
        assert_eq!(body["retryable"], code.retryable());
        assert_eq!(body["request_id"], self.header("x-request-id"));
        assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()));
        assert_eq!(body["retry_after_seconds"].as_u64().map(|seconds| seconds.to_string()).unwrap_or_default(), self.header("retry-after"));
        reason
    }

    pub(crate) fn field(&self) -> String {
        self.json()["field_violations"][0]["field"].as_str().unwrap_or_default().to_owned()
    }
}

impl Node {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup {
            api: Config::new(AuthConfig::Open, Arc::new([7; 32].into())),
            serve: ServeConfig::new(Budget::new(100)),
            metrics: Arc::new(|| "plexspaces_up 1\n".to_owned()),
            failing: false,
        };
        let clock = Clock::manual(1_700_000_000_123);
        setup.api.clock = clock.clone();
        change(&mut setup);
        let directory = TempDir::new().unwrap();
        let store = Arc::new(Memory::new());
        let node_id = Name::new("node", "node-1").unwrap();
        let config = actor::Config::new(node_id, store.clone(), clock.clone());
        let blobs = BlobStore {
            objects: Arc::new(plexspaces_objects::Kept::in_directory(&directory.path().join("blobs")).unwrap()),
            keys: Arc::new(BlobKeys::from_bytes(&[7; BlobKeys::BYTES]).unwrap().into()),
            url: "http://node-1".into(),
            max_bytes: 1 << 20,
            quota_bytes: 1 << 20,
        };
        let runtime = Runtime::new(actor::Config { services: plexspaces_coord::services(), blobs: Some(blobs), ..config });
        let mut engine = plexspaces_wasm::Config::new(directory.path().join("cache"));
        engine.instances = 10;
        let config = plexspaces_app::Config {
            components: directory.path().join("components"),
            limits: Limits::default(),
            outbound: plexspaces_outbound::Client::new(plexspaces_outbound::Config::default()).unwrap(),
            clock: clock.clone(),
        };
        let applications = Applications::open(config, store, runtime.clone(), Engine::new(engine).unwrap()).await.unwrap();
        let readiness = Readiness::default();
        readiness.set(State::Ready);
        let failing = setup.failing;
        let services = Services {
            runtime,
            applications,
            logs: LogBook::new(100, clock.clone()),
            node: NodeInfo { id: "node-1".to_owned(), version: "1.2.3".to_owned(), started_at_ms: 1_700_000_000_000 },
            readiness,
            probe: Arc::new(move || {
                let outcome = if failing { Err("does not answer".to_owned()) } else { Ok(()) };
                async move { vec![Check { name: "store", outcome, took: Duration::from_millis(2) }] }.boxed()
            }),
            metrics: setup.metrics,
            shutdown: CancellationToken::new(),
        };
        let (entered, gate) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        services.runtime.deploy(&mirrors(entered.clone(), gate.clone())).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let served = tokio::spawn(serve(listener, router(services.clone(), &setup.api).unwrap(), setup.serve, stop.clone()));
        let http = HttpClient::builder(TokioExecutor::new()).build_http();
        Self { addr, services, clock, entered, gate, stop, served, http, _directory: directory }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.url(), None).await.unwrap()
    }

    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.http.request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer { status: parts.status, headers: parts.headers, body: body.collect().await.unwrap().to_bytes() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &'static str) -> Answer {
        self.send("POST", path, &[], body).await
    }

    /// Deploys the echo component by a form.
    pub(crate) async fn deploy(&self, fields: &[(&str, &str)]) -> Answer {
        let wasm = plexspaces_testkit::guests::echo();
        let mut parts: Vec<(&str, &[u8])> = fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        parts.push(("wasm", &wasm));
        self.form("/api/v1/deploy", &parts).await
    }

    pub(crate) async fn form(&self, path: &str, parts: &[(&str, &[u8])]) -> Answer {
        let mut body = Vec::new();
        for (name, value) in parts {
            let file = if *name == "wasm" { "; filename=\"a.wasm\"" } else { "" };
            body.extend(format!("--xyz\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n").bytes());
            body.extend_from_slice(value);
            body.extend(b"\r\n");
        }
        body.extend(b"--xyz--\r\n");
        self.send("POST", path, &[("content-type", "multipart/form-data; boundary=xyz")], body).await
    }
}

/// Types that answer what reached them: `mirror`; `ledger`, which is durable; `scale`, which handles only `weigh`; `flow`, a workflow.
fn mirrors(entered: Arc<Notify>, gate: Arc<Notify>) -> actor::Application {
    let kind = |name: &str, durable| TypeSpec {
        name: Name::new("type", name).unwrap(),
        guest_type: name.to_owned(),
        aliases: Vec::new(),
        profile: Profile { durable, limits: Limits::default(), ..Profile::default() },
    };
    let info = |name: &str, behavior, handler: &str| {
        let kind = actor::HandlerKind::Call;
        let handler = actor::HandlerInfo { operation: handler.to_owned(), kind, doc: String::new(), parameters: Value::Null };
        actor::TypeInfo {
            name: name.to_owned(),
            aliases: Vec::new(),
            class: String::new(),
            behavior,
            states: Vec::new(),
            initial: None,
            doc: String::new(),
            facets: Vec::new(),
            handlers: vec![handler],
        }
    };
    let server = actor::Behavior::GenServer;
    let actors = vec![
        info("mirror", server, "*"),
        info("ledger", server, "*"),
        info("scale", server, "weigh"),
        info("flow", actor::Behavior::Workflow, "workflow_run"),
    ];
    let description = Description { sdk: actor::Sdk { language: "rust".to_owned(), version: "0".to_owned() }, actors };
    actor::Application {
        tenant: Name::default_scope(),
        namespace: Name::default_scope(),
        name: Name::new("app", "mirrors").unwrap(),
        factory: Arc::new(Mirrors { description, entered, gate }),
        earlier: Vec::new(),
        outbound: None,
        channels: std::collections::BTreeMap::new(),
        types: vec![kind("mirror", false), kind("ledger", true), kind("scale", false), kind("flow", false)],
        supervisor: SupervisorSpec::new("root", Vec::new()),
    }
}

struct Mirrors {
    description: Description,
    entered: Arc<Notify>,
    gate: Arc<Notify>,
}

struct Mirror {
    key: String,
    entered: Arc<Notify>,
    gate: Arc<Notify>,
    messages: u64,
}

#[async_trait::async_trait]
impl Factory for Mirrors {
    fn description(&self) -> &Description {
        &self.description
    }

    async fn create(&self, spec: &Spec, turn: Turn) -> Result<(Box<dyn Instance>, Turn), Fault> {
        let (entered, gate) = (self.entered.clone(), self.gate.clone());
        Ok((Box::new(Mirror { key: spec.id.key.to_string(), entered, gate, messages: 0 }), turn))
    }
}

#[async_trait::async_trait]
impl Instance for Mirror {
    async fn handle(&mut self, message: &Message, turn: Turn, want_state: bool) -> Result<(Reply, Turn), Fault> {
        self.messages += 1;
        let reply = match message.operation.as_str() {
            "null" => Payload::Json("null".to_owned()),
            "bytes" => Payload::Bytes(Bytes::from_static(b"\0\xff")),
            "verbatim" => message.payload.clone(),
            "never" => std::future::pending().await,
            "gate" => {
                self.entered.notify_one();
                self.gate.notified().await;
                Payload::empty()
            }
            "unknown" => return Err(Fault::Rejected(Failure::new(Code::UnknownOperation, "no handler for \"unknown\""))),
            "fail" => {
                let failure = Failure::new(Code::HandlerFailed, "the handler failed: out of tea");
                return Err(Fault::Crashed { failure, trace: "secret.rs:17".to_owned() });
            }
            operation => {
                let payload = match &message.payload {
                    Payload::Json(text) => serde_json::from_str(text).unwrap(),
                    Payload::Bytes(bytes) => json!({ "bytes": bytes.len() }),
                };
                Payload::from_value(&json!({
                    "operation": operation,
                    "call": message.kind == MessageKind::Call,
                    "payload": payload,
                    "key": self.key,
                    "messages": self.messages,
                }))
            }
        };
        let state = want_state.then(|| Payload::Json(self.messages.to_string()));
        Ok((Reply { payload: reply, state }, turn))
    }

    async fn snapshot(&mut self) -> Result<Payload, Fault> {
        Ok(Payload::Json(self.messages.to_string()))
    }

    async fn restore(&mut self, state: &Payload) -> Result<(), Fault> {
        if let Payload::Json(text) = state {
            self.messages = text.parse().unwrap();
        }
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}
