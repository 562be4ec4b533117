//! How the model's things are written into records.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

use bytes::Bytes;
use plexspaces_durable::journal::{self, Begin, End, Entry, Recorded};
use plexspaces_durable::{KeyValue, Outgoing, Reminder};
use plexspaces_store::Partition;
use plexspaces_types::{ActorId, Key, MessageKind, Name, Payload};

use crate::plain::{Do, Message};

pub fn call_key(step: Do) -> u8 {
    match step {
        Do::Drop(key) | Do::Forget(key) => key,
        _ => unreachable!(),
    }
}

pub fn partition() -> Partition {
    let name = |text| Name::new("name", text).unwrap();
    Partition::actor(&ActorId::new(name("t"), name("n"), name("a"), Key::new("k").unwrap()))
}

pub fn json(n: i64) -> Payload {
    Payload::Json(n.to_string())
}

pub fn number(payload: &Payload) -> i64 {
    std::str::from_utf8(payload.as_bytes()).unwrap().parse().unwrap()
}

pub fn checksum(state: i64) -> u32 {
    journal::checksum(&[&state.to_be_bytes()]) >> 1
}

pub fn fingerprint(id: u64) -> [u8; 32] {
    let mut fingerprint = [0; 32];
    fingerprint[..8].copy_from_slice(&id.to_be_bytes());
    fingerprint
}

pub fn outgoing(number: u64, what: i8) -> Outgoing {
    Outgoing { number, target: "n/t/k".to_owned(), operation: "o".to_owned(), payload: json(i64::from(what)) }
}

pub fn reminder(due: u8) -> Reminder {
    Reminder { due_ms: u64::from(due), schedule: String::new(), operation: String::new(), payload: Payload::empty() }
}

pub fn stored_pair(value: i8) -> KeyValue {
    KeyValue { expires_ms: None, value: value.to_string() }
}

pub fn pair(value: &Bytes) -> i8 {
    KeyValue::decode(value).unwrap().value.parse().unwrap()
}

pub fn begin(message: &Message) -> Entry {
    Entry::Begin(Begin {
        code: 7,
        at_ms: 0,
        seed: 1,
        operation: "do".to_owned(),
        kind: MessageKind::Call,
        payload: Payload::Json(serde_json::to_string(message).unwrap()),
        sender: None,
        idempotency_key: None,
        reminder: None,
    })
}

pub fn end(outcome: journal::Outcome, state: Option<i64>) -> Entry {
    Entry::End(End { at_ms: 0, outcome, state: state.map(json), code: 7 })
}

pub fn message_of(recorded: &Recorded) -> Message {
    serde_json::from_slice(recorded.begin().unwrap().payload.as_bytes()).unwrap()
}

/// What the waits of a turn have given it.
pub fn told_in(recorded: &Recorded) -> Vec<i64> {
    let of = |entry: &Entry| match entry {
        Entry::Signal(signal) => Some(number(&signal.payload)),
        Entry::Step(step) if step.call == "Wait" || step.call.starts_with("Hear") => Some(number(step.result.as_ref().unwrap())),
        _ => None,
    };
    recorded.entries.iter().filter_map(of).collect()
}
