//! What the interface reaches of the node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use plexspaces_actor::Runtime;
use plexspaces_app::Applications;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::auth::Auth;
use crate::page::Pages;
use crate::{Limits, LogBook};

/// Tries that the node works: what was tried and what came of it.
pub type Probe = Arc<dyn Fn() -> BoxFuture<'static, Vec<Check>> + Send + Sync>;

/// The node, as far as the interface needs it. Clones are the same node.
#[derive(Clone)]
pub struct Services {
    /// The actors.
    pub runtime: Runtime,
    /// The deployed applications.
    pub applications: Applications,
    /// The node's log.
    pub logs: LogBook,
    /// What the node is.
    pub node: NodeInfo,
    /// Whether the node takes requests.
    pub readiness: Readiness,
    /// Writes to the store and reads it back, and asks an actor.
    pub probe: Probe,
    /// The metrics in the text format of Prometheus.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Cancelled to stop the node, by a request or by whoever else may; log followers end with it.
    pub shutdown: CancellationToken,
}

/// What the node is.
#[derive(Clone, Debug)]
pub struct NodeInfo {
    /// Its name.
    pub id: String,
    /// The version of its program.
    pub version: String,
    /// When it started, in milliseconds since the Unix epoch.
    pub started_at_ms: u64,
}

/// One thing that a [`Probe`] tried.
#[derive(Clone, Debug)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// What went wrong, for an operator and without internals.
    pub outcome: Result<(), String>,
    /// How long it took.
    pub took: Duration,
}

/// Whether the node takes requests. It is set by the node; clones share it.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<watch::Sender<(State, BTreeMap<&'static str, String>)>>);

/// The node's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It brings back what was deployed; requests to actors and applications are refused for now.
    Starting,
    /// It takes requests.
    Ready,
    /// It takes requests for a moment more, and its health is bad already, so that load balancers send the next ones elsewhere.
    Leaving,
    /// It finishes what it has.
    Draining,
}

impl Default for Readiness {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new((State::Starting, BTreeMap::new()))))
    }
}

impl Readiness {
    /// Changes the state; at first it is [`State::Starting`].
    pub fn set(&self, state: State) {
        self.0.send_modify(|now| now.0 = state);
    }

    /// Says what the node lacks of `part` to do its work, or that it lacks nothing of it. While it lacks something its health is bad; requests
    /// are taken all the same, and those that do not need it succeed.
    pub fn lacks(&self, part: &'static str, what: Option<String>) {
        self.0.send_modify(|(_, lacks)| match what {
            Some(what) => drop(lacks.insert(part, what)),
            None => drop(lacks.remove(part)),
        });
    }

    /// The state.
    #[must_use]
    pub fn get(&self) -> State {
        self.0.borrow().0
    }

    /// What the node lacks.
    #[must_use]
    pub fn lack(&self) -> Option<String> {
        let lacks = self.0.borrow().1.values().cloned().collect::<Vec<_>>().join("; ");
        Some(lacks).filter(|lacks| !lacks.is_empty())
    }

    /// Tells of each change.
    pub(crate) fn changes(&self) -> watch::Receiver<(State, BTreeMap<&'static str, String>)> {
        self.0.subscribe()
    }

    /// Waits until the node takes requests, or will never do so.
    pub async fn started(&self) -> State {
        let mut now = self.0.subscribe();
        now.wait_for(|(state, _)| *state != State::Starting).await.map_or(State::Draining, |now| now.0)
    }
}

/// The implementation of every service of the contract. Clones are the same.
#[derive(Clone)]
pub(crate) struct Api(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) services: Services,
    pub(crate) auth: Auth,
    pub(crate) pages: Pages,
    pub(crate) limits: Limits,
    /// The interface's OpenAPI document.
    pub(crate) openapi: Bytes,
}
