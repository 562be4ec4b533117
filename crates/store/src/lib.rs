//! The one store contract: an ordered, transactional key-value store in partitions. Everything durable is encoded on it.
//!
//! A backend is one implementation of [`Store`] and passes the one conformance suite. There are no transactions over partitions, no
//! secondary indexes and no queries: what needs them writes its own keys in the same batch.

mod contract;
mod error;
mod key;
mod lanes;
mod memory;
mod metrics;

#[cfg(feature = "conformance")]
pub mod conformance;

pub use contract::{Batch, Durability, Limits, Page, Precondition, Range, Store, Write};
pub use error::Error;
pub use key::Partition;
pub use lanes::{Commit, Lanes, Outcome, Writer};
pub use memory::Memory;
pub use metrics::Metrics;
