//! What backends tell about their commits.

use std::time::Duration;

use metrics::{Counter, Histogram};

/// The numbers of one store.
pub struct Metrics {
    seconds: Histogram,
    group: Histogram,
    commits: Counter,
}

impl Metrics {
    /// Those of a new store.
    #[must_use]
    pub fn new() -> Self {
        use metrics::Unit::{Count, Seconds};
        metrics::describe_histogram!("plexspaces_store_commit_seconds", Seconds, "From handing over a commit to its acknowledgement");
        metrics::describe_histogram!("plexspaces_store_group_size", Count, "Commits in one transaction of the store");
        metrics::describe_counter!("plexspaces_store_commits_total", Count, "Acknowledged commits");
        Self {
            seconds: metrics::histogram!("plexspaces_store_commit_seconds"),
            group: metrics::histogram!("plexspaces_store_group_size"),
            commits: metrics::counter!("plexspaces_store_commits_total"),
        }
    }

    /// A commit was acknowledged.
    pub fn acknowledged(&self, took: Duration) {
        self.commits.increment(1);
        self.seconds.record(took);
    }

    /// A transaction of so many commits has ended.
    pub fn group(&self, size: usize) {
        if size > 0 {
            self.group.record(u32::try_from(size).unwrap_or(u32::MAX));
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
