//! Links against a real server on a free port.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "links/bounds.rs"]
mod bounds;
#[path = "links/secrecy.rs"]
mod secrecy;
#[path = "links/server.rs"]
mod server;
#[path = "links/service.rs"]
mod service;
#[path = "links/tls.rs"]
mod tls;
