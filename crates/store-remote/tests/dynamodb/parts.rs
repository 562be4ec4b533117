//! What is larger than items and transactions of the service: whole wherever it is cut off, and removed when nothing names it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use plexspaces_store::conformance::faults::surely_get;
use plexspaces_store::conformance::{partition, put, scan_all};
use plexspaces_store::{Batch, Error, Partition, Range, Store};
use plexspaces_store_remote::DynamoDb;
use plexspaces_store_remote::dynamodb::Config;

use crate::support::{Passage, Table, Way, config, items};

const KEYS: usize = 250;

/// Sets many keys, and one whose value is too large for an item, to the same number.
fn large(here: &Partition, n: u8) -> Batch {
    let mut batch = Batch::new(here.clone());
    for key in 0..KEYS {
        batch.put(format!("k{key:03}"), vec![n]);
    }
    batch.put("large", vec![n; 500_000]);
    batch
}

/// The number that all keys have.
async fn number(store: &DynamoDb, here: &Partition) -> u8 {
    let all = scan_all(store, here, Range::all(), 1_000).await;
    assert_eq!(all.len(), KEYS + 1);
    let number = all[0].1[0];
    for (key, value) in &all {
        assert!(value.iter().all(|byte| *byte == number), "{key:?} is {}, the first {number}", value[0]);
    }
    assert_eq!(all[KEYS].1.len(), 500_000);
    number
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_larger_than_a_transaction_that_is_cut_off_anywhere_is_whole() {
    let table = Table::new();
    let left = Arc::new(AtomicU64::new(u64::MAX));
    let count = left.clone();
    let choice = move |_, _: &str| {
        let passes = count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if passes { Way::Through } else { Way::Lost }
    };
    let passage = Passage::to(&table.config().endpoint.unwrap(), choice).await;
    let here = partition("here");
    let (mut timeout, mut before, mut cut) = (Duration::from_millis(800), 0_u8, Vec::new());
    table.store().commit(large(&here, before)).await.unwrap();
    for passing in 0.. {
        // Which of the two meets what was cut off.
        for by_read in [true, false] {
            left.store(u64::MAX, Ordering::SeqCst);
            let store = DynamoDb::open(&Config { timeout, ..config(passage.url.clone(), &table.name) }).unwrap();
            while store.get(&partition("other"), b"k").await.is_err() {}
            left.store(passing, Ordering::SeqCst);
            let n = before.wrapping_add(1);
            let outcome = store.commit(large(&here, n)).await;
            let other = table.store();
            if !by_read {
                let mut check = Batch::new(here.clone());
                check.require("large", Some(Bytes::from(vec![n; 500_000]))).put("k000", vec![n]);
                let met = other.commit(check).await;
                assert!(met.is_ok() || met == Err(Error::Precondition { index: 0 }), "{passing}: {met:?}");
                assert_eq!(number(&other, &here).await == n, met.is_ok(), "{passing}");
            }
            let now = number(&other, &here).await;
            match outcome {
                Ok(()) => assert_eq!(now, n, "{passing}"),
                Err(Error::Unavailable(_)) => assert_eq!(now, before, "{passing}"),
                Err(Error::Unknown(_)) => assert!(now == n || now == before, "{passing}: {now}"),
                Err(other) => panic!("{passing}: {other}"),
            }
            before = now;
            cut.push(outcome.is_ok());
        }
        if left.load(Ordering::SeqCst) > 0 {
            if cut.last() == Some(&true) {
                break;
            }
            // Nothing was cut off: the server needs longer for a whole one.
            timeout *= 2;
        }
    }
    assert!(cut.len() > 8 && !cut[0], "{cut:?}");
}

/// The kinds of a partition's items: its head and notes, entries, parts.
fn kinds(table: &Table, here: &Partition) -> [usize; 3] {
    let mut kinds = [0; 3];
    for second in items(table, here) {
        kinds[usize::from(second[0])] += 1;
    }
    kinds
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_that_nothing_names_are_removed() {
    let (table, here) = (Table::new(), partition("here"));
    let store = table.store();
    let last = |n: usize| vec![u8::try_from(n).unwrap(); 400_000];
    for n in 0..40 {
        // Two in use, of which each commit replaces one.
        put(&store, &here, format!("large{}", n % 2), last(n)).await.unwrap();
    }
    for n in 0..200 {
        put(&store, &here, "small", n.to_string()).await.unwrap();
    }
    while kinds(&table, &here) != [3, 3, 4] {
        put(&store, &here, "small", "last").await.unwrap();
    }
    for (key, n) in [("large0", 38), ("large1", 39)] {
        assert_eq!(store.get(&here, key.as_bytes()).await.unwrap().unwrap(), last(n));
    }
    // What was cut off is found by who comes next.
    let mut batch = Batch::new(here.clone());
    batch.delete("large0").put("large1", "small");
    store.commit(batch).await.unwrap();
    let next = table.store();
    while kinds(&table, &here) != [1, 2, 0] {
        put(&next, &here, "small", "last").await.unwrap();
    }
}

/// What one node writes while another reads is seen as a whole or not at all, also where it is too much for one transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_node_sees_commits_as_a_whole() {
    let (table, here) = (Table::new(), partition("here"));
    let (store, other) = (table.store(), table.store());
    store.commit(large(&here, 0)).await.unwrap();
    let writer = tokio::spawn({
        let here = here.clone();
        async move {
            for n in 1..=10 {
                store.commit(large(&here, n)).await.unwrap();
            }
        }
    });
    let mut last = 0;
    while last < 10 {
        let page = match other.scan(&here, Range::all(), 1_000).await {
            Ok(page) => page,
            // It changes all the time.
            Err(Error::Unavailable(_)) => continue,
            Err(error) => panic!("{error}"),
        };
        let now = page.entries[0].1[0];
        assert!(now >= last && page.entries.iter().all(|(_, value)| value.iter().all(|byte| *byte == now)));
        // A key alone is not older than what was seen before.
        let alone = surely_get(&other, &here, "k249").await.unwrap()[0];
        assert!(alone >= now, "{alone} after {now}");
        last = now;
    }
    writer.await.unwrap();
}
