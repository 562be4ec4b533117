//! Any bytes in a store or in an exported history are read as what they were written as, or refused.

use bytes::Bytes;
use plexspaces_testkit::fuzz;
use plexspaces_types::{ActorId, Key, MessageKind, Name, Payload};

use crate::journal::{self, Begin, End, Entry, Outcome, Recorded, Refusal, Signal, Step};
use crate::record::{self, Anchor};
use crate::{Answer, Due, KeyValue, Outgoing, Past, Published, Reminder, Tenure, decode_heard, encode_heard, sender_of};

fn payload() -> Payload {
    Payload::Json(r#"{"a":1}"#.to_owned())
}

fn entries() -> Vec<Entry> {
    let refusal = Refusal { code: "conflict".into(), message: "no".into(), field: Some("f".into()) };
    let begin = Begin {
        at_ms: 7,
        seed: 8,
        operation: "op".into(),
        kind: MessageKind::Call,
        payload: payload(),
        sender: Some("n/t/k".into()),
        idempotency_key: Some("key".into()),
        reminder: None,
        code: 3,
    };
    vec![
        Entry::Base(payload()),
        Entry::Begin(begin),
        Entry::Step(Step { call: "ask n/t/k op".into(), arguments: 5, at_ms: 9, result: Ok(payload()) }),
        Entry::Step(Step { call: "take".into(), arguments: 5, at_ms: 9, result: Err(refusal) }),
        Entry::Signal(Signal { at_ms: 9, operation: "s".into(), payload: payload() }),
        Entry::End(End { at_ms: 10, outcome: Outcome::Done { reply: 6 }, state: Some(payload()), code: 3 }),
    ]
}

#[test]
fn any_record_is_what_was_written_or_is_refused() {
    let answer = Answer { fingerprint: [7; 32], expires_ms: 9, failed: false, reply: payload() };
    let outgoing = Outgoing { number: 3, target: "n/t/k".into(), operation: "op".into(), payload: payload() };
    let reminder = Reminder { due_ms: 3, schedule: "every 5".into(), operation: "op".into(), payload: payload() };
    let examples = [
        answer.encode(),
        outgoing.encode(),
        reminder.encode(),
        KeyValue { expires_ms: Some(4), value: "v".into() }.encode(),
        Published { turn: 1, code: 2, state: payload() }.encode(),
        Anchor { turn: 1, oldest: 0 }.encode(),
        encode_heard(5),
        journal::encode(&entries()),
    ];
    fuzz!(examples, |bytes: &Vec<u8>| {
        let value = Bytes::copy_from_slice(bytes);
        if let Ok(answer) = Answer::decode(&value) {
            assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
        }
        if let Ok(message) = Outgoing::decode(&value) {
            assert_eq!(Outgoing::decode(&message.encode()), Ok(message));
        }
        if let Ok(reminder) = Reminder::decode(&value) {
            assert_eq!(reminder.encode(), value);
        }
        if let Ok(pair) = KeyValue::decode(&value) {
            assert_eq!(pair.encode(), value);
        }
        if let Ok(published) = Published::decode(&value) {
            assert_eq!(published.encode(), value);
        }
        if let Ok(anchor) = Anchor::decode(&value) {
            assert_eq!(anchor.encode(), value);
        }
        if let Ok(number) = decode_heard(&value) {
            assert_eq!(encode_heard(number), value);
        }
        let _ = Tenure::of(Some(&value));
        if let Ok(entries) = journal::decode(&value) {
            assert_eq!(journal::decode(&journal::encode(&entries)), Ok(entries.clone()));
            let _ = Past::of(vec![Recorded { turn: 1, chunks: 1, entries }]);
        }
    });
}

#[test]
fn any_key_is_what_was_written_or_is_none() {
    let name = |text: &str| Name::new("name", text).unwrap();
    let actor = ActorId::new(name("t"), name("n"), name("a"), Key::new("k").unwrap());
    let due = Due { at_ms: 5, actor, name: "poll".into() };
    let examples = [due.key(), journal::key(3, 1), record::expiry_key(9, "key"), crate::heard_key("n/t/k")];
    fuzz!(examples, |bytes: &Vec<u8>| {
        if let Some(due) = Due::parse(bytes) {
            assert_eq!(due.key(), bytes.as_slice());
        }
        if let Some((turn, chunk)) = journal::parse_key(bytes) {
            assert_eq!(journal::key(turn, chunk), bytes.as_slice());
        }
        if let Some((expires_ms, key)) = record::parse_expiry_key(bytes) {
            assert_eq!(record::expiry_key(expires_ms, key), bytes.as_slice());
        }
        let _ = sender_of(bytes);
    });
}

/// What `journal export` writes and `replay` reads.
#[test]
fn any_history_is_read_or_refused() {
    let turns = vec![Recorded { turn: 1, chunks: 1, entries: entries() }, Recorded { turn: 2, chunks: 2, entries: entries() }];
    let examples = [serde_json::to_vec(&turns).unwrap()];
    fuzz!(examples, |bytes: &Vec<u8>| {
        if let Ok(turns) = serde_json::from_slice::<Vec<Recorded>>(bytes) {
            let again: Vec<Recorded> = serde_json::from_slice(&serde_json::to_vec(&turns).unwrap()).unwrap();
            assert_eq!(again, turns);
            let _ = Past::of(turns);
        }
    });
}
