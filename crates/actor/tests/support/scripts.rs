//! Actors that run lists of steps, a store that is cut off at any of its commits, and a node around them.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use plexspaces_actor::{
    Application, Behavior, BlobKeys, BlobStore, Config, Description, Factory, Fault, HandlerInfo, HandlerKind, HttpRequest, Instance,
    LogLevel, MIGRATE, Profile, Reply, Request, Runtime, Schedule, Sdk, Spec, SupervisorSpec, Target, Turn, TypeInfo, TypeSpec,
};
use plexspaces_store::{Batch, Error, Limits, Memory, Page, Partition, Range, Store};
use plexspaces_types::{Clock, Code, Failure, Message, Name, Payload, RequestContext};
use serde_json::{Value, json};

/// Within this everything comes to pass that does at all, however much the machine has to do besides.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a list of steps as one turn.
pub struct Script {
    state: Value,
    /// What the code is at the moment; another value does something else.
    version: Arc<AtomicUsize>,
    handled: Arc<Mutex<Vec<String>>>,
    /// What the runs that it started came to.
    ended: HashMap<String, Value>,
}

pub struct Scripts {
    pub description: Description,
    pub version: Arc<AtomicUsize>,
    pub handled: Arc<Mutex<Vec<String>>>,
}

#[async_trait]
impl Factory for Scripts {
    fn description(&self) -> &Description {
        &self.description
    }

    fn code(&self) -> u64 {
        self.version.load(Ordering::SeqCst) as u64
    }

    async fn create(&self, _: &Spec, turn: Turn) -> Result<(Box<dyn Instance>, Turn), Fault> {
        let script =
            Script { state: json!({"notes": []}), version: self.version.clone(), handled: self.handled.clone(), ended: HashMap::new() };
        Ok((Box::new(script), turn))
    }
}

impl Scripts {
    /// A version of the code; from 10 on it migrates states.
    pub fn new(version: usize) -> Arc<Self> {
        let migrate = HandlerInfo { operation: MIGRATE.into(), kind: HandlerKind::Call, doc: String::new(), parameters: Value::Null };
        let info = |name: &str, behavior| TypeInfo {
            name: name.into(),
            aliases: Vec::new(),
            class: "Script".into(),
            behavior,
            states: Vec::new(),
            initial: None,
            doc: String::new(),
            facets: Vec::new(),
            handlers: (version >= 10).then(|| migrate.clone()).into_iter().collect(),
        };
        let actors = vec![info("script", Behavior::GenServer), info("flow", Behavior::Workflow)];
        let description = Description { sdk: Sdk { language: "rust".into(), version: "0".into() }, actors };
        Arc::new(Self { description, version: Arc::new(AtomicUsize::new(version)), handled: Arc::default() })
    }

    /// What it was given.
    pub fn handled(&self) -> Vec<String> {
        self.handled.lock().unwrap().clone()
    }
}

impl Script {
    fn note(&mut self, note: Value) {
        self.state["notes"].as_array_mut().unwrap().push(note);
    }

    fn hear(&mut self, turn: &mut Turn) {
        for (operation, payload) in turn.take_signals() {
            let payload: Value = serde_json::from_slice(&payload).unwrap();
            if operation == "workflow_signal:__ENDED__" {
                self.ended.insert(payload["id"].as_str().unwrap().to_owned(), payload);
                continue;
            }
            self.note(json!([operation, payload]));
        }
    }

    async fn run(&mut self, steps: &[Value], turn: &mut Turn) -> Result<Value, Failure> {
        let mut results = Vec::new();
        for step in steps {
            let text = |name: &str| step[name].as_str().unwrap_or_default().to_owned();
            let payload = Payload::from_value(&step["payload"]);
            turn.publish(Payload::from_value(&self.state))?;
            let result = match text("do").as_str() {
                "ask" => {
                    let reply = turn.ask(&text("target"), &text("op"), payload, PATIENCE).await?;
                    serde_json::from_slice(&reply).unwrap()
                }
                "try" => match turn.ask(&text("target"), &text("op"), payload, PATIENCE).await {
                    Err(failure) if matches!(failure.code, Code::UnknownOperation | Code::HandlerFailed) => json!(failure.code.name()),
                    reply => serde_json::from_slice(&reply?).unwrap(),
                },
                "tell" => {
                    let op = if self.version.load(Ordering::SeqCst) == 2 { "other".to_owned() } else { text("op") };
                    turn.tell(&text("target"), &op, payload).await?;
                    Value::Null
                }
                "sleep" => {
                    let until = turn.now_ms() + step["ms"].as_u64().unwrap();
                    loop {
                        let slept = turn.sleep_until(until).await;
                        self.hear(turn);
                        if slept? {
                            break;
                        }
                    }
                    Value::Null
                }
                // Sleeps until a signal comes.
                "heed" => {
                    let slept = turn.sleep_until(turn.now_ms() + step["ms"].as_u64().unwrap()).await;
                    self.hear(turn);
                    json!(slept?)
                }
                // Is busy without the host.
                "work" => {
                    tokio::time::sleep(Duration::from_millis(step["ms"].as_u64().unwrap())).await;
                    Value::Null
                }
                "start" => {
                    let operation = match &step["run_timeout_ms"] {
                        Value::Null => "workflow_start".to_owned(),
                        time => format!("workflow_start:{time}"),
                    };
                    let reply = turn.ask(&text("target"), &operation, payload, PATIENCE).await?;
                    let reply: Value = serde_json::from_slice(&reply).unwrap();
                    if reply["ended"] == true {
                        self.ended.insert(reply["id"].as_str().unwrap().to_owned(), reply.clone());
                    }
                    reply["ended"].clone()
                }
                "join" => loop {
                    if let Some(ended) = self.ended.get(&format!("default/{}", text("target"))) {
                        break ended.get("result").or(ended.get("error")).cloned().unwrap();
                    }
                    let waited = turn.sleep_until(turn.now_ms() + 1_000_000).await;
                    self.hear(turn);
                    waited?;
                },
                "fail" => return Err(Failure::new(Code::HandlerFailed, "as it was told")),
                "put" => {
                    turn.kv_put(&text("key"), text("value"), None).await?;
                    Value::Null
                }
                "get" => json!(turn.kv_get(&text("key")).await?),
                "try_pairs" => {
                    let tried = match text("op").as_str() {
                        "get" => turn.kv_get(&text("key")).await.map(Value::from),
                        "delete" => turn.kv_delete(&text("key")).await.map(Value::from),
                        "set" => turn.kv_compare_and_set(&text("key"), None, text("value")).await.map(Value::from),
                        _ => turn.kv_list(&text("key"), None, 10).await.map(Value::from),
                    };
                    tried.unwrap_or_else(|failure| json!(failure.code.name()))
                }
                "service" => {
                    let name = step["name"].as_str().unwrap_or("default");
                    let whole = step["whole"] == true;
                    match turn.service(&text("service"), name, &text("op"), payload).await {
                        Err(failure) if whole && failure.code == Code::Conflict => json!({"refused": "conflict"}),
                        reply => {
                            let reply: Value = serde_json::from_slice(&reply?).unwrap();
                            if whole { reply } else { step["pick"].as_str().map_or(Value::Null, |field| reply[field].clone()) }
                        }
                    }
                }
                "fetch" => {
                    let request = HttpRequest { method: "POST".into(), path: text("path"), ..HttpRequest::default() };
                    json!(turn.http_fetch("world", request).await?.status)
                }
                "put_blob" => {
                    let info = turn.put_blob(&text("name"), "", Bytes::from(text("content"))).await?;
                    json!(info.size)
                }
                "get_blob" => {
                    let (_, content) = turn.get_blob(&text("name"), 0, None).await?;
                    json!(String::from_utf8_lossy(&content))
                }
                "remind" => {
                    let after = Schedule::After(Duration::from_millis(step["ms"].as_u64().unwrap()));
                    turn.start_timer(step["name"].as_str(), after, &text("op"), payload, true).await?;
                    Value::Null
                }
                "timer" => {
                    let after = Schedule::After(Duration::from_millis(step["ms"].as_u64().unwrap()));
                    turn.start_timer(step["name"].as_str(), after, &text("op"), payload, false).await?;
                    Value::Null
                }
                "note" => {
                    self.note(step["payload"].clone());
                    Value::Null
                }
                "log" => {
                    turn.log(LogLevel::Info, &text("line"));
                    Value::Null
                }
                "pass" => {
                    self.handled.lock().unwrap().push(text("name"));
                    Value::Null
                }
                "now" => {
                    assert!(turn.now_ms() > 0);
                    Value::Null
                }
                other => panic!("unknown step {other}"),
            };
            results.push(result);
        }
        self.hear(turn);
        Ok(json!(results))
    }
}

#[async_trait]
impl Instance for Script {
    async fn handle(&mut self, message: &Message, mut turn: Turn, want_state: bool) -> Result<(Reply, Turn), Fault> {
        let arguments: Value = serde_json::from_slice(&message.payload).unwrap_or_default();
        self.handled.lock().unwrap().push(message.operation.clone());
        let reply = match message.operation.as_str() {
            "run" | "workflow_run" => {
                let steps = arguments["steps"].as_array().cloned().unwrap_or_default();
                let done = self.run(&steps, &mut turn).await;
                match done {
                    Ok(results) => results,
                    Err(failure) if failure.code.ends_run() && arguments["careless"] != true => {
                        let undo = arguments["undo"].as_array().cloned().unwrap_or_default();
                        self.run(&undo, &mut turn).await.map_err(|failure| Fault::Crashed { failure, trace: String::new() })?;
                        self.note(json!("compensated"));
                        json!(failure.code.name())
                    }
                    Err(failure) => return Err(Fault::Crashed { failure, trace: String::new() }),
                }
            }
            "keep" => {
                self.note(arguments.clone());
                arguments
            }
            "note" | "tuple_written" => {
                self.note(arguments);
                json!(self.state["notes"].as_array().unwrap().len())
            }
            "notes" | "workflow_query:notes" => self.state["notes"].clone(),
            "workflow_query:run" => {
                let steps = arguments["steps"].as_array().cloned().unwrap_or_default();
                self.run(&steps, &mut turn).await.map_err(Fault::Rejected)?
            }
            MIGRATE => {
                let mut migrated = arguments;
                migrated["notes"].as_array_mut().unwrap().push(json!(format!("for {}", self.version.load(Ordering::SeqCst))));
                migrated
            }
            signal if signal.starts_with("workflow_signal:") => {
                self.note(json!([signal, arguments]));
                Value::Null
            }
            other => return Err(Fault::Rejected(Failure::new(Code::UnknownOperation, format!("unknown operation {other:?}")))),
        };
        let state = want_state.then(|| Payload::from_value(&self.state));
        Ok((Reply { payload: Payload::from_value(&reply), state }, turn))
    }

    async fn snapshot(&mut self) -> Result<Payload, Fault> {
        Ok(Payload::from_value(&self.state))
    }

    async fn restore(&mut self, state: &Payload) -> Result<(), Fault> {
        self.state = serde_json::from_slice(state.as_bytes()).unwrap();
        Ok(())
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}

/// A store whose commits wait for something first, or fail by it.
pub struct Before<S> {
    pub disk: Arc<Memory>,
    pub says: S,
}

/// What becomes of a commit before it reaches the disk.
#[async_trait]
pub trait Says: Send + Sync {
    async fn to(&self, batch: &Batch) -> Result<(), Error>;
}

#[async_trait]
impl<S: Says + 'static> Store for Before<S> {
    fn backend(&self) -> &'static str {
        "before"
    }
    fn limits(&self) -> &Limits {
        self.disk.limits()
    }
    async fn get(&self, partition: &Partition, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.disk.get(partition, key).await
    }
    async fn scan(&self, partition: &Partition, range: Range, limit: usize) -> Result<Page, Error> {
        self.disk.scan(partition, range, limit).await
    }
    async fn commit(&self, batch: Batch) -> Result<(), Error> {
        self.says.to(&batch).await?;
        self.disk.commit(batch).await
    }
}

impl<S> Before<S> {
    pub fn new(disk: Arc<Memory>, says: S) -> Arc<Self> {
        Arc::new(Self { disk, says })
    }
}

/// A store that is cut off before or after its nth commit: from then on nothing reaches the disk.
pub struct Cut {
    disk: Arc<Memory>,
    left: AtomicUsize,
    after: bool,
    pub gone: AtomicBool,
}

#[async_trait]
impl Store for Cut {
    fn backend(&self) -> &'static str {
        "cut"
    }
    fn limits(&self) -> &Limits {
        self.disk.limits()
    }
    async fn get(&self, partition: &Partition, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.here().await;
        self.disk.get(partition, key).await
    }
    async fn scan(&self, partition: &Partition, range: Range, limit: usize) -> Result<Page, Error> {
        self.here().await;
        self.disk.scan(partition, range, limit).await
    }
    async fn commit(&self, batch: Batch) -> Result<(), Error> {
        // As with a disk, whoever need not wait for it is further by then.
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        self.here().await;
        let left = self.left.fetch_sub(1, Ordering::SeqCst);
        if left > 1 {
            return self.disk.commit(batch).await;
        }
        self.gone.store(true, Ordering::SeqCst);
        if self.after {
            self.disk.commit(batch).await?;
        }
        std::future::pending().await
    }
}

impl Cut {
    pub fn new(disk: &Arc<Memory>, commits: usize, after: bool) -> Arc<Self> {
        Arc::new(Self { disk: disk.clone(), left: AtomicUsize::new(commits), after, gone: AtomicBool::new(false) })
    }

    /// What a request to the node that is to be cut off gives, if it is not cut off before.
    pub async fn answer<T>(&self, request: impl Future<Output = T>) -> Option<T> {
        let cut_off = async {
            while !self.gone.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // What needs no store goes on for a moment.
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        tokio::select! {
            answer = request => Some(answer),
            () = cut_off => None,
        }
    }

    /// A node that is gone does nothing any more.
    async fn here(&self) {
        if self.gone.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }
}

pub struct Node {
    pub runtime: Runtime,
    pub version: Arc<AtomicUsize>,
    pub handled: Arc<Mutex<Vec<String>>>,
}

pub fn name(text: &str) -> Name {
    Name::new("name", text).unwrap()
}

impl Node {
    pub async fn on(store: Arc<dyn Store>) -> Self {
        Self::with(store, Profile { durable: true, ..Profile::default() }).await
    }

    pub async fn with(store: Arc<dyn Store>, profile: Profile) -> Self {
        Self::keeping(store, profile, None).await
    }

    /// The same with a directory for blobs.
    pub async fn keeping(store: Arc<dyn Store>, profile: Profile, blobs: Option<&Path>) -> Self {
        Self::at(Clock::system(), store, profile, blobs).await
    }

    /// The same by another clock.
    pub async fn at(clock: Clock, store: Arc<dyn Store>, profile: Profile, blobs: Option<&Path>) -> Self {
        let code = Scripts::new(1);
        let (version, handled) = (code.version.clone(), code.handled.clone());
        let config = Config::new(name("node1"), store, clock);
        let blobs = blobs.map(|directory| {
            let objects = Arc::new(plexspaces_objects::Kept::in_directory(directory).unwrap());
            let keys = Arc::new(BlobKeys::from_bytes(&[7; BlobKeys::BYTES]).unwrap().into());
            BlobStore { objects, keys, url: "http://node1".into(), max_bytes: 1 << 20, quota_bytes: 1 << 20 }
        });
        let runtime = Runtime::new(Config { services: plexspaces_coord::services(), blobs, ..config });
        runtime.deploy(&application(code, Vec::new(), &profile)).await.unwrap();
        Self { runtime, version, handled }
    }

    /// A node with a version of the code, beside earlier ones.
    pub async fn of(store: Arc<dyn Store>, code: &Arc<Scripts>, earlier: &[&Arc<Scripts>]) -> Self {
        let runtime = Runtime::new(Config::new(name("node1"), store, Clock::system()));
        let node = Self { runtime, version: code.version.clone(), handled: code.handled.clone() };
        node.upgrade(code, earlier).await;
        node
    }

    /// Replaces the code.
    pub async fn upgrade(&self, code: &Arc<Scripts>, earlier: &[&Arc<Scripts>]) {
        self.runtime.deploy(&durable(code, earlier)).await.unwrap();
    }

    pub async fn ask(&self, target: &str, operation: &str, payload: Value) -> Result<Value, Failure> {
        self.keyed(target, operation, payload, None).await
    }

    pub async fn keyed(&self, target: &str, operation: &str, payload: Value, key: Option<&str>) -> Result<Value, Failure> {
        let request =
            Request { operation: operation.into(), payload: Payload::from_value(&payload), idempotency_key: key.map(str::to_owned) };
        let (name, key) = target.split_once('/').unwrap();
        let reply = self.runtime.ask(&ctx(), Target { name, key: Some(key) }, request).await?;
        Ok(serde_json::from_slice(&reply).unwrap())
    }

    pub async fn tell(&self, target: &str, operation: &str, payload: Value) -> Result<(), Failure> {
        let request = Request { operation: operation.into(), payload: Payload::from_value(&payload), idempotency_key: None };
        let (name, key) = target.split_once('/').unwrap();
        self.runtime.tell(&ctx(), Target { name, key: Some(key) }, request).await
    }

    /// Asks a service from outside.
    pub async fn service(&self, service: &str, name: &str, operation: &str, payload: Value) -> Value {
        let request = Request { operation: operation.into(), payload: Payload::from_value(&payload), idempotency_key: None };
        let reply = self.runtime.ask_service(&ctx(), service, name, request).await.unwrap();
        serde_json::from_slice(&reply).unwrap()
    }

    /// Waits until an actor's notes are these.
    pub async fn notes(&self, target: &str, wanted: &Value) {
        let operation = if target.starts_with("flow") { "workflow_query:notes" } else { "notes" };
        let mut found = Ok(Value::Null);
        let is_so = async || {
            found = self.ask(target, operation, json!({})).await;
            found.as_ref() == Ok(wanted)
        };
        assert!(within(PATIENCE, is_so).await, "{found:?} are not the notes {wanted} of {target}");
    }
}

pub fn durable(code: &Arc<Scripts>, earlier: &[&Arc<Scripts>]) -> Application {
    let earlier = earlier.iter().map(|code| Arc::clone(code) as Arc<dyn Factory>).collect();
    application(code.clone(), earlier, &Profile { durable: true, ..Profile::default() })
}

pub fn application(factory: Arc<Scripts>, earlier: Vec<Arc<dyn Factory>>, profile: &Profile) -> Application {
    let spec = |text: &str| TypeSpec { name: name(text), guest_type: text.into(), aliases: Vec::new(), profile: profile.clone() };
    Application {
        tenant: Name::default_scope(),
        namespace: Name::default_scope(),
        name: name("lab"),
        factory,
        earlier,
        outbound: None,
        channels: std::collections::BTreeMap::new(),
        types: vec![spec("script"), spec("flow")],
        supervisor: SupervisorSpec::new("root", Vec::new()),
    }
}

pub fn ctx() -> RequestContext {
    let scope = Name::default_scope();
    let deadline = tokio::time::Instant::now().into_std() + PATIENCE;
    RequestContext::external(scope.clone(), scope, "test").with_deadline(deadline)
}

/// Waits until something is so.
pub async fn until(what: &str, holds: impl AsyncFnMut() -> bool) {
    assert!(within(PATIENCE, holds).await, "not in time: {what}");
}

/// Whether something becomes so within a time, which is that of the runtime.
pub async fn within(time: Duration, mut holds: impl AsyncFnMut() -> bool) -> bool {
    let deadline = tokio::time::Instant::now() + time;
    loop {
        if holds().await {
            return true;
        }
        if tokio::time::Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
