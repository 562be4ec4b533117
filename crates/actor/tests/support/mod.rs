//! A native actor whose operations show what a turn can do, and a node's worth of runtime around it.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use plexspaces_actor::supervision::{Intensity, Restart};
use plexspaces_actor::{
    Application, Behavior, Budget, Child, ChildSpec, Config, Description, Factory, Fault, HandlerInfo, HandlerKind, HttpRequest, Instance,
    Limits, Profile, Reply, Request, Runtime, Schedule, Sdk, Spec, SupervisorSpec, Target, Turn, TypeInfo, TypeSpec,
};
use plexspaces_store::{Memory, Store};
use plexspaces_types::{Clock, Code, Failure, Key, Message, Name, Payload, RequestContext};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// What the probes of one factory share with the test.
#[derive(Default)]
pub struct Watch {
    pub made: AtomicUsize,
    pub handled: Mutex<Vec<String>>,
    pub fail_init: std::sync::atomic::AtomicBool,
    /// A state cannot be taken.
    pub fail_snapshot: std::sync::atomic::AtomicBool,
}

pub struct ProbeFactory {
    description: Description,
    pub watch: Arc<Watch>,
    /// `hold` waits here.
    pub gate: Arc<Semaphore>,
    pub version: &'static str,
}

impl ProbeFactory {
    pub fn new(version: &'static str) -> Arc<Self> {
        let handler = |operation: &str| HandlerInfo {
            operation: operation.into(),
            kind: HandlerKind::Cast,
            doc: String::new(),
            parameters: Value::Null,
        };
        let info = |name: &str, handlers: &[&str]| TypeInfo {
            name: name.into(),
            aliases: vec![format!("{name}_actor")],
            class: "Probe".into(),
            behavior: Behavior::GenServer,
            states: Vec::new(),
            initial: None,
            doc: String::new(),
            facets: Vec::new(),
            handlers: handlers.iter().map(|operation| handler(operation)).collect(),
        };
        let sdk = Sdk { language: "rust".into(), version: "0".into() };
        let description = Description { sdk, actors: vec![info("probe", &["__DOWN__"]), info("guard", &["__DOWN__", "__EXIT__"])] };
        Arc::new(Self { description, watch: Arc::default(), gate: Arc::new(Semaphore::new(0)), version })
    }
}

struct Probe {
    state: Value,
    watch: Arc<Watch>,
    gate: Arc<Semaphore>,
    version: &'static str,
    grown: bool,
    config: Value,
}

#[async_trait]
impl Factory for ProbeFactory {
    fn description(&self) -> &Description {
        &self.description
    }

    async fn create(&self, spec: &Spec, mut turn: Turn) -> Result<(Box<dyn Instance>, Turn), Fault> {
        self.watch.made.fetch_add(1, Ordering::SeqCst);
        if self.watch.fail_init.load(Ordering::SeqCst) {
            return Err(crash("init failed"));
        }
        let config: Value = serde_json::from_str(&spec.config).unwrap();
        if config["args"]["greet"] == true {
            turn.kv_put("greeted", "yes".into(), None).await.map_err(Fault::Rejected)?;
        }
        let (watch, gate) = (self.watch.clone(), self.gate.clone());
        Ok((Box::new(Probe { state: json!({"count": 0, "heard": []}), watch, gate, version: self.version, grown: false, config }), turn))
    }
}

fn crash(message: &str) -> Fault {
    Fault::Crashed { failure: Failure::new(Code::HandlerFailed, message), trace: "trace".into() }
}

#[async_trait]
impl Instance for Probe {
    async fn handle(&mut self, message: &Message, mut turn: Turn, want_state: bool) -> Result<(Reply, Turn), Fault> {
        let arguments: Value = serde_json::from_slice(message.payload.as_bytes()).unwrap_or_default();
        let text = |name: &str| arguments[name].as_str().unwrap_or_default().to_owned();
        self.watch.handled.lock().unwrap().push(format!("{}{}", message.operation, text("tag")));
        let failed = |failure: Failure| Fault::Crashed { failure, trace: String::new() };
        let reply = match message.operation.as_str() {
            "add" => {
                self.state["count"] = json!(self.state["count"].as_i64().unwrap() + arguments["by"].as_i64().unwrap_or(1));
                json!({"count": self.state["count"]})
            }
            "get" => json!({"count": self.state["count"]}),
            "heard" => self.state["heard"].clone(),
            "version" => json!(self.version),
            "config" => self.config.clone(),
            "sender" => json!(message.sender.as_ref().map(ToString::to_string)),
            "reject" => return Err(Fault::Rejected(Failure::invalid("by", "by is missing"))),
            "crash" => {
                self.state["count"] = json!(-1);
                turn.kv_put("k", "from a failed turn".into(), None).await.map_err(failed)?;
                if let Some(target) = arguments["tell"].as_str() {
                    turn.tell(target, "add", Payload::empty()).await.map_err(failed)?;
                }
                return Err(crash("boom"));
            }
            "hold" => {
                self.gate.acquire().await.unwrap().forget();
                json!({})
            }
            "spin" => {
                tokio::time::sleep(Duration::from_secs(3600)).await;
                json!({})
            }
            "grow" => {
                self.grown = true;
                json!({})
            }
            "put" => {
                let ttl = arguments["ttl"].as_u64().map(Duration::from_millis);
                turn.kv_put(&text("key"), text("value"), ttl).await.map_err(Fault::Rejected)?;
                json!({"read": turn.kv_get(&text("key")).await.map_err(failed)?})
            }
            "read" => json!(turn.kv_get(&text("key")).await.map_err(failed)?),
            "delete" => json!(turn.kv_delete(&text("key")).await.map_err(failed)?),
            "cas" => {
                let expected = arguments["expected"].as_str();
                json!(turn.kv_compare_and_set(&text("key"), expected, text("value")).await.map_err(failed)?)
            }
            "list" => {
                let limit = arguments["limit"].as_u64().unwrap_or(100) as usize;
                json!(turn.kv_list(&text("prefix"), arguments["after"].as_str(), limit).await.map_err(failed)?)
            }
            "ask" => {
                let timeout = Duration::from_millis(arguments["timeout"].as_u64().unwrap_or(5000));
                let payload = Payload::from_value(&arguments["payload"]);
                match turn.ask(&text("target"), &text("op"), payload, timeout).await {
                    Ok(reply) => serde_json::from_slice(reply.as_bytes()).unwrap(),
                    Err(failure) => json!({"code": failure.code.name(), "message": failure.message}),
                }
            }
            "fetch" => {
                let request = HttpRequest {
                    method: "POST".into(),
                    path: "/".into(),
                    body: vec![b'x'; arguments["body"].as_u64().unwrap_or(0) as usize].into(),
                    timeout: arguments["timeout"].as_u64().map(Duration::from_millis),
                    idempotency_key: arguments["key"].as_str().map(str::to_owned),
                    ..HttpRequest::default()
                };
                let response = turn.http_fetch(&text("link"), request).await.map_err(Fault::Rejected)?;
                json!({"status": response.status, "body": String::from_utf8_lossy(&response.body)})
            }
            "__DOWN__" | "__EXIT__" => {
                let heard = json!([message.operation, arguments]);
                self.state["heard"].as_array_mut().unwrap().push(heard);
                json!({})
            }
            "watch nobody" => {
                let mut watches = 0;
                let refused = loop {
                    match turn.monitor("nobody") {
                        Ok(_) => watches += 1,
                        Err(failure) => break failure,
                    }
                };
                json!([watches, refused.code.name()])
            }
            "monitor" => json!(turn.monitor(&text("target")).map_err(Fault::Rejected)?),
            "demonitor" => {
                turn.demonitor(&text("ref"));
                json!({})
            }
            "link" => json!(turn.link(&text("target")).map_err(Fault::Rejected)?),
            "unlink" => json!(turn.unlink(&text("target")).map_err(Fault::Rejected)?),
            "stop" => json!(turn.stop(&text("target")).await.map_err(Fault::Rejected)?),
            "spawn" => {
                let args = arguments["args"].as_object().cloned().unwrap_or_default();
                let spawned = turn.spawn(&text("type"), &text("name"), args).await;
                json!(spawned.map_err(Fault::Rejected)?.to_string())
            }
            "panic" => panic!("at the disco"),
            "timer" => {
                let time = |name: &str| arguments[name].as_u64().map(Duration::from_millis);
                let schedule = match (time("after"), time("every")) {
                    (Some(delay), _) => Schedule::After(delay),
                    (_, Some(period)) => Schedule::Every(period),
                    _ => Schedule::cron(&text("cron")).map_err(Fault::Rejected)?,
                };
                let (operation, payload) = (text("op"), Payload::from_value(&arguments["payload"]));
                let durable = arguments["durable"] == true;
                let started = turn.start_timer(arguments["name"].as_str(), schedule, &operation, payload, durable).await;
                if arguments["crash"] == true {
                    return Err(crash("boom"));
                }
                json!(started.map_err(Fault::Rejected)?)
            }
            "cancel" => json!(turn.cancel_timer(&text("name"), arguments["durable"] == true).await.map_err(Fault::Rejected)?),
            "tell" => match turn.tell(&text("target"), &text("op"), Payload::empty()).await {
                Ok(()) => json!({}),
                Err(failure) => json!({"code": failure.code.name(), "message": failure.message}),
            },
            other => return Err(Fault::Rejected(Failure::new(Code::UnknownOperation, format!("unknown operation {other:?}")))),
        };
        let state = want_state.then(|| Payload::from_value(&self.state));
        Ok((Reply { payload: Payload::from_value(&reply), state }, turn))
    }

    async fn snapshot(&mut self) -> Result<Payload, Fault> {
        assert!(!self.watch.fail_snapshot.load(Ordering::SeqCst), "no state to be had");
        Ok(Payload::from_value(&self.state))
    }

    async fn restore(&mut self, state: &Payload) -> Result<(), Fault> {
        self.state = serde_json::from_slice(state.as_bytes()).unwrap();
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        0
    }

    fn wants_replacement(&self) -> bool {
        self.grown
    }
}

pub fn name(text: &str) -> Name {
    Name::new("name", text).unwrap()
}

/// A runtime with one application `lab` in `default/default` that has the type `probe`.
pub struct Lab {
    pub runtime: Runtime,
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub factory: Arc<ProbeFactory>,
    pub application: Application,
}

impl Lab {
    pub async fn volatile() -> Self {
        Self::with(Profile::default(), Vec::new()).await
    }

    pub async fn durable() -> Self {
        Self::with(Profile { durable: true, ..Profile::default() }, Vec::new()).await
    }

    pub async fn with(profile: Profile, children: Vec<ChildSpec>) -> Self {
        Self::on(Arc::new(Memory::new()), profile, children).await
    }

    pub async fn on(store: Arc<dyn Store>, profile: Profile, children: Vec<ChildSpec>) -> Self {
        Self::at(Clock::manual(1_000_000), store, profile, children).await
    }

    pub async fn at(clock: Clock, store: Arc<dyn Store>, profile: Profile, children: Vec<ChildSpec>) -> Self {
        Self::within(Budget::default(), clock, store, profile, children).await
    }

    pub async fn within(budget: Budget, clock: Clock, store: Arc<dyn Store>, profile: Profile, children: Vec<ChildSpec>) -> Self {
        let runtime = Runtime::new(Config { budget, ..Config::new(name("node1"), store.clone(), clock.clone()) });
        let factory = ProbeFactory::new("v1");
        let application = application(factory.clone(), profile, children);
        runtime.deploy(&application).await.unwrap();
        Self { runtime, store, clock, factory, application }
    }

    pub fn ctx(&self) -> RequestContext {
        let scope = Name::default_scope();
        RequestContext::external(scope.clone(), scope, "test")
            .with_deadline(tokio::time::Instant::now().into_std() + Duration::from_secs(60))
    }

    pub async fn ask(&self, key: &str, operation: &str, payload: Value) -> Result<Value, Failure> {
        self.request(key, operation, payload, None).await
    }

    pub async fn request(&self, key: &str, operation: &str, payload: Value, idempotency_key: Option<&str>) -> Result<Value, Failure> {
        let target = Target { name: "probe", key: Some(key) };
        let reply = self.runtime.ask(&self.ctx(), target, request(operation, &payload, idempotency_key)).await?;
        Ok(serde_json::from_slice(reply.as_bytes()).unwrap())
    }

    /// Asks an actor by its printed identity or name.
    pub async fn ask_any(&self, name: &str, operation: &str, payload: Value) -> Result<Value, Failure> {
        let (name, key) = name.split_once('/').map_or((name, None), |(name, key)| (name, Some(key)));
        let reply = self.runtime.ask(&self.ctx(), Target { name, key }, request(operation, &payload, None)).await?;
        Ok(serde_json::from_slice(reply.as_bytes()).unwrap())
    }

    /// What an actor has heard of the ends of others, once there is so much of it.
    pub async fn heard(&self, name: &str, count: usize) -> Vec<Value> {
        loop {
            let heard = self.ask_any(name, "heard", json!({})).await.unwrap();
            if heard.as_array().unwrap().len() >= count {
                return heard.as_array().unwrap().clone();
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub async fn tell(&self, key: &str, operation: &str, payload: Value) -> Result<(), Failure> {
        let target = Target { name: "probe", key: Some(key) };
        self.runtime.tell(&self.ctx(), target, request(operation, &payload, None)).await
    }

    pub async fn count(&self, key: &str) -> i64 {
        self.ask(key, "get", json!({})).await.unwrap()["count"].as_i64().unwrap()
    }

    pub fn made(&self) -> usize {
        self.factory.watch.made.load(Ordering::SeqCst)
    }
}

pub fn application(factory: Arc<ProbeFactory>, profile: Profile, children: Vec<ChildSpec>) -> Application {
    let spec = |text: &str| TypeSpec {
        name: name(text),
        guest_type: text.into(),
        aliases: vec![format!("{text}_actor")],
        profile: profile.clone(),
    };
    Application {
        tenant: Name::default_scope(),
        namespace: Name::default_scope(),
        name: name("lab"),
        factory,
        earlier: Vec::new(),
        outbound: None,
        channels: std::collections::BTreeMap::new(),
        types: vec![spec("probe"), spec("guard")],
        supervisor: SupervisorSpec {
            intensity: Intensity { max_restarts: 3, window: Duration::from_secs(60) },
            ..SupervisorSpec::new("root", children.into_iter().map(Child::Actor).collect())
        },
    }
}

pub fn child(key: &str, profile: Profile) -> ChildSpec {
    ChildSpec {
        key: Key::new(key).unwrap(),
        actor_type: name("probe"),
        aliases: Vec::new(),
        profile,
        restart: Restart::Permanent,
        shutdown: Duration::from_secs(5),
    }
}

pub fn limits(change: impl FnOnce(&mut Limits)) -> Profile {
    let mut profile = Profile::default();
    change(&mut profile.limits);
    profile
}

pub fn request(operation: &str, payload: &Value, idempotency_key: Option<&str>) -> Request {
    Request { operation: operation.to_owned(), payload: Payload::from_value(payload), idempotency_key: idempotency_key.map(str::to_owned) }
}
