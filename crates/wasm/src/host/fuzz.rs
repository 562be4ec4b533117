//! Whatever a guest hands to the host is taken, or refused with a code: no call of it ends in a panic, and none in a trap.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use plexspaces_actor::{
    Application, Behavior, Config, Description, Factory, Fault, HandlerInfo, HandlerKind, Instance, Limits, Profile, Reply, Request,
    Runtime, Sdk, Spec, SupervisorSpec, Target, Turn, TypeInfo, TypeSpec,
};
use plexspaces_store::Memory;
use plexspaces_testkit::fuzz;
use plexspaces_types::{Clock, Code, Message, Name, Payload, RequestContext};
use serde_json::Value;

use super::Host;
use crate::bindings::exports::plexspaces::actor::guest;
use crate::bindings::plexspaces::actor::types::{Error, PayloadResult};
use crate::bindings::plexspaces::actor::{blobs, context, durability, http, key_value, lifecycle, logging, messaging, services, timers};
use crate::fault;

/// The operation on which a guest makes its calls.
const CALLS: &str = "make your calls";

/// How long one actor's calls may take together: some of them wait.
const PATIENCE: Duration = Duration::from_millis(100);

/// What guests hand to the host: up to four texts, apart by a `|`.
const EXAMPLES: [&str; 12] = [
    "volatile/other|greet|{\"a\":[1,null]}|x",
    "shop/durable/1@node1|__DOWN__|\"text\"|",
    "k|prefix/|{}|after",
    "worker-1|volatile|{\"args\":{\"n\":1}}|",
    "tick|*/5 * * * *|[]|@hourly",
    "link|POST|/v1/things?x=%20|authorization",
    "default|take|{\"pattern\":[\"job\",{\"$gt\":1},null],\"timeout_ms\":5,\"lease_ms\":3}|",
    "default|write|{\"tuple\":[\"job\",1,{\"a\":[true]}],\"ttl_ms\":9}|",
    "work|send|{\"payload\":{\"n\":1},\"msg_id\":\"m\",\"delay_ms\":1}|",
    "default|acquire|{\"key\":\"door\",\"ttl_ms\":1000,\"holder\":\"h\"}|",
    "default|register|{\"name\":\"printer\",\"target\":\"shop/durable/1\",\"labels\":{\"a\":\"b\"}}|",
    "notes/today|text/plain|content|GET",
];

fn taken<T>(answer: wasmtime::Result<Result<T, Error>>) {
    if let Err(Error { code, message, retryable }) = answer.expect("it is no trap") {
        let known: Code = code.parse().unwrap_or_else(|()| panic!("{code:?} is no code: {message}"));
        assert_eq!(retryable, known.retryable(), "{message}");
        assert!(!message.is_empty());
    }
}

/// Makes every call there is.
async fn make_calls(host: &mut Host, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.split('|').map(str::to_owned);
    let mut part = || parts.next().unwrap_or_default();
    let (a, b, c, d) = (part(), part(), part(), part());
    let number = bytes.iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    let small = u32::try_from(number % 2000).unwrap();
    let json = || PayloadResult::Json(c.clone());
    let raw = || PayloadResult::Bytes(bytes.to_vec());

    taken(messaging::Host::ask(host, a.clone(), b.clone(), json(), small).await);
    taken(messaging::Host::tell(host, a.clone(), b.clone(), raw()).await);

    taken(key_value::Host::put(host, a.clone(), c.clone(), Some(small)).await);
    taken(key_value::Host::get(host, a.clone()).await);
    taken(key_value::Host::compare_and_set(host, a.clone(), Some(c.clone()), d.clone()).await);
    taken(key_value::Host::list_keys(host, b.clone(), Some(d.clone()), small).await);
    taken(key_value::Host::delete(host, a.clone()).await);

    taken(lifecycle::Host::spawn(host, b.clone(), a.clone(), c.clone()).await);
    taken(lifecycle::Host::monitor(host, a.clone()));
    lifecycle::Host::demonitor(host, d.clone()).unwrap();
    taken(lifecycle::Host::link(host, a.clone()));
    taken(lifecycle::Host::unlink(host, a.clone()));
    taken(lifecycle::Host::stop(host, a.clone()).await);

    for durable in [false, true] {
        let schedules = [timers::Schedule::After(number), timers::Schedule::Every(number), timers::Schedule::Cron(b.clone())];
        for schedule in schedules {
            taken(timers::Host::start(host, Some(a.clone()), schedule, b.clone(), json(), durable).await);
        }
        taken(timers::Host::cancel(host, a.clone(), durable).await);
    }

    // Not a time in the near future, for which it would wait.
    for until in [0, number.saturating_add(u64::MAX / 2)] {
        taken(durability::Host::sleep_until(host, until).await);
    }
    taken(durability::Host::publish(host, json()));
    durability::Host::take_signals(host).unwrap();

    let request = http::Request {
        method: b.clone(),
        path: c.clone(),
        headers: vec![(d.clone(), a.clone())],
        body: Some(http::Body::Bytes(bytes.to_vec())),
        timeout_ms: Some(small),
        idempotency_key: Some(a.clone()),
    };
    taken(http::Host::fetch(host, a.clone(), request).await);

    for service in ["tuples", "locks", "kv", "groups", "registry", "channels", d.as_str()] {
        for name in ["default", a.as_str()] {
            taken(services::Host::request(host, service.to_owned(), name.to_owned(), b.clone(), c.clone()).await);
        }
    }

    taken(blobs::Host::put(host, a.clone(), b.clone(), blobs::Content::Bytes(bytes.to_vec())).await);
    taken(blobs::Host::get(host, a.clone(), number, Some(u64::from(small))).await);
    taken(blobs::Host::head(host, a.clone()).await);
    taken(blobs::Host::presign(host, a.clone(), d.clone(), small).await);
    taken(blobs::Host::list_blobs(host, a.clone(), Some(b.clone()), small).await);
    taken(blobs::Host::delete(host, a.clone()).await);

    logging::Host::log(host, logging::Level::Debug, text.into_owned()).unwrap();
    assert!(!context::Host::actor_id(host).unwrap().is_empty());
    context::Host::now_ms(host).unwrap();
}

struct Guests(Description);

struct Guest(Host);

#[async_trait]
impl Factory for Guests {
    fn description(&self) -> &Description {
        &self.0
    }

    async fn create(&self, spec: &Spec, turn: Turn) -> Result<(Box<dyn Instance>, Turn), Fault> {
        let mut host = Host::new(spec.limits, Arc::default());
        host.belongs_to(spec.id.to_string());
        Ok((Box::new(Guest(host)), turn))
    }
}

#[async_trait]
impl Instance for Guest {
    async fn handle(&mut self, message: &Message, turn: Turn, want_state: bool) -> Result<(Reply, Turn), Fault> {
        self.0.begin(Some(turn));
        if message.operation == CALLS {
            make_calls(&mut self.0, message.payload.as_bytes()).await;
        }
        let turn = self.0.end().unwrap();
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

fn name(text: &str) -> Name {
    Name::new("name", text).unwrap()
}

/// A node with a volatile and a durable type, and with services.
async fn node() -> Runtime {
    let handler = HandlerInfo { operation: "*".to_owned(), kind: HandlerKind::Call, doc: String::new(), parameters: Value::Null };
    let info = |text: &str| TypeInfo {
        name: text.to_owned(),
        aliases: Vec::new(),
        class: "Guest".to_owned(),
        behavior: Behavior::GenServer,
        states: Vec::new(),
        initial: None,
        doc: String::new(),
        facets: Vec::new(),
        handlers: vec![handler.clone()],
    };
    let sdk = Sdk { language: "rust".to_owned(), version: "0".to_owned() };
    let description = Description { sdk, actors: vec![info("volatile"), info("durable")] };
    let limits = Limits { payload_bytes: 1 << 10, ..Limits::default() };
    let of = |text: &str| TypeSpec {
        name: name(text),
        guest_type: text.to_owned(),
        aliases: Vec::new(),
        profile: Profile { durable: text == "durable", limits, ..Profile::default() },
    };
    let application = Application {
        tenant: name("acme"),
        namespace: name("shop"),
        name: name("guests"),
        factory: Arc::new(Guests(description)),
        earlier: Vec::new(),
        outbound: None,
        channels: std::collections::BTreeMap::new(),
        types: vec![of("volatile"), of("durable")],
        supervisor: SupervisorSpec::new("root", Vec::new()),
    };
    let config = Config::new(name("node1"), Arc::new(Memory::new()), Clock::system());
    let runtime = Runtime::new(Config { services: plexspaces_coord::services(), ..config });
    runtime.deploy(&application).await.unwrap();
    runtime
}

/// Lets an actor make its calls; they may take longer than anybody waits.
async fn ask(node: &Runtime, actor_type: &str, bytes: &[u8]) {
    let deadline = tokio::time::Instant::now().into_std() + PATIENCE;
    let ctx = RequestContext::external(name("acme"), name("shop"), "test").with_deadline(deadline);
    let payload = Payload::Bytes(bytes.to_vec().into());
    let request = Request { operation: CALLS.to_owned(), payload, idempotency_key: None };
    if let Err(failure) = node.ask(&ctx, Target { name: actor_type, key: Some("1") }, request).await {
        assert!(matches!(failure.code, Code::DeadlineExceeded | Code::Unavailable), "{failure}");
    }
}

#[test]
fn whatever_a_guest_hands_to_the_host_is_taken_or_refused_with_a_code() {
    let threads = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let node = threads.block_on(node());
    let world = AssertUnwindSafe((threads, node));
    fuzz!(EXAMPLES, |bytes: &Vec<u8>| {
        let world: &AssertUnwindSafe<_> = &world;
        let (threads, node) = &world.0;
        for actor_type in ["volatile", "durable"] {
            threads.block_on(ask(node, actor_type, bytes));
        }
    });
}

#[test]
fn whatever_a_guest_answers_is_taken_or_ends_it_with_a_code() {
    fuzz!(["{\"a\":[1,{}]}", "handler_failed", "cancelled|a message|field", "\"\\ud800\"", "[1e999]"], |bytes: &Vec<u8>| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        for payload in [Payload::from(PayloadResult::Json(text.clone())), Payload::from(PayloadResult::Bytes(bytes.clone()))] {
            let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            match fault::check("reply", &payload, 64) {
                Ok(()) => assert!(payload.len() <= 64 && (is_json || matches!(payload, Payload::Bytes(_)))),
                Err(Fault::Crashed { failure, .. }) => {
                    let expected = if payload.len() > 64 { Code::PayloadTooLarge } else { Code::HandlerFailed };
                    assert_eq!(failure.code, expected);
                }
                Err(Fault::Rejected(failure)) => panic!("{failure}"),
            }
        }
        let mut parts = text.splitn(3, '|').map(str::to_owned);
        let (code, message, field) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next());
        for kind in [guest::FailureKind::Rejected, guest::FailureKind::Failed] {
            let failure = guest::Failure { kind, code: code.clone(), message: message.clone(), field: field.clone(), trace: text.clone() };
            match fault::of_guest(failure) {
                Fault::Rejected(failure) => {
                    assert_eq!(code.parse(), Ok(failure.code));
                    assert!(matches!(failure.code, Code::InvalidArgument | Code::UnknownOperation | Code::HandlerFailed));
                }
                Fault::Crashed { failure, .. } => assert!(matches!(failure.code, Code::HandlerFailed | Code::Cancelled | Code::TimedOut)),
            }
        }
    });
}
