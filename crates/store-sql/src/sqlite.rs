//! One file of SQLite: one thread writes, a few read.
//!
//! Invariant: a commit is acknowledged after the fsync of the transaction that holds it, never before.
//! Invariant: what is read is checked against the checksum that was written with it, and so are the rows beside a gap.

mod config;
mod fault;
mod file;
mod handle;
mod log;
mod queue;
mod reader;
mod table;
mod writer;

pub use config::Config;
pub use handle::Sqlite;
