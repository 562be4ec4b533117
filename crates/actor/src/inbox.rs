//! What reaches a workflow while it runs: signals, queries, and orders to pause or end.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::cell::Envelope;

/// The operation of a run.
pub(crate) const RUN: &str = "workflow_run";

/// How many may wait.
const CAPACITY: usize = 1024;

/// The second mailbox of a workflow. Its run takes from it where it waits; between runs its runner does.
#[derive(Default)]
pub(crate) struct Inbox {
    queue: Mutex<VecDeque<Box<Envelope>>>,
    filled: Notify,
    verdict: Mutex<Option<Verdict>>,
}

/// What ends a run's stay in memory from inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It waits for long and leaves memory meanwhile.
    Parked,
    /// It was terminated.
    Terminated,
}

/// What the operation of a message to a workflow asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Signal,
    Query,
    Pause,
    Resume,
    Cancel,
    Terminate,
    Start,
}

impl Order {
    /// Whether an operation is the run of a workflow, and not a word to one.
    pub(crate) fn is_run(operation: &str) -> bool {
        matches!(Self::of(operation), None | Some(Self::Start))
    }

    /// What is not one of these waits in the mailbox.
    pub(crate) fn of(operation: &str) -> Option<Self> {
        let (verb, _) = operation.split_once(':').unwrap_or((operation, ""));
        match verb.strip_prefix("workflow_")? {
            "signal" => Some(Self::Signal),
            "query" => Some(Self::Query),
            "pause" => Some(Self::Pause),
            "resume" => Some(Self::Resume),
            "cancel" => Some(Self::Cancel),
            "terminate" => Some(Self::Terminate),
            "start" => Some(Self::Start),
            _ => None,
        }
    }
}

impl Order {
    /// In words.
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Query => "query",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Cancel => "cancel",
            Self::Terminate => "terminate",
            Self::Start => "start",
        }
    }
}

impl Inbox {
    /// Puts a message in; gives it back when there is no room.
    pub(crate) fn put(&self, envelope: Box<Envelope>) -> Result<(), Box<Envelope>> {
        let mut queue = self.queue.lock();
        if queue.len() >= CAPACITY {
            return Err(envelope);
        }
        queue.push_back(envelope);
        drop(queue);
        self.filled.notify_one();
        Ok(())
    }

    /// Puts a message back to be taken next.
    pub(crate) fn put_back(&self, envelope: Box<Envelope>) {
        self.queue.lock().push_front(envelope);
        self.filled.notify_one();
    }

    /// The first message.
    pub(crate) fn take(&self) -> Option<Box<Envelope>> {
        self.queue.lock().pop_front()
    }

    /// The messages that are queries.
    pub(crate) fn take_queries(&self) -> Vec<Envelope> {
        let mut queue = self.queue.lock();
        let mut queries = Vec::new();
        for envelope in std::mem::take(&mut *queue) {
            match Order::of(&envelope.message.operation) {
                Some(Order::Query) => queries.push(*envelope),
                _ => queue.push_back(envelope),
            }
        }
        queries
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.lock().is_empty()
    }

    /// The next message. Cancelling it loses none.
    pub(crate) async fn next(&self) -> Box<Envelope> {
        loop {
            let filled = self.filled.notified();
            if let Some(envelope) = self.take() {
                return envelope;
            }
            filled.await;
        }
    }

    /// Decides what becomes of the run; its turn must wait for ever after.
    pub(crate) fn decide(&self, verdict: Verdict) {
        *self.verdict.lock() = Some(verdict);
    }

    pub(crate) fn verdict(&self) -> Option<Verdict> {
        self.verdict.lock().take()
    }
}
