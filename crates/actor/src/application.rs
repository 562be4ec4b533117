//! What a deployed application asks of the runtime: its types, the supervisors and actors that run from the start, how failures are
//! answered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use plexspaces_durable::Keeping;
use plexspaces_types::{Key, Name};
use serde_json::{Map, Value};

use crate::supervision::{Intensity, Restart, Strategy};
use crate::{FacetSpec, Factory, Limits, Outbound};

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
    /// Earlier versions of that, with which turns go on that began with them.
    pub earlier: Vec<Arc<dyn Factory>>,
    /// Its service links, if it has any.
    pub outbound: Option<Arc<dyn Outbound>>,
    /// Which of its namespace's channels are on which backend: `store` or the name of a broker of the node.
    pub channels: BTreeMap<String, String>,
    /// The types that can be addressed. Each is virtual: the first message to a key brings the actor to life.
    pub types: Vec<TypeSpec>,
    /// The root of its supervision tree.
    pub supervisor: SupervisorSpec,
}

/// A supervisor: what it runs from the start, and what a failure restarts.
#[derive(Clone, Debug)]
pub struct SupervisorSpec {
    /// Its name among its siblings.
    pub name: String,
    /// What a failure restarts.
    pub strategy: Strategy,
    /// How often its children may fail. The root's also counts for each actor that is nobody's child.
    pub intensity: Intensity,
    /// When it is restarted by its own supervisor.
    pub restart: Restart,
    /// In start order.
    pub children: Vec<Child>,
}

/// What a supervisor runs.
#[derive(Clone, Debug)]
pub enum Child {
    /// An actor.
    Actor(ChildSpec),
    /// Another supervisor.
    Supervisor(SupervisorSpec),
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
    /// When it is restarted.
    pub restart: Restart,
    /// How long it may go on with its present message when it is to stop.
    pub shutdown: Duration,
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

/// How an actor lives.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// Whether its turns are committed to the store.
    pub durable: bool,
    /// How long it may be idle before it leaves memory; `None` for ever. State of an actor that is not durable is gone then.
    pub idle_timeout: Option<Duration>,
    /// Whether it leaves memory only when it was idle for that long, and not to make room for others.
    pub eager: bool,
    /// Whether it lives only from its spawn to its end: no message brings it to life, and a failure ends it for good.
    pub temporary: bool,
    /// How long a run of a workflow may take.
    pub run_timeout: Option<Duration>,
    /// How often the state of a durable actor is kept, and its history.
    pub keeping: Keeping,
    /// What its deployment says of it; its `init` is told.
    pub labels: BTreeMap<String, String>,
    /// What wraps its handling of messages, in the order of their declaration.
    pub facets: Vec<FacetSpec>,
    /// What it may use.
    pub limits: Limits,
    /// `args` of its configuration.
    pub args: Map<String, Value>,
}

impl SupervisorSpec {
    /// A supervisor of the usual kind: `one_for_one`, 5 restarts in 60 s.
    #[must_use]
    pub fn new(name: &str, children: Vec<Child>) -> Self {
        let intensity = Intensity { max_restarts: 5, window: Duration::from_secs(60) };
        Self { name: name.to_owned(), strategy: Strategy::OneForOne, intensity, restart: Restart::Permanent, children }
    }

    /// The actors under it, at any depth, in start order.
    #[must_use]
    pub fn actors(&self) -> Vec<&ChildSpec> {
        let mut found = Vec::new();
        let mut rest: Vec<&Child> = self.children.iter().rev().collect();
        while let Some(child) = rest.pop() {
            match child {
                Child::Actor(actor) => found.push(actor),
                Child::Supervisor(supervisor) => rest.extend(supervisor.children.iter().rev()),
            }
        }
        found
    }
}
