//! The interface over real sockets, with the real runtime behind it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod applications;
mod auth;
mod blobs;
mod conditions;
mod connections;
mod errors;
mod facets;
mod feeds;
mod invoke;
mod links;
mod services;
mod sockets;
mod standard;
mod support;
mod system;
