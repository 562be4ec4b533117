//! What an operator can set about the engine.

use std::path::PathBuf;

/// How the node runs guests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where compiled components are kept. Only this node may write there: what lies in it is run as machine code. It may be emptied
    /// at any time; components are then compiled again.
    pub cache_dir: PathBuf,
    /// How many actors may be in memory at the same time, 1 to 10,000. The room is reserved as addresses, 8 GiB for each, and takes no
    /// memory until it is used; a process has room for one engine of 10,000, or for many small ones. A guest with more than two
    /// memories counts for more than one. On Linux each Python actor takes 6 of the `vm.max_map_count` (usually 65,530) maps of the
    /// process; beyond that, new actors are refused.
    pub instances: u32,
    /// An actor whose memory has grown beyond this, and to more than twice of what it was at its start, is given a fresh instance with
    /// the same state between two messages.
    pub replace_at_bytes: usize,
}

impl Config {
    /// The defaults, with a place for the compiled components.
    #[must_use]
    pub fn new(cache_dir: impl Into<PathBuf>) -> Self {
        Self { cache_dir: cache_dir.into(), instances: 10_000, replace_at_bytes: 32 << 20 }
    }
}
