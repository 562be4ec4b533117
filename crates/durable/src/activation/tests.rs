//! The activation against a store that is a plain map, and the records against arbitrary content.

use std::collections::BTreeMap;

use plexspaces_store::{Precondition, Write};
use plexspaces_types::{ActorId, Key, MessageKind, Name};
use proptest::prelude::*;

use super::*;
use crate::journal::{Begin, End, Refusal, Step};

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
        self.recall(Keeping::default()).0
    }

    fn recall(&self, keeping: Keeping) -> (Activation, Past) {
        let mut entries = self.scan(&Activation::recovery_range());
        entries.truncate(Activation::RECOVERY);
        let mut activation = Activation::recover(partition(), keeping, &entries).unwrap();
        let records = self.scan(&activation.journal_range());
        let past = activation.recall(&records).unwrap();
        (activation, past)
    }

    /// Commits as the runner does: with what may go.
    fn commit(&mut self, actor: &mut Activation, mut changes: Changes, now_ms: u64) -> Result<(), ()> {
        changes.stale = actor.stale_range().map(|range| self.scan(&range).into_iter().map(|(key, _)| key).collect()).unwrap_or_default();
        let outcome = actor.commit(changes, now_ms);
        self.apply(outcome)?;
        actor.committed();
        Ok(())
    }
}

fn partition() -> Partition {
    let name = |text| Name::new("name", text).unwrap();
    Partition::actor(&ActorId::new(name("t"), name("n"), name("a"), Key::new("k").unwrap()))
}

fn json(text: &str) -> Payload {
    Payload::Json(text.to_owned())
}

fn begin(text: &str) -> Entry {
    Entry::Begin(Begin {
        code: 7,
        at_ms: 1,
        seed: 2,
        operation: text.to_owned(),
        kind: MessageKind::Call,
        payload: json("{}"),
        sender: None,
        idempotency_key: None,
        reminder: None,
    })
}

fn step(call: &str) -> Entry {
    Entry::Step(Step { call: call.to_owned(), arguments: 0, at_ms: 1, result: Ok(json("1")) })
}

fn end(state: Option<&str>) -> Entry {
    Entry::End(End { at_ms: 3, outcome: journal::Outcome::Done { reply: 0 }, state: state.map(json), code: 8 })
}

/// A turn that gave its state.
fn state(text: &str) -> Changes {
    entries(vec![begin("set"), end(Some(text))])
}

fn entries(entries: Vec<Entry>) -> Changes {
    Changes { entries, ..Changes::default() }
}

#[test]
fn a_turn_that_changes_nothing_commits_nothing() {
    let mut disk = Disk::default();
    let mut actor = disk.recover();
    disk.commit(&mut actor, state("1"), 0).unwrap();
    assert!(matches!(actor.commit(state("1"), 0), Outcome::Unchanged));
    assert_eq!(actor.turn(), 1);
    // Nor is the answer kept of an actor that would ask again.
    let harmless = Changes { answer: Some(("a#1".into(), [0; 32], json("{}"))), harmless: true, ..state("1") };
    assert!(matches!(actor.commit(harmless, 0), Outcome::Unchanged));
    assert!(matches!(actor.commit(entries(vec![begin("fail")]), 0), Outcome::Commit(_)));
}

#[test]
fn a_new_activation_finds_the_last_state_and_fences_the_old_one() {
    let mut disk = Disk::default();
    let mut old = disk.recover();
    disk.commit(&mut old, state("1"), 0).unwrap();
    let (mut new, past) = disk.recall(Keeping::default());
    assert_eq!(past.state, Some(json("1")));
    disk.commit(&mut new, state("2"), 0).unwrap();
    assert_eq!(disk.commit(&mut old, state("3"), 0), Err(()));
    assert!(old.is_in_doubt());
    assert_eq!(disk.recall(Keeping::default()).1.state, Some(json("2")));
    disk.commit(&mut new, state("4"), 0).unwrap();
}

#[test]
fn two_activations_of_a_new_actor_cannot_both_write() {
    let mut disk = Disk::default();
    let (mut one, mut other) = (disk.recover(), disk.recover());
    disk.commit(&mut one, state("1"), 0).unwrap();
    assert_eq!(disk.commit(&mut other, state("2"), 0), Err(()));
}

#[test]
fn answers_are_kept_for_a_day_and_then_forgotten() {
    let mut disk = Disk::default();
    let mut actor = disk.recover();
    let answer = |key: &str| Changes { answer: Some((key.to_owned(), [7; 32], json("{}"))), ..Changes::default() };
    disk.commit(&mut actor, answer("key-1"), 1000).unwrap();
    let stored = Answer::decode(&disk.0[&record::answer_key("key-1")]).unwrap();
    assert_eq!((stored.fingerprint, stored.reply), ([7; 32], json("{}")));
    // A later activation finds the oldest answer by the same scan that recovers it.
    let mut actor = disk.recover();
    assert_eq!(actor.expired_range(1000 + RETENTION_MS - 1), None);
    let range = actor.expired_range(1000 + RETENTION_MS).unwrap();
    let forget: Vec<Bytes> = disk.scan(&range).into_iter().map(|(key, _)| key).collect();
    assert_eq!(forget.len(), 1);
    disk.commit(&mut actor, Changes { forget, ..Changes::default() }, 1000 + RETENTION_MS).unwrap();
    assert!(disk.0.keys().all(|key| !key.starts_with(b"c/") && !key.starts_with(b"d/")));
}

#[test]
fn a_turn_that_waits_is_found_where_it_was() {
    let mut disk = Disk::default();
    let mut actor = disk.recover();
    disk.commit(&mut actor, entries(vec![Entry::Base(json("0")), begin("run")]), 0).unwrap();
    disk.commit(&mut actor, entries(vec![step("ask a")]), 0).unwrap();
    disk.commit(&mut actor, entries(vec![step("ask b")]), 0).unwrap();
    assert!(actor.has_begun());
    let (mut actor, past) = disk.recall(Keeping::default());
    assert_eq!(past.state, Some(json("0")));
    assert_eq!((past.state_code, past.code()), (7, Some(7)), "the state is of the code that began the turn");
    let pending = past.pending.unwrap();
    assert_eq!((pending.turn, pending.chunks, pending.entries.len()), (1, 3, 4));
    assert!(actor.has_begun() && actor.current_turn() == 1);
    disk.commit(&mut actor, entries(vec![end(None)]), 0).unwrap();
    let (actor, past) = disk.recall(Keeping::default());
    assert_eq!((past.turns.len(), past.pending, actor.current_turn()), (1, None, 2));
}

#[test]
fn states_are_kept_at_the_interval_and_what_failed_is_not_run_again() {
    let mut disk = Disk::default();
    let keeping = Keeping { interval: Some(3), ..Keeping::default() };
    let (mut actor, _) = disk.recall(keeping);
    let mut kept = Vec::new();
    for turn in 1..=8 {
        let state = actor.wants_state().then(|| turn.to_string());
        kept.extend(state.is_some().then_some(turn));
        disk.commit(&mut actor, entries(vec![begin("set"), end(state.as_deref())]), 0).unwrap();
    }
    assert_eq!(kept, [1, 4, 7]);
    let failed = journal::Outcome::Failed(Refusal { code: "handler_failed".into(), message: "no".into(), field: None });
    let failed = Entry::End(End { at_ms: 0, outcome: failed, state: None, code: 8 });
    disk.commit(&mut actor, entries(vec![begin("fail"), failed]), 0).unwrap();
    let (_, past) = disk.recall(keeping);
    assert_eq!((past.state.as_ref(), past.state_code), (Some(&json("7")), 8));
    assert_eq!(past.turns.iter().map(|turn| turn.turn).collect::<Vec<_>>(), [8]);
}

#[test]
fn a_great_state_is_kept_when_the_journal_outweighs_it() {
    let mut disk = Disk::default();
    let mut actor = disk.recover();
    let great = format!("\"{}\"", "x".repeat(100_000));
    let mut written = 0;
    let mut kept = 0;
    for turn in 0..1000 {
        let state = actor.wants_state().then(|| great.clone());
        kept += usize::from(state.is_some());
        let Outcome::Commit(batch) = actor.commit(entries(vec![begin(&turn.to_string()), end(state.as_deref())]), 0) else { panic!() };
        written += batch.bytes();
        disk.apply(Outcome::Commit(batch)).unwrap();
        actor.committed();
    }
    assert!((2..10).contains(&kept), "kept {kept} times");
    assert!(written < 1_500_000, "{written} bytes for 1000 turns");
}

#[test]
fn the_history_is_bounded_and_recovery_reads_little_of_it() {
    let mut disk = Disk::default();
    let keeping = Keeping { history: 100, ..Keeping::default() };
    let (mut actor, _) = disk.recall(keeping);
    for turn in 1..=1000 {
        disk.commit(&mut actor, state(&turn.to_string()), 0).unwrap();
    }
    let records = disk.scan(&journal::range(0, None)).len();
    assert!((100..=100 + 2 * 64).contains(&records), "{records} records");
    let (actor, past) = disk.recall(keeping);
    assert_eq!((past.state, past.turns.len(), actor.turn()), (Some(json("1000")), 0, 1000));
    assert!(disk.scan(&actor.journal_range()).len() <= 64);
}

#[test]
fn old_turns_go_whatever_the_number_of_their_records_and_are_looked_up_only_where_there_may_be_several() {
    let mut disk = Disk::default();
    let keeping = Keeping { history: 100, ..Keeping::default() };
    let (mut actor, _) = disk.recall(keeping);
    let mut looked = Vec::new();
    for turn in 1..=3000_u64 {
        if turn == 600 {
            (actor, _) = disk.recall(keeping);
        }
        looked.extend(actor.stale_range().map(|_| turn));
        let mut last = state(&turn.to_string());
        if (1000..1500).contains(&turn) {
            disk.commit(&mut actor, entries(vec![begin("set"), step("a")]), 0).unwrap();
            disk.commit(&mut actor, entries(vec![step("b")]), 0).unwrap();
            last.entries.remove(0);
        }
        disk.commit(&mut actor, last, 0).unwrap();
    }
    let looks = |turns: std::ops::Range<u64>| looked.iter().filter(|turn| turns.contains(turn)).count();
    assert_eq!((looks(1..600), looks(800..1000), looks(1800..3001)), (0, 0, 0), "{looked:?}");
    assert!(looks(1000..1800) > 0, "{looked:?}");
    let mut history = Vec::new();
    Recorded::collect(&mut history, &disk.scan(&journal::range(0, None))).unwrap();
    assert!((100..=100 + 2 * 64).contains(&history.len()), "{} turns", history.len());
    assert!(history.iter().all(|recorded| recorded.chunks == 1));
}

#[test]
fn a_record_of_another_layout_is_refused_by_name() {
    let entries = [(Bytes::from_static(EPOCH), Bytes::from_static(&[9, 0]))];
    let error = Activation::recover(partition(), Keeping::default(), &entries).unwrap_err();
    assert_eq!(error.to_string(), "the epoch of this actor cannot be read: expected layout 3, found layout 9");
}

#[test]
fn a_journal_with_a_hole_is_refused() {
    let mut turns = Vec::new();
    let record = |chunk| (journal::key(3, chunk), journal::encode(&[step("a")]));
    let error = Recorded::collect(&mut turns, &[record(0), record(2)]).unwrap_err();
    assert!(error.to_string().contains("record 2 of turn 3 without the one before it"), "{error}");
}

proptest! {
    #[test]
    fn records_are_read_as_they_were_written(text in ".*", bytes: Vec<u8>, expires in 1u64.., turn: u64, fingerprint: [u8; 32]) {
        let pair = KeyValue { expires_ms: Some(expires), value: text.clone() };
        prop_assert_eq!(KeyValue::decode(&pair.encode()), Ok(pair));
        for payload in [Payload::Json(text), Payload::Bytes(bytes.into())] {
            let answer = Answer { fingerprint, expires_ms: expires, failed: turn % 2 == 0, reply: payload.clone() };
            prop_assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
            let published = Published { turn, code: expires, state: payload.clone() };
            prop_assert_eq!(Published::decode(&published.encode()), Ok(published));
            let outgoing = Outgoing { number: turn, target: "n/t/k".into(), operation: "o".into(), payload };
            prop_assert_eq!(Outgoing::decode(&outgoing.encode()), Ok(outgoing));
        }
    }

    #[test]
    fn no_bytes_make_a_decoder_fail_other_than_with_an_error(bytes: Vec<u8>) {
        let bytes = Bytes::from(bytes);
        let _ = (KeyValue::decode(&bytes), Answer::decode(&bytes), Anchor::decode(&bytes), record::decode_epoch(&bytes));
        let _ = (Published::decode(&bytes), Outgoing::decode(&bytes), journal::decode(&bytes), outbox::decode_heard(&bytes));
    }
}

/// What an activation had read is not all there is when it comes to commit.
#[test]
fn what_the_activation_before_commits_after_it_was_read_refuses_the_claim() {
    // Another turn.
    let mut disk = Disk::default();
    let mut old = disk.recover();
    disk.commit(&mut old, state("1"), 0).unwrap();
    let mut new = disk.recover();
    disk.commit(&mut old, state("2"), 0).unwrap();
    assert_eq!(disk.commit(&mut new, state("10"), 0), Err(()));
    // A part of the turn that was under way, or its end.
    for goes_on in [entries(vec![step("ask")]), state("3")] {
        disk.commit(&mut old, entries(vec![begin("wait")]), 0).unwrap();
        let mut new = disk.recover();
        assert!(new.has_begun());
        let ends = goes_on.entries.iter().any(|entry| matches!(entry, Entry::End(_)));
        disk.commit(&mut old, goes_on, 0).unwrap();
        assert_eq!(disk.commit(&mut new, entries(vec![step("ask")]), 0), Err(()));
        if !ends {
            disk.commit(&mut old, state("2"), 0).unwrap();
        }
    }
    assert_eq!(disk.recall(Keeping::default()).1.state, Some(json("3")));
}

#[test]
fn a_claim_is_refused_also_when_the_turns_since_were_removed_again() {
    let keeping = Keeping { interval: Some(1), history: 1 };
    let mut disk = Disk::default();
    let mut old = disk.recall(keeping).0;
    disk.commit(&mut old, state("0"), 0).unwrap();
    let mut new = disk.recall(keeping).0;
    for n in 1..300 {
        disk.commit(&mut old, state(&n.to_string()), 0).unwrap();
    }
    assert!(!disk.0.contains_key(&journal::key(2, 0)), "the turn after the one that was read is removed");
    assert_eq!(disk.commit(&mut new, state("other"), 0), Err(()));
}

#[test]
fn a_claim_alone_keeps_the_activation_before_from_writing() {
    let mut disk = Disk::default();
    let mut old = disk.recover();
    assert!(old.claim().is_none(), "there is nobody to take it from");
    disk.commit(&mut old, state("1"), 0).unwrap();
    let mut new = disk.recover();
    let claim = new.claim().unwrap();
    disk.apply(Outcome::Commit(claim)).unwrap();
    new.committed();
    assert!(new.claim().is_none());
    let stored = disk.0.get(EPOCH);
    assert!(new.is_current(stored) && !old.is_current(stored));
    assert_eq!(disk.commit(&mut old, state("2"), 0), Err(()));
    disk.commit(&mut new, state("3"), 0).unwrap();
    assert_eq!(disk.recall(Keeping::default()).1.state, Some(json("3")));
}

#[test]
fn a_journal_of_which_something_is_missing_is_not_read() {
    let keeping = Keeping { interval: Some(10), history: 1000 };
    let mut whole = Disk::default();
    let mut actor = whole.recall(keeping).0;
    for n in 0..100 {
        let turn = if actor.wants_state() { state(&n.to_string()) } else { entries(vec![begin("add"), end(None)]) };
        whole.commit(&mut actor, turn, 0).unwrap();
    }
    let first = whole.recall(keeping).0.anchor.turn;
    assert!(first > 1, "the anchor has moved");
    let told = |gone: &[u8]| {
        let mut disk = Disk(whole.0.clone());
        assert!(disk.0.remove(gone).is_some());
        let mut head = disk.scan(&Activation::recovery_range());
        head.truncate(Activation::RECOVERY);
        let recalled = Activation::recover(partition(), keeping, &head)
            .and_then(|mut actor| actor.recall(&disk.scan(&actor.journal_range())).map(drop));
        recalled.unwrap_err().to_string()
    };
    assert!(told(EPOCH).contains("none beside other records"));
    for turn in first..100 {
        assert!(told(&journal::key(turn, 0)).contains("journal"), "turn {turn}");
    }
}
