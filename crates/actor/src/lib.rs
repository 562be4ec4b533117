//! Actors: bounded mailboxes, the turn loop, lifecycle, supervision.
//!
//! This crate knows no guest language, no wire format and no database. Code enters through [`Factory`], messages through [`Runtime`],
//! and what a turn leaves behind goes to a [`plexspaces_store::Store`].

mod actor;
mod answers;
mod application;
mod describe;
mod factory;
mod mailbox;
mod registry;
mod restarts;
mod runtime;
mod turn;

pub use application::{Application, ChildSpec, Profile, RestartPolicy, TypeSpec};
pub use describe::{Behavior, Description, FacetUse, HandlerInfo, HandlerKind, Sdk, TypeInfo};
pub use factory::{Factory, Fault, Instance, Limits, Reply, Spec};
pub use runtime::{Config, Request, Runtime, Target};
pub use turn::{LogLevel, Turn};

/// The monotonic time of the runtime's timers, so that deadlines and timers agree also where a test pauses time.
pub(crate) fn now() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}
