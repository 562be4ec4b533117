//! What a channel promises: its queue and its topic.

// Places are those of messages that there are, and what a document does not have is null.
#![allow(clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Call, Model};

/// The queue of the service `channels`, without delays. It shares nothing with the topic, so that each is judged by itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Queue {
    /// By how much the end of the time for which a message is hidden may be seen late.
    pub(super) late_ms: u64,
    /// It is kept by a broker: what was sent under an id before is dropped also when it waits no more, and what came back is given out in any
    /// order and beside what was never given out.
    pub(super) is_at_broker: bool,
}

/// How often a message is given out.
const MAX_DELIVERIES: u32 = 10;

/// The topic of the service `channels`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Topic;

/// The messages of the queue in their order, and its dead letters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    queue: Vec<Message>,
    dead: Vec<Message>,
    sent: u64,
    /// What a broker knows of ids.
    seen: BTreeSet<String>,
}

/// The messages of the topic, and how many of them each subscriber has had.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Published {
    messages: Vec<String>,
    places: BTreeMap<String, usize>,
}

/// The calls of the queue, and those of the topic.
pub(super) fn apart(calls: &[Call]) -> (Vec<Call>, Vec<Call>) {
    calls.iter().cloned().partition(|call| !matches!(call.operation.as_str(), "publish" | "next"))
}

/// Whether a known reply shows a message.
fn is_shown(calls: &[Call], id: &str) -> bool {
    calls.iter().any(|call| call.said("message").get("msg_id").and_then(Value::as_str) == Some(id))
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Message {
    number: u64,
    id: String,
    deliveries: u32,
    /// While somebody has it: when it may be given to another at the earliest, and when at the latest.
    hidden: Option<(u64, u64)>,
    /// It was given out before, or is a dead letter that was sent again.
    is_back: bool,
}

impl State {
    fn back(&mut self, place: usize, requeue: bool) {
        let Some(message) = self.queue.get_mut(place) else { return };
        message.hidden = None;
        if !requeue || message.deliveries >= MAX_DELIVERIES {
            let message = self.queue.remove(place);
            self.dead.push(message);
        }
    }

    fn end_where(&mut self, ends: impl Fn(&Message) -> bool) {
        // From behind, since one that becomes a dead letter leaves its place.
        for place in (0..self.queue.len()).rev() {
            if self.queue.get(place).is_some_and(&ends) {
                self.back(place, true);
            }
        }
    }

    fn place_of(&self, id: &str) -> Option<usize> {
        self.queue.iter().position(|message| message.id == id)
    }
}

/// Whether the reply, if it is known, holds this message.
fn holds(call: &Call, id: Option<&str>, deliveries: Option<u32>) -> bool {
    let Some(reply) = &call.reply else { return true };
    let Ok(reply) = reply else { return false };
    let message = reply.get("message").unwrap_or(&Value::Null);
    let said = |name: &str| message.get(name).cloned().unwrap_or_default();
    said("msg_id") == json!(id) && deliveries.is_none_or(|deliveries| said("delivery_count") == json!(deliveries))
}

impl Queue {
    fn after(&self, mut state: State, call: &Call) -> Vec<State> {
        let id = call.text("msg_id");
        let said = match call.operation.as_str() {
            "send" => {
                let is_dropped = state.place_of(id).is_some() || self.is_at_broker && !state.seen.insert(id.to_owned());
                if !is_dropped {
                    state.sent += 1;
                    state.queue.push(Message { number: state.sent, id: id.to_owned(), deliveries: 0, hidden: None, is_back: false });
                }
                call.says(&[("msg_id", json!(id))])
            }
            "receive" => return self.after_receive(&state, call),
            "ack" | "nack" => match state.place_of(id) {
                None => call.says(&[]),
                Some(place) if state.queue.get(place).is_some_and(|message| message.deliveries == 0) => call.refused("conflict"),
                Some(place) => {
                    if call.operation == "ack" {
                        state.queue.remove(place);
                    } else {
                        state.back(place, call.arguments.get("requeue") != Some(&Value::Bool(false)));
                    }
                    call.says(&[])
                }
            },
            "redrive" => {
                let mut dead = std::mem::take(&mut state.dead);
                dead.sort_by_key(|message| message.number);
                let mut redriven = 0;
                for message in dead {
                    if state.place_of(&message.id).is_some() {
                        state.dead.push(message);
                    } else {
                        redriven += 1;
                        state.queue.push(Message { deliveries: 0, ..message });
                    }
                }
                state.queue.sort_by_key(|message| message.number);
                call.says(&[("redriven", json!(redriven))])
            }
            _ => false,
        };
        said.then_some(state).into_iter().collect()
    }

    fn after_receive(&self, state: &State, call: &Call) -> Vec<State> {
        let there: Vec<usize> = (0..state.queue.len()).filter(|place| state.queue[*place].hidden.is_none()).collect();
        let first = there.iter().copied().find(|place| !self.is_at_broker || !state.queue[*place].is_back);
        let back = there.iter().copied().filter(|place| self.is_at_broker && state.queue[*place].is_back);
        let given = |place: usize| {
            let mut state = state.clone();
            let message = &mut state.queue[place];
            message.deliveries += 1;
            message.is_back = true;
            let visibility_ms = call.number("visibility_ms").unwrap_or(30_000);
            message.hidden = Some((call.from_ms.saturating_add(visibility_ms), call.to_ms.saturating_add(visibility_ms)));
            holds(call, Some(&message.id), Some(message.deliveries)).then_some(state)
        };
        match first {
            None if there.is_empty() => holds(call, None, None).then(|| state.clone()).into_iter().collect(),
            _ => back.chain(first).filter_map(given).collect(),
        }
    }
}

impl Model for Topic {
    type State = Published;

    fn start(&self) -> Published {
        Published::default()
    }

    fn step(&self, state: &Published, call: &Call) -> Vec<Published> {
        let mut state = state.clone();
        let said = if call.operation == "publish" {
            let id = call.text("msg_id");
            state.messages.push(id.to_owned());
            call.says(&[("msg_id", json!(id))])
        } else {
            let place = state.places.entry(call.text("subscriber").to_owned()).or_default();
            let next = state.messages.get(*place);
            *place += usize::from(next.is_some());
            holds(call, next.map(String::as_str), None)
        };
        if said { vec![state] } else { Vec::new() }
    }

    fn explains(&self, call: &Call, calls: &[Call]) -> bool {
        call.operation != "publish" || is_shown(calls, call.text("msg_id"))
    }
}

impl Model for Queue {
    type State = State;

    fn start(&self) -> State {
        State::default()
    }

    fn step(&self, state: &State, call: &Call) -> Vec<State> {
        let mut base = state.clone();
        base.end_where(|message| message.hidden.is_some_and(|(_, latest_ms)| call.from_ms > latest_ms.saturating_add(self.late_ms)));
        let may_be_over = |message: &Message| message.hidden.is_some_and(|(earliest_ms, _)| call.may_be_after(earliest_ms));
        let mut views = vec![base.clone()];
        // A message whose time may be over counts as given back where that explains the reply: the later, the more remains possible.
        for message in base.queue.iter().filter(|message| may_be_over(message)) {
            let given = if call.operation == "receive" {
                let id = &call.said("message")["msg_id"];
                call.reply.is_none() || id == &json!(message.id)
            } else {
                // It matters to others only when it becomes a dead letter.
                message.deliveries >= MAX_DELIVERIES
            };
            if given {
                let mut view = base.clone();
                view.end_where(|other| other == message);
                views.push(view);
            }
        }
        views.into_iter().flat_map(|view| self.after(view, call)).collect()
    }

    fn explains(&self, call: &Call, calls: &[Call]) -> bool {
        let id = call.text("msg_id");
        // One that nobody has received can only have been in the hands of those of whom nobody knows; with ten of them it is a dead letter,
        // which is counted.
        let unknown = calls.iter().filter(|call| call.operation == "receive" && call.reply.is_none()).count();
        call.operation != "send" || unknown >= MAX_DELIVERIES as usize || is_shown(calls, id)
    }

    /// A message that is there is not added again, and one that is not there cannot be acknowledged: nobody is told.
    fn depends(&self, call: &Call) -> bool {
        matches!(call.operation.as_str(), "send" | "ack" | "nack") && call.reply.as_ref().is_none_or(Result::is_ok)
    }
}
