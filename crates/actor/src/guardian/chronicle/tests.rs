//! The history under a store that is slow, fails, and does not say what it did.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use plexspaces_store::{Limits, Memory, Page};
use tokio::sync::Semaphore;

use super::*;
use crate::supervision::{Action, Exit, Intensity, Plan, Restart, Strategy};

/// A store whose commits wait at a gate, and some of which fail.
struct Gated {
    inner: Memory,
    gate: Semaphore,
    /// The next so many commits end so.
    trouble: parking_lot::Mutex<Vec<(Error, bool)>>,
    commits: AtomicUsize,
}

impl Gated {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: Memory::new(),
            gate: Semaphore::new(0),
            trouble: parking_lot::Mutex::default(),
            commits: AtomicUsize::new(0),
        })
    }
}

#[async_trait]
impl Store for Gated {
    fn backend(&self) -> &'static str {
        "gated"
    }

    fn limits(&self) -> &Limits {
        self.inner.limits()
    }

    async fn get(&self, partition: &Partition, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.inner.get(partition, key).await
    }

    async fn scan(&self, partition: &Partition, range: Range, limit: usize) -> Result<Page, Error> {
        self.inner.scan(partition, range, limit).await
    }

    async fn commit(&self, batch: Batch) -> Result<(), Error> {
        drop(self.gate.acquire().await.unwrap());
        self.commits.fetch_add(1, Ordering::SeqCst);
        let trouble = self.trouble.lock().pop();
        match trouble {
            Some((error, false)) => Err(error),
            Some((error, true)) => self.inner.commit(batch).await.and(Err(error)),
            None => self.inner.commit(batch).await,
        }
    }
}

fn chronicle(store: &Arc<Gated>) -> Chronicle {
    let scope = Name::default_scope();
    let config = crate::Config::new(scope.clone(), store.clone(), Clock::manual(1_000_000));
    Chronicle::new(&config, (&scope, &scope, &Name::new("application", "lab").unwrap()))
}

/// A tree whose only child has failed so often.
fn crashed(times: usize) -> Tree<()> {
    let child = Plan::Worker { name: "a".into(), item: (), restart: Restart::Permanent, shutdown: Duration::ZERO };
    let root = Plan::Supervisor {
        name: "root".into(),
        strategy: Strategy::OneForOne,
        intensity: Intensity { max_restarts: u32::MAX, window: Duration::from_secs(60) },
        restart: Restart::Permanent,
        children: vec![child],
    };
    let mut tree = Tree::new(root, 0).unwrap().with_history(PENDING);
    let mut now = crate::now();
    tree.start(now);
    let mut crashes = 0;
    loop {
        for action in tree.actions().collect::<Vec<_>>() {
            let Action::Start(worker) = action else { continue };
            tree.started(worker, now);
            if crashes == times {
                return tree;
            }
            crashes += 1;
            tree.exited(worker, Exit::Error("boom".to_owned()), now);
        }
        now += Duration::from_secs(61);
        tree.tick(now);
    }
}

async fn all(chronicle: &Chronicle) -> Vec<SupervisionEvent> {
    let (mut all, mut more) = (Vec::new(), true);
    while more {
        let page;
        (page, more) = chronicle.list(all.len() as u64, 999).await.unwrap();
        all.extend(page);
    }
    all
}

#[tokio::test(start_paused = true)]
async fn a_restart_storm_does_not_wait_for_the_store_and_says_what_it_did_not_take() {
    let store = Gated::new();
    let mut kept = chronicle(&store);
    kept.retention.events = 2 * PENDING as u64;
    let mut scribe = Scribe::new(kept.clone());
    let progress = scribe.progress();
    let mut tree = crashed(0);
    scribe.begin(&mut tree);
    assert!(futures::poll!(std::pin::pin!(scribe.kept())).is_pending());
    assert!(progress.clone().reaches(1).await.is_err(), "the store has taken nothing");
    assert_eq!(tree.history().iter().count(), 0, "what was handed over takes no place any more");

    // 5,000 failures while nothing is taken: of their events the latest wait.
    let mut stormed = crashed(5_000);
    let events = usize::try_from(stormed.history().next_number()).unwrap();
    assert!(events > PENDING && stormed.history().iter().count() == PENDING);
    scribe.begin(&mut stormed);
    assert_eq!(stormed.history().iter().count(), PENDING, "one commit is under way at a time");
    store.gate.add_permits(1);
    scribe.finish(&mut stormed).await;
    progress.reaches(events as u64).await.unwrap();
    assert_eq!(stormed.history().iter().count(), 0);

    let all = all(&kept).await;
    // What the first commit had, the word for what is missing, and what waited.
    assert_eq!(all.iter().map(|event| event.number).collect::<Vec<_>>(), (0..PENDING as u64 + 2).collect::<Vec<_>>());
    assert_eq!(all[1].what, format!("{} events are missing, which came faster than the store took them", events - PENDING - 1));
    assert_eq!(all.last().unwrap().what, "started");
    assert!(store.commits.load(Ordering::SeqCst) <= PENDING / AT_ONCE + 2);
}

#[tokio::test(start_paused = true)]
async fn an_event_is_kept_once_though_the_store_fails_or_does_not_say_what_it_did() {
    let store = Gated::new();
    store.gate.add_permits(1);
    let unknown = || Error::Unknown("a lost answer".to_owned());
    *store.trouble.lock() = vec![(unknown(), true), (unknown(), false), (Error::Unavailable("away".to_owned()), false)];
    let kept = chronicle(&store);
    let mut scribe = Scribe::new(kept.clone());
    let mut tree = crashed(2);
    scribe.finish(&mut tree).await;
    assert_eq!(store.commits.load(Ordering::SeqCst), 3, "the third was applied, though its answer was lost");
    let all = all(&kept).await;
    let whats: Vec<&str> = all.iter().map(|event| event.what.as_str()).collect();
    let again = ["exited (error: boom)", "restarting because of root/a", "started"];
    assert_eq!(whats, [&["started"], &again[..], &again[..]].concat());
}

#[tokio::test(start_paused = true)]
async fn a_long_reason_is_cut_where_a_letter_ends() {
    let store = Gated::new();
    store.gate.add_permits(1);
    let kept = chronicle(&store);
    let mut tree = crashed(0);
    let worker = tree.find("root/a").unwrap();
    tree.exited(worker, Exit::Error("ä".repeat(100_000)), crate::now());
    Scribe::new(kept.clone()).finish(&mut tree).await;
    let exited = &all(&kept).await[1];
    assert!(exited.what.len() < 1100 && exited.what.ends_with("ä…)"), "{}", exited.what);
}

#[test]
fn fuzz_events_of_supervisors() {
    let event = SupervisionEvent { number: 7, at_ms: 5, path: "root/a".to_owned(), what: "started".to_owned() };
    let event = serde_json::to_vec(&event).unwrap();
    plexspaces_testkit::fuzz!([event.clone(), key(7)], |bytes: &Vec<u8>| {
        if let Ok(read) = decode(&key(7), bytes) {
            assert_eq!(decode(&key(7), &serde_json::to_vec(&read).unwrap()).unwrap(), read);
        }
        if let Ok(read) = decode(bytes, &event) {
            assert_eq!(key(read.number), *bytes);
        }
    });
}
