//! The client of a node's interface, for the command line and for tests.
//!
//! It speaks gRPC, repeats what is safe to repeat, and holds no state but its connection.

mod blobs;
mod client;
mod error;
mod retry;
mod services;
mod wire;

pub use client::{Client, Invoke, Logs, Order, Reply};
pub use error::Error;
pub use plexspaces_proto::google::api::HttpBody;
pub use plexspaces_proto::json::{from_object, from_value, to_object, to_value};
pub use plexspaces_proto::{to_json, v1};
