//! What actors share: tuple spaces, and whatever else is one system actor for many users.
//!
//! Each service is a [`plexspaces_actor::SystemActor`]: it knows rows and requests, and neither a store nor a clock.

pub mod blobs;
pub mod channels;
#[cfg(test)]
mod fuzz;
pub mod groups;
pub mod kv;
pub mod locks;
mod numbers;
pub mod registry;
mod request;
pub mod tuples;
mod waiting;

use plexspaces_actor::SystemType;

/// All services of this crate.
#[must_use]
pub fn services() -> Vec<SystemType> {
    vec![tuples::TYPE, locks::TYPE, kv::TYPE, groups::TYPE, registry::TYPE, channels::TYPE, blobs::TYPE]
}
