//! What a tuple space promises.
// What a document does not have is null.
#![allow(clippy::indexing_slicing)]

use serde_json::{Value, json};

use super::{Call, Model};

/// The service `tuples`, for patterns without conditions and tuples without times to live.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tuples {
    /// By how much the end of a lease may be seen late.
    pub(super) late_ms: u64,
}

/// A tuple that was written and not taken for good, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    tuple: Value,
    lease: Option<Lease>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Lease {
    /// `None` when the one who took it does not know it.
    id: Option<String>,
    earliest_ms: u64,
    latest_ms: u64,
}

type State = Vec<Entry>;

/// The places of the tuples that a pattern means.
fn matches(state: &[Entry], pattern: &Value) -> Vec<usize> {
    let pattern = pattern.as_array().map_or(&[][..], Vec::as_slice);
    let fits = |entry: &Entry| {
        let tuple = entry.tuple.as_array().map_or(&[][..], Vec::as_slice);
        entry.lease.is_none()
            && tuple.len() == pattern.len()
            && tuple.iter().zip(pattern).all(|(element, wanted)| wanted.is_null() || element == wanted)
    };
    state.iter().enumerate().filter(|(_, entry)| fits(entry)).map(|(place, _)| place).collect()
}

fn tuple(state: &[Entry], place: Option<&usize>) -> Value {
    place.and_then(|place| state.get(*place)).map_or(Value::Null, |entry| entry.tuple.clone())
}

fn after(mut state: State, call: &Call) -> Option<State> {
    let argument = |name: &str| call.arguments.get(name).cloned().unwrap_or_default();
    let found = matches(&state, &argument("pattern"));
    let oldest = tuple(&state, found.first());
    let all = || found.iter().map(|place| tuple(&state, Some(place))).collect::<Vec<_>>();
    let written = Entry { tuple: argument("tuple"), lease: None };
    let leased = |entry: &Entry| entry.lease.as_ref().is_some_and(|lease| lease.id.as_deref() == Some(call.text("lease")));
    let lent = state.iter().position(leased);
    let said = match call.operation.as_str() {
        "write" => {
            state.push(written);
            call.says(&[])
        }
        "write_once" => {
            let said = call.says(&[("existing", oldest.clone()), ("written", json!(oldest.is_null()))]);
            if oldest.is_null() {
                state.push(written);
            }
            said
        }
        "replace" => {
            if let Some(place) = found.first() {
                state.remove(*place);
                state.push(written);
            }
            call.says(&[("tuple", oldest)])
        }
        "read" => call.says(&[("tuple", oldest)]),
        "take" => {
            let lease_ms = call.number("lease_ms");
            match (found.first(), lease_ms) {
                (Some(place), None) => drop(state.remove(*place)),
                (Some(place), Some(lease_ms)) => {
                    let id = call.reply.as_ref().and_then(|reply| Some(reply.as_ref().ok()?.get("lease")?.as_str()?.to_owned()));
                    let (earliest_ms, latest_ms) = (call.from_ms.saturating_add(lease_ms), call.to_ms.saturating_add(lease_ms));
                    let lease = Lease { id, earliest_ms, latest_ms };
                    if let Some(entry) = state.get_mut(*place) {
                        entry.lease = Some(lease);
                    }
                }
                (None, _) => {}
            }
            call.says(&[("tuple", oldest)])
        }
        "read_all" => call.says(&[("tuples", json!(all()))]),
        "take_all" => {
            let said = call.says(&[("tuples", json!(all()))]);
            found.iter().rev().for_each(|place| drop(state.remove(*place)));
            said
        }
        "count" => call.says(&[("count", json!(found.len()))]),
        "confirm" => match lent {
            Some(place) => {
                state.remove(place);
                call.says(&[])
            }
            None => call.refused("conflict"),
        },
        "release" => match lent.and_then(|place| state.get_mut(place)) {
            Some(entry) => {
                entry.lease = None;
                call.says(&[])
            }
            None => call.refused("conflict"),
        },
        _ => false,
    };
    said.then_some(state)
}

impl Model for Tuples {
    type State = State;

    fn start(&self) -> State {
        State::new()
    }

    fn step(&self, state: &State, call: &Call) -> Vec<State> {
        let mut base = state.clone();
        end_where(&mut base, |_, lease| call.from_ms > lease.latest_ms.saturating_add(self.late_ms));
        let mut views = vec![base.clone()];
        let mut add = |ends: &dyn Fn(&Entry, &Lease) -> bool| {
            let mut view = base.clone();
            if end_where(&mut view, |entry, lease| call.may_be_after(lease.earliest_ms) && ends(entry, lease)) {
                views.push(view);
            }
        };
        // A lease that may be over counts as over where that explains the reply: the later it ends, the more remains possible.
        if call.reply.is_some() {
            let shown = |tuple: &Value| {
                let all = call.said("tuples").as_array().is_some_and(|tuples| tuples.contains(tuple));
                all || call.said("tuple") == tuple || call.said("existing") == tuple
            };
            add(&|entry, lease| shown(&entry.tuple) || lease.id.as_deref() == Some(call.text("lease")));
        }
        if call.reply.is_none() || call.operation == "count" {
            // What they were cannot be told from the reply: any of them.
            let may_be_over: Vec<&Entry> =
                base.iter().filter(|entry| entry.lease.as_ref().is_some_and(|lease| call.may_be_after(lease.earliest_ms))).collect();
            for some in 1..1u32 << may_be_over.len().min(8) {
                add(&|entry, _| may_be_over.iter().enumerate().any(|(place, over)| some & (1 << place) != 0 && *over == entry));
            }
        }
        views.into_iter().filter_map(|view| after(view, call)).collect()
    }
}

/// Ends leases; true when there were such.
fn end_where(state: &mut [Entry], ends: impl Fn(&Entry, &Lease) -> bool) -> bool {
    let mut ended = false;
    for entry in state {
        if entry.lease.as_ref().is_some_and(|lease| ends(entry, lease)) {
            entry.lease = None;
            ended = true;
        }
    }
    ended
}
