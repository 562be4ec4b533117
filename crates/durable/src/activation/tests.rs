//! The activation against a store that is a plain map, and the records against arbitrary content.

use std::collections::BTreeMap;

use plexspaces_store::{Precondition, Write};
use plexspaces_types::{ActorId, Key, Name};
use proptest::prelude::*;

use super::*;

#[derive(Default)]
struct Disk(BTreeMap<Bytes, Bytes>);

impl Disk {
    fn apply(&mut self, outcome: Outcome) -> Result<(), ()> {
        let Outcome::Commit(batch) = outcome else { return Ok(()) };
        let holds = batch.preconditions.iter().all(|precondition| match precondition {
            Precondition::Absent { key } => !self.0.contains_key(key),
            Precondition::Equals { key, value } => self.0.get(key) == Some(value),
        });
        if !holds {
            return Err(());
        }
        for write in batch.writes {
            match write {
                Write::Put { key, value } => self.0.insert(key, value),
                Write::Delete { key } => self.0.remove(&key),
            };
        }
        Ok(())
    }

    fn scan(&self, range: &Range) -> Vec<(Bytes, Bytes)> {
        self.0.iter().filter(|(key, _)| range.contains(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    fn recover(&self) -> Activation {
        let mut entries = self.scan(&Activation::recovery_range());
        entries.truncate(Activation::RECOVERY);
        Activation::recover(partition(), &entries).unwrap()
    }
}

fn partition() -> Partition {
    let name = |text| Name::new("name", text).unwrap();
    Partition::actor(&ActorId::new(name("t"), name("n"), name("a"), Key::new("k").unwrap()))
}

fn json(text: &str) -> Payload {
    Payload::Json(text.to_owned())
}

fn state(text: &str) -> Changes {
    Changes { state: Some(json(text)), ..Changes::default() }
}

#[test]
fn a_turn_that_changes_nothing_commits_nothing() {
    let mut disk = Disk::default();
    let mut actor = disk.recover();
    disk.apply(actor.commit(state("1"), 0)).unwrap();
    actor.committed();
    assert!(matches!(actor.commit(state("1"), 0), Outcome::Unchanged));
    assert_eq!(actor.turn(), 1);
}

#[test]
fn a_new_activation_finds_the_last_state_and_fences_the_old_one() {
    let mut disk = Disk::default();
    let mut old = disk.recover();
    disk.apply(old.commit(state("1"), 0)).unwrap();
    old.committed();
    let mut new = disk.recover();
    assert_eq!(new.state(), Some(&json("1")));
    disk.apply(new.commit(state("2"), 0)).unwrap();
    new.committed();
    assert_eq!(disk.apply(old.commit(state("3"), 0)), Err(()));
    assert_eq!(disk.recover().state(), Some(&json("2")));
    disk.apply(new.commit(state("4"), 0)).unwrap();
}

#[test]
fn two_activations_of_a_new_actor_cannot_both_write() {
    let mut disk = Disk::default();
    let (mut one, mut other) = (disk.recover(), disk.recover());
    disk.apply(one.commit(state("1"), 0)).unwrap();
    assert_eq!(disk.apply(other.commit(state("2"), 0)), Err(()));
}

#[test]
fn answers_are_kept_for_a_day_and_then_forgotten() {
    let mut disk = Disk::default();
    let mut actor = disk.recover();
    let answer = |key: &str| Changes { answer: Some((key.to_owned(), [7; 32], json("{}"))), ..Changes::default() };
    disk.apply(actor.commit(answer("key-1"), 1000)).unwrap();
    actor.committed();
    let stored = Answer::decode(&disk.0[&record::answer_key("key-1")]).unwrap();
    assert_eq!((stored.fingerprint, stored.reply), ([7; 32], json("{}")));
    // A later activation finds the oldest answer by the same scan that recovers it.
    let mut actor = disk.recover();
    assert_eq!(actor.expired_range(1000 + RETENTION_MS - 1), None);
    let range = actor.expired_range(1000 + RETENTION_MS).unwrap();
    let forget: Vec<Bytes> = disk.scan(&range).into_iter().map(|(key, _)| key).collect();
    assert_eq!(forget.len(), 1);
    disk.apply(actor.commit(Changes { forget, ..Changes::default() }, 1000 + RETENTION_MS)).unwrap();
    assert!(disk.0.keys().all(|key| !key.starts_with(b"c/") && !key.starts_with(b"d/")));
}

#[test]
fn a_record_of_another_layout_is_refused_by_name() {
    let entries = [(Bytes::from_static(EPOCH), Bytes::from_static(&[9, 0]))];
    let error = Activation::recover(partition(), &entries).unwrap_err();
    assert_eq!(error.to_string(), "the epoch of this actor cannot be read: expected layout 1, found layout 9");
}

proptest! {
    #[test]
    fn records_are_read_as_they_were_written(text in ".*", bytes: Vec<u8>, expires in 1u64.., turn: u64, fingerprint: [u8; 32]) {
        let pair = KeyValue { expires_ms: Some(expires), value: text.clone() };
        prop_assert_eq!(KeyValue::decode(&pair.encode()), Ok(pair));
        for payload in [Payload::Json(text), Payload::Bytes(bytes.into())] {
            let answer = Answer { fingerprint, expires_ms: expires, reply: payload.clone() };
            prop_assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
            let checkpoint = Checkpoint { turn, state: payload.clone() };
            prop_assert_eq!(Checkpoint::decode(&Checkpoint::encode(turn, &payload)), Ok(checkpoint));
        }
    }

    #[test]
    fn no_bytes_make_a_decoder_fail_other_than_with_an_error(bytes: Vec<u8>) {
        let bytes = Bytes::from(bytes);
        let _ = (KeyValue::decode(&bytes), Answer::decode(&bytes), Checkpoint::decode(&bytes), record::decode_epoch(&bytes));
    }
}
