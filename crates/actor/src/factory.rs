//! The two traits by which code becomes an actor. A guest engine implements them; so does a native actor in Rust.

use std::time::Duration;

use async_trait::async_trait;
use plexspaces_types::{ActorId, Failure, Message, Payload};

use crate::{Description, Facet, Turn};

/// What one actor may use. Going over a limit ends that turn and restarts that actor; nobody else notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory of one instance.
    pub memory_bytes: usize,
    /// CPU time of one turn.
    pub turn_cpu: Duration,
    /// Time of one turn, waits included.
    pub turn_time: Duration,
    /// Bytes of one payload: message, reply, snapshot or key-value value.
    pub payload_bytes: usize,
    /// Messages that may wait for the actor.
    pub mailbox: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            turn_cpu: Duration::from_secs(10),
            turn_time: Duration::from_secs(300),
            payload_bytes: 16 << 20,
            mailbox: 1024,
        }
    }
}

/// One actor to be made.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Who it is.
    pub id: ActorId,
    /// The name of its type inside the component.
    pub guest_type: String,
    /// The JSON object that its `init` takes; empty where [`Factory::reads_config`] says that nobody reads it.
    pub config: String,
    /// What it may use.
    pub limits: Limits,
}

/// Why code did not do what it was asked.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The message was refused before the author's code ran; the instance is as it was.
    Rejected(Failure),
    /// The code failed, went over a limit or broke the contract. The instance must not be used again.
    Crashed {
        /// For the caller.
        failure: Failure,
        /// For the log: where it happened. Possibly empty.
        trace: String,
    },
}

impl Fault {
    /// What the caller is told.
    #[must_use]
    pub fn into_failure(self) -> Failure {
        match self {
            Self::Rejected(failure) | Self::Crashed { failure, .. } => failure,
        }
    }
}

/// Makes the actors of one component.
#[async_trait]
pub trait Factory: Send + Sync + 'static {
    /// The types that it can make.
    fn description(&self) -> &Description;

    /// A number that tells this version of the code from others, kept with the states that it makes and the turns that it begins; 0 where
    /// versions are not told apart.
    fn code(&self) -> u64 {
        0
    }

    /// Makes an instance and runs its `init`. The turn serves the host calls of `init` and comes back with what they left in it.
    async fn create(&self, spec: &Spec, turn: Turn) -> Result<(Box<dyn Instance>, Turn), Fault>;

    /// Whether an actor's `init` reads its configuration. To print it takes longer than to start an actor that does not.
    fn reads_config(&self, _id: &ActorId) -> bool {
        true
    }

    /// Facets that an actor brings with it, besides those that its configuration names. Asked before each `create`.
    fn facets(&self, _id: &ActorId) -> Vec<Box<dyn Facet>> {
        Vec::new()
    }
}

/// What an actor made of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// For whoever asked.
    pub payload: Payload,
    /// The whole state after the message, if it was wanted. `None` also for code that knows it to be what it gave last or was restored
    /// with.
    pub state: Option<Payload>,
}

/// One live actor's code and memory. It is called by one task at a time; dropping a future of it half-way makes it unusable.
#[async_trait]
pub trait Instance: Send {
    /// Handles one message. The turn serves the code's host calls and comes back with their effects.
    async fn handle(&mut self, message: &Message, turn: Turn, want_state: bool) -> Result<(Reply, Turn), Fault>;

    /// The actor's whole state, without a message.
    async fn snapshot(&mut self) -> Result<Payload, Fault>;

    /// Replaces the state by an earlier snapshot.
    async fn restore(&mut self, state: &Payload) -> Result<(), Fault>;

    /// Bytes of memory that it holds.
    fn memory_bytes(&self) -> usize;

    /// Whether it has grown so that a new instance with the same state should take its place before the next message.
    fn wants_replacement(&self) -> bool {
        false
    }
}
