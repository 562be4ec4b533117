//! Writers for tests in which a backend's connections and servers end, and what must hold whatever ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{partition, put, scan_all};
use crate::{Batch, Error, Page, Partition, Range, Store};

const WRITERS: usize = 8;

/// Whoever waits for a backend leaves the processors to it.
pub async fn pause() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// Sets one key, again until it is acknowledged, for stores that have little time.
pub async fn surely_put(store: &impl Store, here: &Partition, key: &'static str, value: impl Into<Bytes>) {
    let value = value.into();
    loop {
        match put(store, here, key, value.clone()).await {
            Ok(()) => return,
            Err(Error::Unavailable(_) | Error::Unknown(_)) => pause().await,
            Err(other) => panic!("{other}"),
        }
    }
}

/// The value of a key, asked for until there is an answer.
pub async fn surely_get(store: &impl Store, here: &Partition, key: &str) -> Option<Bytes> {
    loop {
        match store.get(here, key.as_bytes()).await {
            Ok(value) => return value,
            Err(Error::Unavailable(_)) => pause().await,
            Err(other) => panic!("{other}"),
        }
    }
}

/// The keys of a range, each page asked for until there is an answer.
async fn surely_keys(store: &impl Store, here: &Partition, range: Range) -> Vec<Bytes> {
    let (mut keys, mut range) = (Vec::new(), range);
    loop {
        let Page { entries, more } = match store.scan(here, range.clone(), 500).await {
            Ok(page) => page,
            Err(Error::Unavailable(_)) => {
                pause().await;
                continue;
            }
            Err(other) => panic!("{other}"),
        };
        keys.extend(entries.into_iter().map(|(key, _)| key));
        if !more {
            return keys;
        }
        range = range.after(keys.last().expect("a page with more holds an entry"));
    }
}

/// What a writer commits as its `n`th batch: it requires the one before, so that one that is applied late would be found out.
#[must_use]
pub fn nth(here: &Partition, n: u64) -> Batch {
    let mut batch = Batch::new(here.clone());
    batch.require("head", (n > 1).then(|| Bytes::from((n - 1).to_string()))).put("head", n.to_string());
    batch.put(format!("a/{n:06}"), "1").put(format!("b/{n:06}"), "1");
    batch
}

/// The last batch that is there, asked for until there is an answer.
pub async fn head(store: &impl Store, here: &Partition) -> u64 {
    let head = surely_get(store, here, "head").await;
    head.map_or(0, |head| std::str::from_utf8(&head).unwrap().parse().unwrap())
}

/// What writers were told.
#[derive(Default)]
pub struct Told {
    stop: AtomicBool,
    acknowledged: AtomicU64,
    unknown: AtomicU64,
    refused: AtomicU64,
}

impl Told {
    /// Acknowledged batches.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Batches whose outcome was unknown.
    #[must_use]
    pub fn unknown(&self) -> u64 {
        self.unknown.load(Ordering::Relaxed)
    }

    /// Returns when so many more are acknowledged.
    pub async fn more(&self, acknowledged: u64) {
        let before = self.acknowledged();
        while self.acknowledged() < before + acknowledged {
            pause().await;
        }
    }
}

/// Writers that go on through every fault as the contract says, each in a partition of its own, and check what they are told.
pub fn writers<S: Store>(store: &Arc<S>, told: &Arc<Told>) -> JoinSet<()> {
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (store, told) = (store.clone(), told.clone());
        writers.spawn(async move {
            let here = partition(&format!("writer{writer}"));
            let mut n = 1;
            while !told.stop.load(Ordering::Relaxed) {
                match store.commit(nth(&here, n)).await {
                    Ok(()) => {
                        told.acknowledged.fetch_add(1, Ordering::Relaxed);
                        n += 1;
                    }
                    // Nothing of it was kept, so the same must be possible again.
                    Err(Error::Unavailable(_)) => {
                        told.refused.fetch_add(1, Ordering::Relaxed);
                        pause().await;
                    }
                    Err(Error::Unknown(_)) => {
                        told.unknown.fetch_add(1, Ordering::Relaxed);
                        let found = head(&*store, &here).await;
                        assert!(found == n || found == n - 1, "batch {n} was under way, found {found}");
                        n = found + 1;
                    }
                    Err(other) => panic!("writer {writer}, batch {n}: {other}"),
                }
            }
            let last = head(&*store, &here).await;
            assert_eq!(last, n - 1);
            for prefix in ["a/", "b/"] {
                let found = surely_keys(&*store, &here, Range::prefix(prefix.as_bytes())).await;
                let expected: Vec<_> = (1..=last).map(|n| Bytes::from(format!("{prefix}{n:06}"))).collect();
                assert_eq!(found, expected, "writer {writer}");
            }
        });
    }
    writers
}

/// Lets the writers check what is there and end.
pub async fn finish(told: &Told, mut writers: JoinSet<()>) {
    told.stop.store(true, Ordering::Relaxed);
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }
    let refused = told.refused.load(Ordering::Relaxed);
    println!("{} acknowledged, {} unknown, {refused} refused", told.acknowledged(), told.unknown());
}

/// Two nodes on one place that both pass a precondition which only one may would lose batches.
pub async fn two_nodes_lose_nothing_to_one_another<S: Store>(stores: [Arc<S>; 2]) {
    let here = partition("counter");
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let (store, here) = (stores[task % 2].clone(), here.clone());
        tasks.spawn(async move {
            let mut done = 0;
            while done < 50 {
                let n = head(&*store, &here).await + 1;
                match store.commit(nth(&here, n)).await {
                    Ok(()) => done += 1,
                    Err(Error::Precondition { index: 0 }) => {}
                    // Too many wanted it at once, and nothing of it was kept.
                    Err(Error::Unavailable(_)) => pause().await,
                    Err(other) => panic!("{other}"),
                }
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    assert_eq!(head(&*stores[0], &here).await, 400);
    assert_eq!(scan_all(&*stores[1], &here, Range::prefix(b"a/"), 1_000).await.len(), 400);
}
