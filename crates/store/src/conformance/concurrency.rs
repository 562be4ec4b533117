//! What many callers at once see.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{Fixture, bytes, partition, put, scan_all};
use crate::{Batch, Error, Partition, Range, Store};

async fn number(store: &dyn Store, here: &Partition, key: &[u8]) -> Option<u64> {
    let value = store.get(here, key).await.unwrap()?;
    Some(std::str::from_utf8(&value).unwrap().parse().unwrap())
}

/// A counter that many increase by compare-and-set ends at the number of increases.
pub async fn counters_lose_nothing(fixture: &impl Fixture) {
    const TASKS: u64 = 8;
    const EACH: u64 = 25;
    let store = fixture.open().await;
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let store = Arc::clone(&store);
        // Two counters, so that groups hold more than one partition.
        let here = partition(if task % 2 == 0 { "even" } else { "odd" });
        tasks.spawn(async move {
            for _ in 0..EACH {
                loop {
                    let now = number(&*store, &here, b"n").await;
                    let mut batch = Batch::new(here.clone());
                    let next = now.unwrap_or(0) + 1;
                    batch.require("n", now.map(|now| Bytes::from(now.to_string()))).put("n", next.to_string());
                    batch.require(format!("done/{next}"), None).put(format!("done/{next}"), task.to_string());
                    match store.commit(batch).await {
                        Ok(()) => break,
                        Err(Error::Precondition { index: 0 }) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    for here in ["even", "odd"].map(partition) {
        assert_eq!(number(&*store, &here, b"n").await, Some(TASKS / 2 * EACH));
        assert_eq!(scan_all(&*store, &here, Range::prefix(b"done/"), 100).await.len() as u64, TASKS / 2 * EACH);
    }
}

/// Commits that are begun one after the other without waiting are applied in that order: each requires what the one before wrote.
pub async fn one_callers_commits_keep_their_order(fixture: &impl Fixture) {
    type Commit<'s> = Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 's>>;
    const COMMITS: u64 = 3_000;
    let store = fixture.open().await;
    let here = partition("order");
    let mut commits: Vec<Commit<'_>> = Vec::new();
    for n in 1..=COMMITS {
        let mut batch = Batch::new(here.clone());
        batch.require("n", (n > 1).then(|| Bytes::from((n - 1).to_string()))).put("n", n.to_string());
        commits.push(Box::pin(store.commit(batch)));
    }
    // Each is polled once in order, and then in no order at all.
    let mut outcomes =
        poll_fn(|context| Poll::Ready(commits.iter_mut().map(|commit| commit.as_mut().poll(context)).collect::<Vec<_>>())).await;
    for (outcome, commit) in outcomes.iter_mut().zip(&mut commits).rev() {
        if outcome.is_pending() {
            *outcome = Poll::Ready(commit.await);
        }
    }
    for (index, outcome) in outcomes.into_iter().enumerate() {
        assert_eq!(outcome, Poll::Ready(Ok(())), "commit {index}");
    }
    assert_eq!(number(&*store, &here, b"n").await, Some(COMMITS));
}

/// Of commits under way together, those whose preconditions hold are kept and the others not.
pub async fn a_failing_precondition_touches_no_other_commit(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let mut tasks = JoinSet::new();
    for index in 0..200_u32 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let mut batch = Batch::new(partition(&format!("p{}", index % 10)));
            batch.put(format!("a{index}"), "1").put(format!("b{index}"), "1");
            if index % 3 == 0 {
                batch.require("never", Some(bytes("there")));
            }
            (index, store.commit(batch).await)
        });
    }
    while let Some(task) = tasks.join_next().await {
        let (index, outcome) = task.unwrap();
        assert_eq!(outcome, if index % 3 == 0 { Err(Error::Precondition { index: 0 }) } else { Ok(()) }, "commit {index}");
    }
    for index in 0..200_u32 {
        let here = partition(&format!("p{}", index % 10));
        for key in [format!("a{index}"), format!("b{index}")] {
            assert_eq!(store.get(&here, key.as_bytes()).await.unwrap().is_some(), index % 3 != 0, "{key}");
        }
    }
}

/// A commit whose future is dropped is applied wholly or not at all, and those after it go on.
pub async fn a_dropped_commit_harms_nothing(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let here = partition("dropped");
    for index in 0..200 {
        let mut batch = Batch::new(here.clone());
        batch.put(format!("a{index:03}"), "1").put(format!("b{index:03}"), "1");
        let mut commit = store.commit(batch);
        // Polled once: the commit is under way when it is dropped.
        let _ = poll_fn(|context| Poll::Ready(commit.as_mut().poll(context))).await;
        drop(commit);
        if index % 20 == 0 {
            put(&*store, &here, format!("c{index:03}"), "1").await.unwrap();
        }
    }
    put(&*store, &here, "end", "1").await.unwrap();
    let keys = |found: Vec<(Bytes, Bytes)>| found.into_iter().map(|(key, _)| key.slice(1..)).collect::<Vec<_>>();
    let a = keys(scan_all(&*store, &here, Range::prefix(b"a"), 100).await);
    let b = keys(scan_all(&*store, &here, Range::prefix(b"b"), 100).await);
    assert_eq!(a, b);
    assert_eq!(scan_all(&*store, &here, Range::prefix(b"c"), 100).await.len(), 10);
    assert_eq!(store.get(&here, b"end").await.unwrap(), Some(bytes("1")));
}

/// Once a commit is acknowledged, each read that begins sees it, on any thread.
pub async fn a_commit_is_seen_by_every_later_read(fixture: &impl Fixture) {
    let store = fixture.open().await;
    let here = partition("seen");
    for n in 0..100_u64 {
        put(&*store, &here, "n", n.to_string()).await.unwrap();
        let mut readers = JoinSet::new();
        for reader in 0..4 {
            let (store, here) = (Arc::clone(&store), here.clone());
            readers.spawn(async move {
                if reader % 2 == 0 {
                    return number(&*store, &here, b"n").await;
                }
                let page = store.scan(&here, Range::all(), 10).await.unwrap();
                page.entries.first().map(|(_, value)| std::str::from_utf8(value).unwrap().parse().unwrap())
            });
        }
        while let Some(read) = readers.join_next().await {
            assert_eq!(read.unwrap(), Some(n));
        }
    }
}

/// A scan never sees half of a batch.
pub async fn a_scan_sees_one_state(fixture: &impl Fixture) {
    const KEYS: usize = 50;
    let store = fixture.open().await;
    let here = partition("state");
    let write = |n: u64| {
        let mut batch = Batch::new(partition("state"));
        for key in 0..KEYS {
            batch.put(format!("{key:02}"), n.to_string());
        }
        batch
    };
    store.commit(write(0)).await.unwrap();
    let writer = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            for n in 1..100 {
                store.commit(write(n)).await.unwrap();
            }
        }
    });
    let mut last = 0_u64;
    while last < 99 {
        let page = store.scan(&here, Range::all(), KEYS).await.unwrap();
        assert_eq!(page.entries.len(), KEYS);
        let first = page.entries[0].1.clone();
        assert!(page.entries.iter().all(|(_, value)| *value == first), "a scan mixes {:?}", page.entries);
        let now = std::str::from_utf8(&first).unwrap().parse().unwrap();
        assert!(now >= last, "{now} after {last}");
        last = now;
    }
    writer.await.unwrap();
}
