//! What the attributes' code calls. Nothing here is meant for people, and all of it may change.

use plexspaces_actor::{Behavior, HandlerKind};
use plexspaces_types::Payload;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Actor, BehaviorError, Message};

/// The reply of a handler that answers; it is written only if somebody waits.
pub fn answer<T: Serialize, E: Into<BehaviorError>>(msg: &Message, result: Result<T, E>) -> Result<Payload, BehaviorError> {
    let value = result.map_err(Into::into)?;
    if !msg.is_call() {
        return Ok(Payload::Bytes(bytes::Bytes::new()));
    }
    let text = serde_json::to_string(&value);
    text.map(Payload::Json).map_err(|error| BehaviorError::ProcessingError(format!("the reply cannot be written as JSON: {error}")))
}

/// The reply of a handler that does not answer.
pub fn done<T, E: Into<BehaviorError>>(result: Result<T, E>) -> Result<Payload, BehaviorError> {
    result.map(|_| Payload::Json("null".to_owned())).map_err(Into::into)
}

/// The outcome of an `init`.
pub fn begun<E: Into<BehaviorError>>(result: Result<(), E>) -> Result<(), BehaviorError> {
    result.map_err(Into::into)
}

/// The kind of a handler that says none.
#[must_use]
pub const fn usual_kind<A: Actor>() -> HandlerKind {
    match A::BEHAVIOR {
        Behavior::GenEvent => HandlerKind::Cast,
        _ => HandlerKind::Call,
    }
}

/// What is said of an operation that nothing handles.
#[must_use]
pub fn unknown<A: Actor>(msg: &Message) -> BehaviorError {
    let mut known: Vec<&str> = A::OPERATIONS.iter().map(|operation| operation.name).collect();
    known.sort_unstable();
    BehaviorError::UnknownOperation(format!("{} has no operation {:?}; it has: {}", A::NAME, msg.msg_type, known.join(", ")))
}

/// The state of a durable actor.
pub fn snapshot<A: Serialize>(actor: &A) -> Result<String, BehaviorError> {
    let text = serde_json::to_string(actor);
    text.map_err(|error| BehaviorError::ProcessingError(format!("the state cannot be written as JSON: {error}")))
}

/// A durable actor with a stored state.
pub fn restored<A: DeserializeOwned>(state: &[u8]) -> Result<A, BehaviorError> {
    serde_json::from_slice(state)
        .map_err(|error| BehaviorError::ProcessingError(format!("the stored state does not fit the actor: {error}")))
}
