//! Actors: bounded mailboxes, the turn loop, lifecycle, supervision.
//!
//! This crate knows no guest language, no wire format and no database. Code enters through [`Factory`], messages through the runtime,
//! and what a turn leaves behind goes to a [`plexspaces_store::Store`].

mod describe;
mod factory;
mod turn;

pub use describe::{Behavior, Description, FacetUse, HandlerInfo, HandlerKind, Sdk, TypeInfo};
pub use factory::{Factory, Fault, Instance, Limits, Spec};
pub use turn::{LogLevel, Turn};
