//! An engine in a temporary directory, and short ways to make actors and call them.

use std::sync::Arc;
use std::time::Duration;

use plexspaces_actor::{Factory, Fault, Instance, Limits, Spec, Turn};
use plexspaces_types::{ActorId, Code, Key, Message, MessageKind, Name, Payload};
use plexspaces_wasm::{Component, Config, Engine};
use tempfile::TempDir;

/// An engine whose cache goes with it.
pub(crate) struct Node {
    pub(crate) engine: Engine,
    pub(crate) dir: TempDir,
}

impl Node {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new(dir.path());
        config.instances = 50;
        change(&mut config);
        Self { engine: Engine::new(config).unwrap(), dir }
    }

    pub(crate) async fn load(&self, wasm: Vec<u8>) -> Arc<Component> {
        self.engine.load(wasm.into()).await.unwrap()
    }
}

pub(crate) fn id(actor_type: &str, key: &str) -> ActorId {
    ActorId::new(
        Name::new("tenant", "acme").unwrap(),
        Name::new("namespace", "shop").unwrap(),
        Name::new("type", actor_type).unwrap(),
        Key::new(key).unwrap(),
    )
}

/// Limits that a test can reach quickly.
pub(crate) fn limits() -> Limits {
    Limits { memory_bytes: 16 << 20, turn_cpu: Duration::from_millis(100), payload_bytes: 1 << 20, ..Limits::default() }
}

pub(crate) fn spec(actor_type: &str) -> Spec {
    Spec { id: id(actor_type, "1"), guest_type: actor_type.to_owned(), config: "{}".to_owned(), limits: limits() }
}

pub(crate) async fn try_create(component: &Component, spec: &Spec) -> Result<Box<dyn Instance>, Fault> {
    let (instance, turn) = component.create(spec, Turn::detached(spec.id.clone())).await?;
    assert_eq!(turn.actor_id(), &spec.id);
    Ok(instance)
}

pub(crate) async fn create(component: &Component, actor_type: &str) -> Box<dyn Instance> {
    try_create(component, &spec(actor_type)).await.unwrap()
}

pub(crate) fn message(operation: &str, payload: Payload) -> Message {
    Message { operation: operation.to_owned(), kind: MessageKind::Call, payload, sender: None, idempotency_key: None }
}

pub(crate) async fn call(instance: &mut dyn Instance, operation: &str, payload: Payload) -> Result<Payload, Fault> {
    let (reply, _) = instance.handle(&message(operation, payload), Turn::detached(id("echo", "1")), false).await?;
    assert_eq!(reply.state, None, "it was not wanted");
    Ok(reply.payload)
}

pub(crate) fn json(text: &str) -> Payload {
    Payload::Json(text.to_owned())
}

/// The code, message and trace of a crash.
pub(crate) fn crash<T>(result: Result<T, Fault>) -> (Code, String, String) {
    match result {
        Err(Fault::Crashed { failure, trace }) => (failure.code, failure.message, trace),
        Err(Fault::Rejected(failure)) => panic!("expected a crash, found a rejection: {failure}"),
        Ok(_) => panic!("expected a crash, found an answer"),
    }
}

/// The code and message of a rejection.
pub(crate) fn rejection<T>(result: Result<T, Fault>) -> (Code, String) {
    match result {
        Err(Fault::Rejected(failure)) => (failure.code, failure.message),
        Err(Fault::Crashed { failure, .. }) => panic!("expected a rejection, found a crash: {failure}"),
        Ok(_) => panic!("expected a rejection, found an answer"),
    }
}
