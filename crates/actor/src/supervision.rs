//! One application's supervision tree as a pure state machine: who is started, stopped and restarted, in which order, and when.
//!
//! It does no I/O and reads no clock: a driver tells it what happened ([`Tree::started`], [`Tree::exited`]) and what time it is, and carries
//! out the [`Action`]s that it asks for. So every rule can be tested in virtual time, and no rule depends on how actors run.
//!
//! The rules are those of Erlang/OTP's supervisor, with back-off between restarts and with a root that never gives up. Where it differs:
//!
//! - Siblings are started and stopped one after the other, but the rest of the tree goes on meanwhile; nothing waits in a queue.
//! - A supervisor that exceeds its intensity ends with an error, so a transient supervisor comes back too.
//! - A child that fails to start again is a crash of that child, also while its supervisor is being restarted.
//! - Children that were added stay when their supervisor is restarted. A temporary child is started once and never again.

mod arena;
mod failures;
mod history;
mod node;
mod order;
mod plan;
mod tree;
mod view;
mod window;

#[cfg(test)]
mod tests;

pub use arena::NodeId;
pub use history::{Event, Happening, History};
pub use plan::{Error, Exit, Intensity, MAX_DEPTH, Plan, Restart, Strategy};
pub use tree::{Action, Tree};
pub use view::{Kind, State, View};
