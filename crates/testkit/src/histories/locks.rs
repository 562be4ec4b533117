//! What locks promise.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Call, Model};

/// The service `locks`, for holders that name themselves.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Locks {
    /// By how much the end of a lease may be seen late.
    pub(super) late_ms: u64,
}

/// The locks that are held, and the last version that was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    held: BTreeMap<String, Held>,
    version: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Held {
    holder: String,
    version: u64,
    /// The lease ends at one of these times.
    earliest_ms: u64,
    latest_ms: u64,
}

impl Held {
    fn until(mut self, call: &Call) -> Self {
        let ttl_ms = call.number("ttl_ms").unwrap_or_default();
        let known = call.reply.as_ref().and_then(|reply| reply.as_ref().ok()?.get("expires_ms")?.as_u64());
        self.earliest_ms = known.unwrap_or_else(|| call.from_ms.saturating_add(ttl_ms));
        self.latest_ms = known.unwrap_or_else(|| call.to_ms.saturating_add(ttl_ms));
        self
    }

    fn shown(&self) -> [(&'static str, Value); 2] {
        [("version", json!(self.version.to_string())), ("holder", json!(self.holder))]
    }
}

impl Locks {
    /// The state in which the lock's lease goes on, and that in which it is over, as far as both can be.
    fn views(self, state: &State, call: &Call) -> Vec<State> {
        let Some(held) = state.held.get(call.text("key")) else { return vec![state.clone()] };
        let mut views = Vec::new();
        if call.from_ms < held.latest_ms.saturating_add(self.late_ms) {
            views.push(state.clone());
        }
        if call.may_be_after(held.earliest_ms) {
            let mut over = state.clone();
            over.held.remove(call.text("key"));
            views.push(over);
        }
        views
    }
}

fn after(mut state: State, call: &Call) -> Option<State> {
    let key = call.text("key").to_owned();
    let held = state.held.get(&key).cloned();
    let is_callers = held.as_ref().is_some_and(|held| held.version.to_string() == call.text("version"));
    match (call.operation.as_str(), held) {
        ("acquire", Some(held)) if held.holder != call.text("holder") => {
            call.says(&[("version", Value::Null), ("holder", json!(held.holder))]).then_some(state)
        }
        ("acquire", held) => {
            let held = held.unwrap_or_else(|| {
                state.version += 1;
                Held { holder: call.text("holder").to_owned(), version: state.version, earliest_ms: 0, latest_ms: 0 }
            });
            let said = call.says(&held.shown());
            state.held.insert(key, held.until(call));
            said.then_some(state)
        }
        ("renew", Some(held)) if is_callers => {
            state.held.insert(key, held.until(call));
            call.says(&[("renewed", json!(true))]).then_some(state)
        }
        ("renew", _) => call.says(&[("renewed", json!(false))]).then_some(state),
        ("release", Some(_)) if is_callers => {
            state.held.remove(&key);
            call.says(&[("released", json!(true))]).then_some(state)
        }
        ("release", _) => call.says(&[("released", json!(false))]).then_some(state),
        ("get", held) => {
            let lock = call.reply.as_ref().and_then(|reply| reply.as_ref().ok()).map_or(&Value::Null, |reply| &reply["lock"]);
            let same = match &held {
                None => lock.is_null(),
                Some(held) => held.shown().iter().all(|(name, expected)| lock.get(name) == Some(expected)),
            };
            same.then_some(state)
        }
        _ => None,
    }
}

impl Model for Locks {
    type State = State;

    fn start(&self) -> State {
        State::default()
    }

    fn step(&self, state: &State, call: &Call) -> Vec<State> {
        self.views(state, call).into_iter().filter_map(|view| after(view, call)).collect()
    }
}
