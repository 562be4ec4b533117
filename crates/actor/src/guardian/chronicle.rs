//! The histories of supervision trees in the store: written beside the supervisors' work, bounded, and gone with their applications.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use plexspaces_store::{Batch, Error, Partition, Range, Store};
use plexspaces_types::{Clock, Code, Failure, Name};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::supervision::{Event, Tree};

/// Events that wait for the store at most. Where more come, the oldest of them are left out, and the history says how many.
pub(super) const PENDING: usize = 10_000;

/// Events of one commit.
const AT_ONCE: usize = 200;

/// How long a store that has refused something is left alone; twice as long each time.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(30)];

/// How long somebody waits for the store to have what has happened until then.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

const EVENTS: &[u8] = b"event/";
const NEXT: &[u8] = b"next";

/// How much of the history of each application's supervisors is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The latest so many events.
    pub events: u64,
    /// Those that are not older.
    pub age: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { events: 10_000, age: Duration::from_secs(30 * 24 * 60 * 60) }
    }
}

/// What happened to a supervisor or a child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupervisionEvent {
    /// Its number in the history of its application; the first is 0, and none is left out.
    #[serde(skip)]
    pub number: u64,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Whom it happened to, as a path from the root.
    pub path: String,
    /// What, in words.
    pub what: String,
}

/// The history of one application in the store.
#[derive(Clone)]
pub(crate) struct Chronicle {
    store: Arc<dyn Store>,
    clock: Clock,
    retention: Retention,
    partition: Partition,
}

impl Chronicle {
    pub(crate) fn new(config: &crate::Config, (tenant, namespace, application): (&Name, &Name, &Name)) -> Self {
        let partition = Partition::namespace(tenant, namespace, &format!("supervision/{application}"));
        Self { store: config.store.clone(), clock: config.clock.clone(), retention: config.history, partition }
    }

    /// The events from the number `from` on, oldest first, at most `limit`; and whether there are more.
    pub(crate) async fn list(&self, from: u64, limit: usize) -> Result<(Vec<SupervisionEvent>, bool), Failure> {
        let mut range = Range { start: key(from).into(), ..Range::prefix(EVENTS) };
        let mut found = Vec::new();
        loop {
            let page = self.store.scan(&self.partition, range.clone(), limit.saturating_add(1)).await?;
            for (key, value) in &page.entries {
                let event = decode(key, value)?;
                // What is too old is removed when something is added.
                if !self.is_old(&event) {
                    found.push(event);
                }
            }
            match page.entries.last() {
                Some((last, _)) if page.more && found.len() <= limit => range = range.after(last),
                _ => {
                    let more = found.len() > limit;
                    found.truncate(limit);
                    return Ok((found, more));
                }
            }
        }
    }

    /// Removes all of it.
    pub(crate) async fn remove(&self) -> Result<(), Failure> {
        loop {
            let page = self.store.scan(&self.partition, Range::all(), AT_ONCE).await?;
            if page.entries.is_empty() {
                return Ok(());
            }
            let mut batch = Batch::new(self.partition.clone());
            for (key, _) in page.entries {
                batch.delete(key);
            }
            self.store.commit(batch).await?;
        }
    }

    /// Adds events at the end and removes as many that are too old or too many; tries until the store takes it.
    async fn append(self, events: Vec<SupervisionEvent>) {
        let [mut pause, longest] = PAUSES;
        // What the next number is once the events are there, where that is not known.
        let mut in_doubt = None;
        loop {
            match self.try_append(&events, &mut in_doubt).await {
                Ok(()) => return,
                // Those of an application that was just replaced came in between.
                Err(Error::Precondition { .. }) => {}
                Err(error) => {
                    tracing::warn!(%error, "the history of a supervisor waits for the store");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(longest);
                }
            }
        }
    }

    async fn try_append(&self, events: &[SupervisionEvent], in_doubt: &mut Option<u64>) -> Result<(), Error> {
        let stored = self.store.get(&self.partition, NEXT).await?;
        let next = stored.as_deref().map_or(Ok(0), number)?;
        if in_doubt.take() == Some(next) {
            return Ok(());
        }
        let mut batch = Batch::new(self.partition.clone());
        batch.caller_waits = false;
        batch.require(NEXT, stored);
        let after = next + events.len() as u64;
        for (number, event) in (next..after).zip(events) {
            batch.put(key(number), serde_json::to_vec(event).map_err(|error| Error::Failed(error.to_string()))?);
        }
        batch.put(NEXT, after.to_be_bytes().to_vec());
        // More than come, so that what is too old does not stay.
        let oldest = self.store.scan(&self.partition, Range::prefix(EVENTS), events.len() + AT_ONCE).await?;
        for (key, value) in oldest.entries {
            let is_too_many = key.strip_prefix(EVENTS).map_or(Ok(0), number)? + self.retention.events < after;
            // One that cannot be read is told to who reads it.
            if !is_too_many && !decode(&key, &value).is_ok_and(|event| self.is_old(&event)) {
                break;
            }
            batch.delete(key);
        }
        let committed = self.store.commit(batch).await;
        *in_doubt = matches!(committed, Err(Error::Unknown(_))).then_some(after);
        committed
    }

    fn is_old(&self, event: &SupervisionEvent) -> bool {
        let age = u64::try_from(self.retention.age.as_millis()).unwrap_or(u64::MAX);
        event.at_ms.saturating_add(age) < self.clock.now_ms()
    }

    /// As an event is kept.
    fn written(&self, event: &Event) -> SupervisionEvent {
        let ago = crate::now().saturating_duration_since(event.at).as_millis();
        let at_ms = self.clock.now_ms().saturating_sub(u64::try_from(ago).unwrap_or(u64::MAX));
        SupervisionEvent { number: 0, at_ms, path: event.path.to_string(), what: event.what.to_string() }
    }
}

/// What hands the events of a tree to its chronicle: one commit at a time, beside what the tree does.
pub(super) struct Scribe {
    chronicle: Chronicle,
    /// The number in the tree of the first event that was not handed over.
    next: u64,
    under_way: Option<BoxFuture<'static, ()>>,
    /// The number in the tree of the first event that is not in the store.
    kept: watch::Sender<u64>,
}

impl Scribe {
    pub(super) fn new(chronicle: Chronicle) -> Self {
        Self { chronicle, next: 0, under_way: None, kept: watch::Sender::new(0) }
    }

    pub(super) fn progress(&self) -> Progress {
        Progress(self.kept.subscribe())
    }

    /// Hands over what has happened, unless something is under way.
    pub(super) fn begin<T>(&mut self, tree: &mut Tree<T>) {
        if self.under_way.is_some() || self.next == tree.history().next_number() {
            return;
        }
        let events: Vec<&Event> = tree.history().since(self.next).take(AT_ONCE).collect();
        let mut written = Vec::with_capacity(events.len() + 1);
        if let (Some(first), Some(last)) = (events.first(), events.last()) {
            let missing = first.number - self.next;
            if missing > 0 {
                let what = format!("{missing} events are missing, which came faster than the store took them");
                written.push(SupervisionEvent { path: first.path.to_string(), what, ..self.chronicle.written(first) });
            }
            written.extend(events.iter().map(|event| self.chronicle.written(event)));
            self.next = last.number + 1;
        }
        tree.forget_history(self.next);
        self.under_way = Some(Box::pin(self.chronicle.clone().append(written)));
    }

    /// Ready when what was handed over is in the store; never where nothing is under way.
    pub(super) async fn kept(&mut self) {
        match &mut self.under_way {
            Some(under_way) => under_way.await,
            None => std::future::pending().await,
        }
        self.under_way = None;
        self.kept.send_replace(self.next);
    }

    /// Hands over all that is left.
    pub(super) async fn finish<T>(&mut self, tree: &mut Tree<T>) {
        self.begin(tree);
        while self.under_way.is_some() {
            self.kept().await;
            self.begin(tree);
        }
    }
}

/// How far a history is in the store.
#[derive(Clone)]
pub(super) struct Progress(watch::Receiver<u64>);

impl Progress {
    /// Returns when all events before this number are in the store, or will never be.
    pub(super) async fn reaches(mut self, number: u64) -> Result<(), Failure> {
        let late = |_| Failure::new(Code::Unavailable, "the store has not taken what happened last");
        tokio::time::timeout_at((crate::now() + PATIENCE).into(), self.0.wait_for(|kept| *kept >= number)).await.map(drop).map_err(late)
    }
}

fn key(number: u64) -> Vec<u8> {
    [EVENTS, &number.to_be_bytes()].concat()
}

fn number(bytes: &[u8]) -> Result<u64, Error> {
    let unreadable = |_| Error::Corrupt("a number in the history of a supervisor is unreadable".to_owned());
    bytes.try_into().map(u64::from_be_bytes).map_err(unreadable)
}

fn decode(key: &[u8], value: &[u8]) -> Result<SupervisionEvent, Error> {
    let unreadable = |error| Error::Corrupt(format!("an event in the history of a supervisor is unreadable: {error}"));
    let event: SupervisionEvent = serde_json::from_slice(value).map_err(unreadable)?;
    Ok(SupervisionEvent { number: number(key.strip_prefix(EVENTS).unwrap_or_default())?, ..event })
}

#[cfg(test)]
mod tests;
