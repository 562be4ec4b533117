//! One server of Redis: a few connections that write, each for a lane of commits, and a few that read.
//!
//! A partition is a hash of its keys and values beside a sorted set of its keys, which gives their order. A group of commits is one call of
//! a script, which the server runs as a whole and writes to its file as a whole.
//!
//! Each lane has a key of its own, which the script that commits a group replaces: it holds the number and the outcomes of the last group.
//! A group names the number that it follows and is refused where another stands there. So a group that is still on its way when its
//! connection is lost can be asked about, or locked out, through another connection; and a server that comes back without what it has
//! acknowledged is found out.
//!
//! Invariant: a commit is acknowledged when the server has acknowledged the script that holds it, never before.
//! Invariant: after an outcome was reported as unknown nothing of its lane is read or written before it is known that the group was
//! written or never will be.
//! Invariant: the script judges and writes in one call, and nothing in it can fail after its first write.

mod address;
mod config;
mod connection;
mod fault;
mod handle;
mod lane;
mod scripts;
mod server;

pub use address::masked;
pub use config::{Config, Durability};
pub use handle::Redis;
