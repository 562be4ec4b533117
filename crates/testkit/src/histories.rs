//! Recorded histories of concurrent operations, and whether they are linearizable: whether each operation can have happened at one moment
//! between its beginning and its end (Herlihy and Wing 1990).
//!
//! The search is Wing's and Gong's with Lowe's memory of what was tried. An operation whose outcome nobody knows, because the node or the
//! client ended, may have happened at any time after its beginning, or never.

use std::collections::HashSet;
use std::fmt::{self, Debug};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

mod channels;
mod locks;
mod pairs;
mod tuples;
pub mod workload;

use channels::Channel;
use locks::Locks;
use pairs::Pairs;
use tuples::Tuples;
use workload::Workload;

/// How many states a search looks at before it gives up.
const MAX_VISITED: usize = 50_000;

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

/// What operations one after the other do.
trait Model {
    /// What they do it to.
    type State: Clone + Debug + Eq + Hash;

    /// Before all of them.
    fn start(&self) -> Self::State;

    /// What the state may be after a call; nothing when the call cannot have had its reply there.
    fn step(&self, state: &Self::State, call: &Call) -> Vec<Self::State>;
}

/// Why a history is not accepted.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The search has tried all orders; otherwise it gave up.
    is_certain: bool,
    /// How many calls could be put into an order, and the state after them.
    placed: usize,
    state: String,
    /// What may have come next, and cannot.
    next: Vec<Call>,
    history: Vec<Call>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what =
            if self.is_certain { "the history is not linearizable" } else { "whether the history is linearizable was not found out" };
        writeln!(f, "{what}: {} calls follow one another and lead to {}, then comes none of:", self.placed, self.state)?;
        self.next.iter().try_for_each(|call| writeln!(f, "  {call}"))?;
        writeln!(f, "of:")?;
        self.history.iter().try_for_each(|call| writeln!(f, "  {call}"))
    }
}

/// Calls of a history that have a place already or can have none any more.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Placed {
    calls: Box<[u64]>,
    /// The latest beginning among them: what ended before it can come no more.
    latest: u64,
}

impl Placed {
    fn has(&self, call: usize) -> bool {
        self.calls.get(call / 64).is_some_and(|word| word & (1 << (call % 64)) != 0)
    }

    fn with(&self, call: usize, began: u64) -> Self {
        let mut placed = Self { calls: self.calls.clone(), latest: self.latest.max(began) };
        if let Some(word) = placed.calls.get_mut(call / 64) {
            *word |= 1 << (call % 64);
        }
        placed
    }

    fn count(&self) -> usize {
        self.calls.iter().map(|word| word.count_ones() as usize).sum()
    }
}

/// Looks for an order of the calls in which each has the effect and the reply that the model says.
fn search<M: Model>(model: &M, calls: &[Call]) -> Result<(), Box<Refusal>> {
    let needed = |call: &Call| call.certain || call.reply.is_some();
    let mut order: Vec<&Call> = calls.iter().collect();
    // What ended first is tried first, and what nobody knows of last.
    order.sort_by_key(|call| (!needed(call), call.ended, call.began));
    let start = Placed { calls: vec![0; calls.len().div_ceil(64)].into(), latest: 0 };
    let mut seen = HashSet::from([(start.clone(), model.start())]);
    let mut stack = vec![(start.clone(), model.start())];
    let mut deepest = (start, model.start());
    while let Some((placed, state)) = stack.pop() {
        let left = || order.iter().enumerate().filter(|(index, _)| !placed.has(*index)).map(|(index, call)| (index, *call));
        // Whatever comes next begins before the first of those that must come has ended.
        let Some(horizon) = left().filter(|(_, call)| needed(call)).map(|(_, call)| call.ended).min() else { return Ok(()) };
        if placed.count() > deepest.0.count() {
            deepest = (placed.clone(), state.clone());
        }
        let open = left().filter(|(_, call)| !needed(call)).map(|(_, call)| call.ended).min().unwrap_or(u64::MAX);
        let candidates = || left().filter(|(_, call)| call.began < horizon);
        let mut add = |index: usize, call: &Call, next: M::State| {
            let mut placed = placed.with(index, call.began);
            // What can come no more is told apart no more.
            let latest = placed.latest;
            for (index, _) in left().filter(|(_, call)| !needed(call) && call.ended <= latest) {
                placed = placed.with(index, 0);
            }
            if seen.insert((placed.clone(), next.clone())) {
                stack.push((placed, next));
            }
        };
        // What changes nothing and may come now need not come later.
        let idle = candidates()
            .find(|(_, call)| needed(call) && call.began < open && matches!(model.step(&state, call).as_slice(), [next] if *next == state));
        if let Some((index, call)) = idle {
            add(index, call, state);
            continue;
        }
        for (index, call) in candidates().collect::<Vec<_>>().into_iter().rev() {
            // Nor need what nobody knows of, where it changes nothing.
            for next in model.step(&state, call).into_iter().filter(|next| needed(call) || *next != state) {
                add(index, call, next);
            }
        }
        if seen.len() > MAX_VISITED {
            return Err(refusal(false, &order, &deepest, horizon));
        }
    }
    let left = order.iter().enumerate().filter(|(index, call)| needed(call) && !deepest.0.has(*index));
    let horizon = left.map(|(_, call)| call.ended).min().unwrap_or(u64::MAX);
    Err(refusal(true, &order, &deepest, horizon))
}

fn refusal<S: Debug>(is_certain: bool, order: &[&Call], (placed, state): &(Placed, S), horizon: u64) -> Box<Refusal> {
    let next = order.iter().enumerate().filter(|(index, call)| !placed.has(*index) && call.began < horizon);
    let next = next.map(|(_, call)| (*call).clone()).collect();
    let mut history: Vec<Call> = order.iter().map(|call| (*call).clone()).collect();
    history.sort_by_key(|call| call.began);
    Box::new(Refusal { is_certain, placed: placed.count(), state: format!("{state:?}"), next, history })
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
    pub fn add(&mut self, name: &str, workload: &Workload, calls: &[Call], late_ms: u64) -> Result<(), Box<Refusal>> {
        match workload.check(calls, late_ms) {
            Ok(()) => self.linearizable += 1,
            Err(refusal) if refusal.is_certain => return Err(refusal),
            Err(refusal) => {
                println!("{name}: {} calls, {refusal}", calls.len());
                self.undecided += 1;
            }
        }
        Ok(())
    }

    /// Whether nearly all histories could be judged: tests see to it that theirs are small enough.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        self.undecided * 10 <= self.linearizable
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

    /// All calls, without those that looked and have no reply: they say nothing.
    #[must_use]
    pub fn calls(&self, looks: &[&str]) -> Vec<Call> {
        let recorded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let answered: Vec<&Call> = recorded.calls.iter().filter(|call| call.reply.is_some()).collect();
        let is_look = |call: &Call| looks.contains(&call.operation.as_str());
        let mut calls: Vec<Call> =
            recorded.calls.iter().filter(|call| call.reply.is_some() || call.certain || !is_look(call)).cloned().collect();
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
