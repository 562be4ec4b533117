//! The words that every other crate speaks: identities, messages, the context of a request, error codes, the clock.
//!
//! Nothing here does I/O, spawns a task or knows a wire format.

mod clock;
mod code;
mod condition;
mod context;
mod failure;
#[cfg(test)]
mod fuzz;
mod id;
mod message;
mod suggestion;

pub use clock::Clock;
pub use code::{Code, ErrorType};
pub use condition::Condition;
pub use context::{RequestContext, TraceContext};
pub use failure::{Failure, Resource};
pub use id::{ActorId, Identity, InvalidName, Key, Name};
pub use message::{Message, MessageKind, Payload};
pub use suggestion::suggestion;
