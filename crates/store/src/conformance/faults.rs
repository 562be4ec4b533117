//! Writers for tests in which a backend's connections and servers end, and what must hold whatever ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{partition, scan_all};
use crate::{Batch, Error, Partition, Range, Store};

const WRITERS: usize = 8;

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
    loop {
        match store.get(here, b"head").await {
            Ok(None) => return 0,
            Ok(Some(head)) => return std::str::from_utf8(&head).unwrap().parse().unwrap(),
            Err(Error::Unavailable(_)) => tokio::task::yield_now().await,
            Err(other) => panic!("{other}"),
        }
    }
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
            tokio::task::yield_now().await;
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
                        tokio::task::yield_now().await;
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
                let found = scan_all(&*store, &here, Range::prefix(prefix.as_bytes()), 500).await;
                let expected: Vec<_> = (1..=last).map(|n| Bytes::from(format!("{prefix}{n:06}"))).collect();
                assert_eq!(found.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), expected, "writer {writer}");
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
