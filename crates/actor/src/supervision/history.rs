//! What happened in a tree, for operators: a ring of numbered events, so that a reader sees what it has missed.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Exit, NodeId};

const DEFAULT_CAPACITY: usize = 1000;

/// Bytes of a reason that are kept.
const MAX_REASON: usize = 1024;

/// The latest events of a tree. Memory is bounded: a new event displaces the oldest.
#[derive(Debug)]
pub struct History {
    events: VecDeque<Event>,
    capacity: usize,
    next: u64,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number; the first is 0, and no number is left out.
    pub number: u64,
    /// When it happened.
    pub at: Instant,
    /// Whom it happened to.
    pub node: NodeId,
    /// The node's path, which also stands when the node has left the tree.
    pub path: Arc<str>,
    /// What happened.
    pub what: Happening,
}

/// What can happen to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// It is up. It is not said of a worker that comes up for the first time with its tree, nor of a supervisor without children.
    Started,
    /// It ended.
    Exited(Exit),
    /// It did not answer within its shutdown time and is being killed.
    Killed,
    /// It is being started again.
    Restarting {
        /// The path of the child whose failure is the reason, which may be itself.
        because: Arc<str>,
    },
    /// It has failed repeatedly and waits before it is started again.
    Delayed(Duration),
    /// This supervisor gives up: its intensity was exceeded.
    Escalated {
        /// The path of the child that failed once too often.
        because: Arc<str>,
    },
    /// The whole tree restarts after this time.
    Degraded(Duration),
    /// A full window has passed without failure since the tree was degraded.
    Recovered,
    /// It joined the tree.
    Added,
    /// It left the tree.
    Removed,
    /// It could not be started for the first time.
    StartFailed(String),
    /// The whole tree is down, as it was asked to be.
    Stopped,
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => f.write_str("started"),
            Self::Exited(exit) => write!(f, "exited ({exit})"),
            Self::Killed => f.write_str("killed: it did not stop in its time"),
            Self::Restarting { because } => write!(f, "restarting because of {because}"),
            Self::Delayed(wait) => write!(f, "restarts in {wait:?}"),
            Self::Escalated { because } => write!(f, "gave up: {because} failed too often"),
            Self::Degraded(wait) => write!(f, "degraded: the whole tree restarts in {wait:?}"),
            Self::Recovered => f.write_str("recovered"),
            Self::Added => f.write_str("added"),
            Self::Removed => f.write_str("removed"),
            Self::StartFailed(reason) => write!(f, "failed to start: {reason}"),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

impl History {
    pub(super) fn new() -> Self {
        Self { events: VecDeque::new(), capacity: DEFAULT_CAPACITY, next: 0 }
    }

    /// How many events are kept; the oldest go first.
    pub(super) fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity;
        self.events.drain(..self.events.len().saturating_sub(capacity));
    }

    /// Forgets the events before a number.
    pub(super) fn forget(&mut self, before: u64) {
        let oldest = self.next - self.events.len() as u64;
        let gone = usize::try_from(before.saturating_sub(oldest)).unwrap_or(usize::MAX).min(self.events.len());
        self.events.drain(..gone);
        if self.events.is_empty() {
            self.events.shrink_to_fit();
        }
    }

    pub(super) fn push(&mut self, at: Instant, node: NodeId, path: Arc<str>, mut what: Happening) {
        if let Happening::Exited(Exit::Error(reason)) | Happening::StartFailed(reason) = &mut what
            && reason.len() > MAX_REASON
        {
            reason.truncate(reason.floor_char_boundary(MAX_REASON));
            reason.push('…');
        }
        let number = self.next;
        self.next += 1;
        if self.capacity == 0 {
            return;
        }
        if self.events.len() >= self.capacity {
            self.events.pop_front();
        }
        self.events.push_back(Event { number, at, node, path, what });
    }

    /// The events from a number on that are still kept, oldest first. Costs nothing for those before.
    pub fn since(&self, number: u64) -> impl Iterator<Item = &Event> {
        let oldest = self.next - self.events.len() as u64;
        let skipped = usize::try_from(number.saturating_sub(oldest)).unwrap_or(usize::MAX).min(self.events.len());
        self.events.range(skipped..)
    }

    /// All events that are still kept, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Event> {
        self.events.iter()
    }

    /// The number that the next event will have.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.next
    }
}
