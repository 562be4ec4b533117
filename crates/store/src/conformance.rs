//! The one suite that every backend passes. Each case is a test of its own, on a place of its own.
//!
//! A backend implements [`Fixture`] in an integration test and calls [`conformance!`](crate::conformance!) there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "it is test code for other crates")]

use std::sync::Arc;

use bytes::Bytes;
use plexspaces_types::Name;

use crate::{Batch, Error, Page, Partition, Range, Store};

pub mod concurrency;
pub mod contract;
pub mod durable;
pub mod faults;
pub mod limits;
pub mod model;
pub mod rate;

/// An empty place that a backend keeps its data in, made for one case.
pub trait Fixture: Send + Sync + 'static {
    /// Opens the place. Called again, it opens the same place: with what was committed before, and also while another handle is open
    /// if `durable` cases are not run.
    fn open(&self) -> impl Future<Output = Arc<dyn Store>> + Send;

    /// Ends a handle in the orderly way, where the backend has one.
    fn close(&self, store: Arc<dyn Store>) -> impl Future<Output = ()> + Send {
        async move { drop(store) }
    }
}

/// Makes a test of each case: `conformance!(fixture)` for a backend that ends with the process, `conformance!(durable fixture)` for
/// one that does not. `fixture` is evaluated for each test. The crate needs `tokio` with its macros and the threaded runtime.
#[macro_export]
macro_rules! conformance {
    (durable $fixture:expr) => {
        $crate::conformance!($fixture);
        $crate::conformance!(@cases $fixture, durable: [
            what_was_committed_is_there_after_reopening,
            what_was_committed_is_there_after_dropping_without_closing,
            large_values_survive_reopening,
        ]);
    };
    (@cases $fixture:expr, $module:ident: [$($case:ident),* $(,)?]) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::conformance::$module::$case(&$fixture).await;
            }
        )*
    };
    ($fixture:expr) => {
        $crate::conformance!(@cases $fixture, contract: [
            a_batch_is_kept_whole,
            an_empty_batch_is_no_error,
            preconditions_are_judged_before_the_writes,
            a_failing_precondition_is_named_and_nothing_is_kept,
            preconditions_alone_are_a_check,
            the_last_write_of_a_key_wins,
            deleting_what_is_absent_is_no_error,
            keys_and_values_are_any_bytes,
            scans_are_in_byte_order,
            pages_follow_one_another,
            a_range_that_holds_no_key_is_empty,
            partitions_are_apart,
            what_comes_first_is_kept_before_the_batch,
            a_batch_that_is_refused_may_follow_what_is_kept,
        ]);
        $crate::conformance!(@cases $fixture, limits: [
            the_largest_value_is_kept,
            a_larger_value_is_refused,
            the_longest_key_is_kept_and_a_longer_one_refused,
            the_most_items_are_kept_and_more_refused,
            a_larger_batch_is_refused,
            pages_end_at_their_limits,
        ]);
        $crate::conformance!(@cases $fixture, concurrency: [
            counters_lose_nothing,
            one_callers_commits_keep_their_order,
            a_failing_precondition_touches_no_other_commit,
            a_dropped_commit_harms_nothing,
            a_commit_is_seen_by_every_later_read,
            a_scan_sees_one_state,
        ]);
        $crate::conformance!(@cases $fixture, model: [it_behaves_as_the_model]);
    };
}

/// A partition for a test.
#[must_use]
pub fn partition(concern: &str) -> Partition {
    Partition::tenant(&Name::new("tenant", "conformance").unwrap(), concern)
}

/// Commits one put.
pub async fn put(store: &dyn Store, partition: &Partition, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Result<(), Error> {
    let mut batch = Batch::new(partition.clone());
    batch.put(key, value);
    store.commit(batch).await
}

/// Every entry of a range, page after page of at most `limit`.
pub async fn scan_all(store: &dyn Store, partition: &Partition, range: Range, limit: usize) -> Vec<(Bytes, Bytes)> {
    let (mut all, mut range) = (Vec::new(), range);
    loop {
        let Page { entries, more } = store.scan(partition, range.clone(), limit).await.unwrap();
        assert!(entries.len() <= limit, "a page of {} entries where at most {limit} were asked for", entries.len());
        all.extend(entries);
        if !more {
            return all;
        }
        let (last, _) = all.last().expect("a page with more holds an entry");
        range = range.after(last);
    }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn entry(key: &str, value: &str) -> (Bytes, Bytes) {
    (bytes(key), bytes(value))
}
