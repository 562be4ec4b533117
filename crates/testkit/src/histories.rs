//! Recorded histories of concurrent operations, and whether they are linearizable: whether each operation can have happened at one moment
//! between its beginning and its end (Herlihy and Wing 1990).
//!
//! An operation whose outcome nobody knows, because the node or the client ended, may have happened at any time after its beginning, or
//! never.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

mod channels;
mod locks;
mod pairs;
mod promises;
mod search;
mod tuples;
pub mod workload;

use channels::{Queue, Topic};
use locks::Locks;
use pairs::Pairs;
pub use search::Refusal;
use search::{Model, search};
use tuples::Tuples;
use workload::Workload;

/// Operations after whose reply the service has something in the store.
const WRITES: [&str; 5] = ["put", "write", "acquire", "send", "publish"];

/// One operation as its client saw it. The arguments and the reply are those of `docs/services.md`.
#[derive(Clone, Debug)]
pub struct Call {
    /// Who asked.
    pub client: String,
    /// What was asked for.
    pub operation: String,
    /// The arguments.
    pub arguments: Value,
    /// The reply, or the code of the refusal; `None` when it is not known.
    pub reply: Option<Result<Value, String>>,
    /// Whether it has happened, also when its reply is not known.
    pub certain: bool,
    /// It was not even asked for.
    withdrawn: bool,
    /// Its place among all beginnings and ends.
    pub began: u64,
    /// `u64::MAX` when it may happen at any later time.
    pub ended: u64,
    /// Which of the nodes that followed one another it was sent to last, where none of them has anything left to do for another.
    pub node: Option<u64>,
    /// By the node's clock.
    pub from_ms: u64,
    /// By the node's clock; `u64::MAX` when its end was not seen.
    pub to_ms: u64,
}

impl Call {
    fn text(&self, argument: &str) -> &str {
        self.arguments.get(argument).and_then(Value::as_str).unwrap_or_default()
    }

    fn number(&self, argument: &str) -> Option<u64> {
        self.arguments.get(argument).and_then(Value::as_u64)
    }

    /// Whether the reply, if it is known, has these members. One that is absent over HTTP says that there is nothing.
    fn says(&self, members: &[(&str, Value)]) -> bool {
        match &self.reply {
            None => true,
            Some(Ok(reply)) => {
                let says =
                    |(name, expected): &(&str, Value)| reply.get(name).map_or_else(|| is_nothing(expected), |found| found == expected);
                members.iter().all(says)
            }
            Some(Err(_)) => false,
        }
    }

    /// Whether it may have been refused with this code.
    fn refused(&self, code: &str) -> bool {
        self.reply.as_ref().is_none_or(|reply| reply.as_ref().is_err_and(|found| found == code))
    }

    /// What the reply says under a name; null when it is not known.
    fn said(&self, name: &str) -> &Value {
        self.reply.as_ref().and_then(|reply| reply.as_ref().ok()?.get(name)).unwrap_or(&Value::Null)
    }

    /// Whether its moment may be at or after a time.
    fn may_be_after(&self, time_ms: u64) -> bool {
        self.to_ms >= time_ms
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, operation, arguments, began, .. } = self;
        write!(f, "{began}..")?;
        if self.ended < u64::MAX {
            write!(f, "{}", self.ended)?;
        }
        write!(f, " {}", self.from_ms)?;
        if self.to_ms < u64::MAX {
            write!(f, "+{} ms", self.to_ms.saturating_sub(self.from_ms))?;
        }
        write!(f, " {client}: {operation} {arguments} ")?;
        match &self.reply {
            Some(Ok(reply)) => write!(f, "gave {reply}"),
            Some(Err(code)) => write!(f, "was refused as {code}"),
            None if self.certain => f.write_str("was done"),
            None => f.write_str("was not answered"),
        }
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_u64() == Some(0),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// How many histories were judged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Judged {
    linearizable: usize,
    undecided: usize,
}

impl Judged {
    /// Judges one more, in which the end of a lease may be seen late by so much. Where the search gives up it says so and counts it.
    ///
    /// # Errors
    /// When the history is not linearizable.
    pub fn add(&mut self, name: &str, workload: &Workload, calls: &[Call], late_ms: u64) -> Result<(), String> {
        workload.promise(calls)?;
        match workload.check(calls, late_ms) {
            Ok(()) => self.linearizable += 1,
            Err(refusal) if refusal.is_certain() => return Err(refusal.to_string()),
            Err(refusal) => {
                println!("{name}: {} calls, {refusal}", calls.len());
                self.undecided += 1;
            }
        }
        Ok(())
    }

    /// Whether all histories but one, or one in a hundred, could be judged: tests see to it that theirs are small enough. One for which the
    /// search gave up, as may happen by chance, says nothing.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        self.undecided * 100 <= self.linearizable.max(100)
    }
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} histories are linearizable, {} undecided", self.linearizable, self.undecided)
    }
}

/// Records what clients do. Clones record into one history.
#[derive(Clone, Debug, Default)]
pub struct History(Arc<Mutex<Recorded>>);

#[derive(Debug, Default)]
struct Recorded {
    calls: Vec<Call>,
    events: u64,
}

/// A call that has begun.
#[derive(Clone, Copy, Debug)]
pub struct Begun(usize);

impl History {
    /// A client asks.
    pub fn begin(&self, client: &str, operation: &str, arguments: &Value, now_ms: u64) -> Begun {
        let mut recorded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recorded.events += 1;
        let call = Call {
            client: client.to_owned(),
            operation: operation.to_owned(),
            arguments: arguments.clone(),
            reply: None,
            certain: false,
            withdrawn: false,
            began: recorded.events,
            ended: u64::MAX,
            node: None,
            from_ms: now_ms,
            to_ms: u64::MAX,
        };
        recorded.calls.push(call);
        Begun(recorded.calls.len() - 1)
    }

    /// It is sent to a node, again or for the first time. Each node has a greater number than those that have ended, and what was sent to one
    /// of those has no effect after the first reply of a later one.
    pub fn sent(&self, begun: Begun, node: u64) {
        if let Some(call) = self.0.lock().unwrap_or_else(PoisonError::into_inner).calls.get_mut(begun.0) {
            call.node = Some(node);
        }
    }

    /// A client has its reply, or the code of a refusal that says that nothing was done.
    pub fn end(&self, begun: Begun, reply: Result<Value, String>, now_ms: u64) {
        let mut recorded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recorded.events += 1;
        let ended = recorded.events;
        if let Some(call) = recorded.calls.get_mut(begun.0) {
            (call.reply, call.ended, call.to_ms) = (Some(reply), ended, now_ms);
        }
    }

    /// It has happened, and nobody knows with which reply.
    pub fn done(&self, begun: Begun, now_ms: u64) {
        let mut recorded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recorded.events += 1;
        let ended = recorded.events;
        if let Some(call) = recorded.calls.get_mut(begun.0) {
            (call.certain, call.ended, call.to_ms) = (true, ended, now_ms);
        }
    }

    /// It cannot have happened.
    pub fn withdraw(&self, begun: Begun) {
        if let Some(call) = self.0.lock().unwrap_or_else(PoisonError::into_inner).calls.get_mut(begun.0) {
            call.withdrawn = true;
        }
    }

    /// All calls, without those that looked and have no reply: they say nothing.
    #[must_use]
    pub fn calls(&self, looks: &[&str]) -> Vec<Call> {
        let recorded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let answered: Vec<&Call> = recorded.calls.iter().filter(|call| call.reply.is_some()).collect();
        let is_look = |call: &Call| looks.contains(&call.operation.as_str());
        let tells = |call: &&Call| !call.withdrawn && (call.reply.is_some() || call.certain || !is_look(call));
        let mut calls: Vec<Call> = recorded.calls.iter().filter(tells).cloned().collect();
        for call in calls.iter_mut().filter(|call| call.reply.is_none() && !call.certain) {
            // A service that has written nothing yet has nothing to take over.
            let has_written = |other: &Call| other.ended < call.began && WRITES.contains(&other.operation.as_str());
            let is_there = answered.iter().any(|other| has_written(other) && other.reply.as_ref().is_some_and(Result::is_ok));
            let later = answered.iter().filter(|other| is_there && call.node.is_some() && other.node > call.node);
            if let Some(first) = later.min_by_key(|other| other.ended) {
                (call.ended, call.to_ms) = (first.ended, first.to_ms);
            }
        }
        calls
    }
}

#[cfg(test)]
mod tests;
