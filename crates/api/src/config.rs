//! What an operator can set of the interface.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use plexspaces_types::Clock;
use tokio::sync::Semaphore;

/// Who may use the node.
#[derive(Clone, Debug)]
pub enum AuthConfig {
    /// Everybody. A token that is presented all the same is refused, because nothing could check it.
    Open,
    /// Everybody, though there may be a token. One that is presented is checked.
    Disabled(Option<String>),
    /// Who presents this administrator's token.
    Token(String),
}

/// How large a request may be, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The body of a deployment.
    pub deploy_bytes: usize,
    /// The payload of an invocation.
    pub payload_bytes: usize,
    /// The body of any other request.
    pub request_bytes: usize,
    /// How long a request's body may stand still.
    pub body_idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { deploy_bytes: 128 << 20, payload_bytes: 16 << 20, request_bytes: 1 << 20, body_idle: Duration::from_secs(30) }
    }
}

/// The interface's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who may use the node.
    pub auth: AuthConfig,
    /// How large requests may be.
    pub limits: Limits,
    /// Seals page tokens. Nodes that serve the same clients share it. It is known before [`crate::State::Ready`].
    pub page_key: Arc<OnceLock<[u8; 32]>>,
    /// The wall clock.
    pub clock: Clock,
}

impl Config {
    /// The defaults.
    #[must_use]
    pub fn new(auth: AuthConfig, page_key: Arc<OnceLock<[u8; 32]>>) -> Self {
        Self { auth, limits: Limits::default(), page_key, clock: Clock::system() }
    }
}

/// How many requests one listener carries out at a time. Clones share it. Health checks and metrics are not counted, nor is a stream once
/// it has begun.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Semaphore>);

impl Budget {
    /// A budget of `requests` at a time.
    #[must_use]
    pub fn new(requests: usize) -> Self {
        Self(Arc::new(Semaphore::new(requests)))
    }

    pub(crate) fn take(&self) -> Option<tokio::sync::OwnedSemaphorePermit> {
        self.0.clone().try_acquire_owned().ok()
    }
}

/// How one listener treats its connections.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// How many requests at a time.
    pub budget: Budget,
    /// How long a client may take to send a request's head, and how long it may keep an HTTP/1 connection without one.
    pub header_timeout: Duration,
    /// How long a connection may be without a request.
    pub idle_timeout: Duration,
    /// How long requests in progress may take to finish after the shutdown has begun.
    pub grace: Duration,
}

impl ServeConfig {
    /// The defaults with a budget.
    #[must_use]
    pub fn new(budget: Budget) -> Self {
        Self { budget, header_timeout: Duration::from_secs(60), idle_timeout: Duration::from_secs(120), grace: Duration::from_secs(30) }
    }
}
