//! What makes a struct an actor. The attributes implement these traits; nothing stands in the way of doing it by hand.

use plexspaces_actor::{Behavior, HandlerKind};
use serde_json::Value;

use crate::{ActorContext, BehaviorError, Message, Payload};

/// What is declared of an actor's struct.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no behaviour",
    note = "put #[gen_server_actor], #[event_actor], #[fsm_actor(..)] or #[workflow_actor] on the struct"
)]
pub trait ActorKind: Send + 'static {
    /// The name of the type.
    const NAME: &'static str;
    /// How it handles messages.
    const BEHAVIOR: Behavior;
    /// For people.
    const DOC: &'static str;
    /// Of a state machine: its states.
    const STATES: &'static [&'static str] = &[];
    /// Of a state machine: where it begins.
    const INITIAL: Option<&'static str> = None;
    /// Whether its state outlives it.
    const DURABLE: bool = false;
    /// The version of its state: one that another version has kept goes through the handler of `__MIGRATE__`, if there is one.
    const VERSION: u64 = 0;

    /// Of a state machine: its state.
    fn fsm_state(&mut self) -> Option<&mut String> {
        None
    }

    /// Of a durable actor: its whole state.
    fn snapshot(&self) -> Result<String, BehaviorError> {
        Err(BehaviorError::ProcessingError("the actor is not durable".to_owned()))
    }

    /// Of a durable actor: replaces its state.
    fn restore(&mut self, _state: &[u8]) -> Result<(), BehaviorError> {
        Err(BehaviorError::ProcessingError("the actor is not durable".to_owned()))
    }
}

/// An actor: it is called for one message at a time.
#[diagnostic::on_unimplemented(
    message = "`{Self}` handles no messages",
    note = "put #[plexspaces_handlers] on an `impl` block whose methods have #[handler(\"operation\")]"
)]
pub trait Actor: ActorKind {
    /// What it handles.
    const OPERATIONS: &'static [Operation];
    /// Whether [`Actor::init`] does anything.
    const HAS_INIT: bool = false;

    /// Runs when the actor is made, before any message, with its configuration.
    fn init(&mut self, _ctx: &ActorContext, _config: &Value) -> impl Future<Output = Result<(), BehaviorError>> + Send {
        async { Ok(()) }
    }

    /// Handles one message. An error is the answer to whoever asked, and the actor lives on; a panic ends it.
    fn handle(&mut self, ctx: &ActorContext, msg: &Message) -> impl Future<Output = Result<Payload, BehaviorError>> + Send;
}

/// One operation of an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its name; `*` for whatever no other takes.
    pub name: &'static str,
    /// Whether it answers.
    pub kind: HandlerKind,
    /// For people.
    pub doc: &'static str,
}

/// An actor that answers requests.
pub trait GenServerBehavior: ActorKind {}

/// An actor for events, which nobody waits for.
pub trait GenEventBehavior: ActorKind {}

/// A finite state machine.
pub trait GenFSMBehavior: ActorKind {}

/// A long run with signals and queries.
pub trait WorkflowBehavior: ActorKind {}
