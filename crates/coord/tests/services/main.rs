//! What the services promise, each on a runtime with a store in memory, and with each store that is a server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod bounds;
mod channels;
mod consumers;
mod cuts;
mod groups;
mod kv;
mod locks;
mod registry;
mod stores;
mod support;
mod tuples;
