//! What a deployed application asks of the runtime: its types, the children that run from the start, how failures are answered.

use std::sync::Arc;
use std::time::Duration;

use plexspaces_types::{Key, Name};
use serde_json::{Map, Value};

use crate::{Factory, Limits};

/// An application: one component's types under one supervisor in one namespace.
#[derive(Clone)]
pub struct Application {
    /// Who owns it.
    pub tenant: Name,
    /// Where its types are addressed.
    pub namespace: Name,
    /// Its name, unique in its namespace.
    pub name: Name,
    /// What makes its actors.
    pub factory: Arc<dyn Factory>,
    /// The types that can be addressed. Each is virtual: the first message to a key brings the actor to life.
    pub types: Vec<TypeSpec>,
    /// Actors that live from the start and are restarted without waiting for a message.
    pub children: Vec<ChildSpec>,
    /// How failures are answered.
    pub restarts: RestartPolicy,
}

/// One actor type as it is addressed.
#[derive(Clone, Debug)]
pub struct TypeSpec {
    /// The name in an address.
    pub name: Name,
    /// The name inside the component.
    pub guest_type: String,
    /// Other names that reach the type's default instance.
    pub aliases: Vec<String>,
    /// How its actors live, unless a child says otherwise.
    pub profile: Profile,
}

/// One actor that lives from the start.
#[derive(Clone, Debug)]
pub struct ChildSpec {
    /// Its key, which is also a name that reaches it.
    pub key: Key,
    /// Its type, one of the application's.
    pub actor_type: Name,
    /// Other names that reach it.
    pub aliases: Vec<String>,
    /// How it lives.
    pub profile: Profile,
}

/// How an actor lives.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// Whether its turns are committed to the store.
    pub durable: bool,
    /// How long it may be idle before it leaves memory; `None` for ever. State of an actor that is not durable is gone then.
    pub idle_timeout: Option<Duration>,
    /// Whether a child that failed comes back without waiting for a message.
    pub resident: bool,
    /// What it may use.
    pub limits: Limits,
    /// `args` of its configuration.
    pub args: Map<String, Value>,
}

/// How often an actor may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// Restarts within the window that are normal. With more, the application counts as degraded.
    pub max_restarts: u32,
    /// The window.
    pub window: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self { max_restarts: 5, window: Duration::from_secs(60) }
    }
}
