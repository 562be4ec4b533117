//! One database of PostgreSQL: a bounded pool of connections, a few lanes that write.
//!
//! Invariant: a commit is acknowledged when the server has acknowledged the transaction that holds it, never before.
//! Invariant: commits of one partition are judged one after the other, whoever makes them: each transaction holds the lock of every
//! partition that it touches before it reads.
//! Invariant: after an outcome was reported as unknown nothing is read or written before it is known that the transaction has ended.

mod commits;
mod config;
mod connection;
mod doubt;
mod fault;
mod group;
mod handle;
mod schema;

pub use config::{Config, masked};
pub use handle::Postgres;
