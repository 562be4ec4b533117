//! A node with services and nothing else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use plexspaces_actor::{Config, Request, Runtime};
use plexspaces_store::Store;
use plexspaces_types::{Clock, Failure, Name, Payload, RequestContext};
use serde_json::Value;

use crate::stores;

pub(crate) struct Node {
    pub(crate) runtime: Runtime,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) service: &'static str,
    pub(crate) name: String,
    ctx: RequestContext,
}

impl Node {
    pub(crate) fn new(service: &'static str) -> Self {
        Self::over(service, stores::fresh())
    }

    /// One of the services of which there are many.
    pub(crate) fn named(service: &'static str, name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::new(service) }
    }

    pub(crate) fn over(service: &'static str, store: Arc<dyn Store>) -> Self {
        Self::with_clock(service, store, Clock::system())
    }

    pub(crate) fn with_clock(service: &'static str, store: Arc<dyn Store>, clock: Clock) -> Self {
        let config = Config::new(Name::new("node", "node1").unwrap(), store.clone(), clock);
        let runtime = Runtime::new(Config { services: plexspaces_coord::services(), ..config });
        let ctx = RequestContext::external(Name::default_scope(), Name::default_scope(), "test");
        Self { runtime, store, service, name: "default".to_owned(), ctx }
    }

    /// The same store after the node has ended without a word.
    pub(crate) fn restart(self) -> Self {
        Self { name: self.name, ..Self::over(self.service, self.store) }
    }

    pub(crate) async fn ask(&self, operation: &str, arguments: Value) -> Value {
        self.try_ask(operation, arguments).await.unwrap()
    }

    pub(crate) async fn try_ask(&self, operation: &str, arguments: Value) -> Result<Value, Failure> {
        self.keyed(operation, arguments, None).await
    }

    pub(crate) async fn keyed(&self, operation: &str, arguments: Value, key: Option<&str>) -> Result<Value, Failure> {
        self.ask_text(operation, arguments.to_string(), key).await
    }

    /// Asks with arguments that need not be what this side could read.
    pub(crate) async fn ask_text(&self, operation: &str, arguments: String, key: Option<&str>) -> Result<Value, Failure> {
        let request =
            Request { operation: operation.to_owned(), payload: Payload::Json(arguments), idempotency_key: key.map(str::to_owned) };
        let reply = self.runtime.ask_service(&self.ctx, self.service, &self.name, request).await?;
        Ok(serde_json::from_slice(reply.as_bytes()).unwrap())
    }

    /// What is refused, as code, field and message.
    pub(crate) async fn refused(&self, operation: &str, arguments: Value) -> (&'static str, Option<String>, String) {
        let failure = self.try_ask(operation, arguments.clone()).await.expect_err(&arguments.to_string());
        (failure.code.name(), failure.field, failure.message)
    }
}

/// Asks beside whatever follows.
pub(crate) fn beside(node: &Arc<Node>, operation: &'static str, arguments: Value) -> tokio::task::JoinHandle<Value> {
    let node = node.clone();
    tokio::spawn(async move { node.ask(operation, arguments).await })
}

pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds().await {
        assert!(Instant::now() < deadline, "it never came to pass that {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
