//! What can be configured.

use std::path::PathBuf;

use plexspaces_store::{Durability, Limits};

/// How the embedded database is opened.
#[derive(Clone, Debug)]
pub struct Config {
    /// The database file. It is made if it is not there; its directory must be. Two more files stand beside it while it is open, with
    /// `-wal` and `-shm` added to the name: they belong to it, so copy or move all three together, or close the store first.
    pub path: PathBuf,
    /// Threads that read, at least one. Each has a connection with a page cache of its own of up to 2 MiB.
    pub readers: usize,
    /// Checks every row and every index page of the file when it is opened. It reads the whole file, so the time it takes grows with
    /// it. Without it damage of rows is found when they are read, and damage of what leads to them in most cases but not in all.
    pub verify: bool,
}

impl Config {
    /// The defaults: two readers, no check of the whole file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), readers: 2, verify: false }
    }
}

/// What the embedded database holds. SQLite itself ends at values of 1 GB; a transaction is kept to what a machine can hold in memory.
pub(super) const LIMITS: Limits = Limits {
    batch_items: 10_000,
    key_bytes: 4 << 10,
    value_bytes: 64 << 20,
    batch_bytes: 128 << 20,
    page_entries: 1_000,
    page_bytes: 16 << 20,
    durability: Durability::Synced,
};
