//! What is known of a partition between commits, and how batches are judged on it. No I/O.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use plexspaces_store::{Batch, Error, Outcome, Precondition, Write};

use super::head::Head;

/// Keys whose values are kept between commits, and the bytes of one at most: epochs and the like, which every commit requires.
const KEYS: usize = 64;
const VALUE: usize = 4 << 10;
/// What one transaction of the service holds: keys, less the head, and bytes.
pub(super) const ITEMS: usize = 99;
pub(super) const BYTES: usize = 2 << 20;
/// What an item has besides its key and its value: names, and the first key.
pub(super) const ITEM: usize = 1_024;
/// Keys that are read at once to judge batches, at least.
const READS: usize = 100;
/// Commits after which parts are looked for that nothing names, and notes of parts.
const SWEEP: (usize, usize) = (64, 16);

/// Values by their keys; none where there is no such key.
pub(super) type Values = HashMap<Bytes, Option<Bytes>>;

/// What is known of a partition. All of it is a guess until a commit requires its version.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The head, with nothing pending; none before it is read.
    pub(super) head: Option<Head>,
    /// Values at the version of the head.
    values: Values,
    /// The version that something may still make that was sent and not answered.
    pub(super) doubted: Option<u64>,
    /// Notes of parts that were in use when it was last looked for others.
    pub(super) used: usize,
    /// Notes that were made since, and commits.
    made: usize,
    since: usize,
}

impl Known {
    /// Forgets what is known of the entries; others have changed them.
    pub(super) fn forget(&mut self) {
        self.head = None;
        self.values.clear();
    }

    /// For the first of the batches: how many they are, the values that they require, as far as they are known, and the keys of the others.
    pub(super) fn required(&self, batches: &[&Batch]) -> (usize, Values, Vec<Bytes>) {
        let (mut count, mut values, mut missing) = (0, Values::new(), BTreeSet::new());
        for batch in batches {
            if missing.len() >= READS {
                break;
            }
            for precondition in &batch.preconditions {
                let (Precondition::Absent { key } | Precondition::Equals { key, .. }) = precondition;
                match self.values.get(key) {
                    Some(value) => drop(values.insert(key.clone(), value.clone())),
                    None => drop(missing.insert(key.clone())),
                }
            }
            count += 1;
        }
        (count, values, missing.into_iter().collect())
    }

    /// Takes over a commit that was made: the next head, what was required, and what was changed.
    pub(super) fn follow(&mut self, head: Head, required: Values, changes: &Changes) {
        let wanted = |length: usize| length <= VALUE;
        if self.values.len() + required.len() > KEYS {
            self.values.clear();
        }
        for (key, value) in required {
            if self.values.len() < KEYS && value.as_ref().is_none_or(|value| wanted(value.len())) {
                self.values.insert(key, value);
            }
        }
        for (key, value) in changes {
            if value.as_ref().is_none_or(|value| wanted(value.len())) {
                if let Some(known) = self.values.get_mut(key) {
                    known.clone_from(value);
                }
            } else {
                self.values.remove(key);
            }
        }
        self.head = Some(head);
        self.since += 1;
    }

    /// Notes were made.
    pub(super) fn noted(&mut self, notes: usize) {
        self.made += notes;
    }

    /// Notes were found that others have made, or this one at another time: they are looked at with the next commit.
    pub(super) fn found(&mut self, notes: usize) {
        if notes > 0 {
            self.made = self.made.max(notes);
            self.since = SWEEP.0 + self.used;
        }
    }

    /// Whether it is time to look for parts that nothing names. Each value in parts that is in use makes that rarer.
    pub(super) fn is_to_be_swept(&mut self) -> bool {
        let is_time = self.since >= SWEEP.0 + self.used || self.made >= SWEEP.1 + self.used;
        let is_to_be_swept = is_time && self.made + self.used > 0;
        if is_to_be_swept {
            (self.made, self.since) = (0, 0);
        }
        is_to_be_swept
    }
}

/// New values by their keys; none where one is removed.
pub(super) type Changes = BTreeMap<Bytes, Option<Bytes>>;

/// How batches fare that are committed together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Judged {
    /// The outcomes of the first of them, as many as go together.
    pub(super) outcomes: Vec<Outcome>,
    pub(super) changes: Changes,
}

/// Judges batches one after the other, each on what those before it leave, as long as their changes fit into one transaction; the first
/// one alone may be larger.
pub(super) fn judge(values: &Values, batches: &[&Batch]) -> Judged {
    let (mut changes, mut outcomes) = (Changes::new(), Vec::with_capacity(batches.len()));
    let mut bytes = 0;
    for batch in batches {
        let now = |key: &Bytes| changes.get(key).or_else(|| values.get(key)).and_then(Option::as_ref);
        let holds = |precondition: &Precondition| match precondition {
            Precondition::Absent { key } => now(key).is_none(),
            Precondition::Equals { key, value } => now(key) == Some(value),
        };
        if let Some(index) = batch.preconditions.iter().position(|precondition| !holds(precondition)) {
            outcomes.push(Err(Error::Precondition { index }));
            continue;
        }
        let added: usize = batch.writes.iter().map(|write| ITEM + weight(write)).sum();
        if !changes.is_empty() && (changes.len() + batch.writes.len() > ITEMS || bytes + added > BYTES) {
            break;
        }
        bytes += added;
        for write in &batch.writes {
            match write {
                Write::Put { key, value } => changes.insert(key.clone(), Some(value.clone())),
                Write::Delete { key } => changes.insert(key.clone(), None),
            };
        }
        outcomes.push(Ok(()));
    }
    Judged { outcomes, changes }
}

fn weight(write: &Write) -> usize {
    match write {
        Write::Put { key, value } => key.len() + value.len(),
        Write::Delete { key } => key.len(),
    }
}

#[cfg(test)]
mod tests {
    use plexspaces_store::Partition;

    use super::*;

    fn batch(required: Option<(&'static str, &'static str)>, put: &[(&'static str, &'static str)]) -> Batch {
        let mut batch = Batch::new(Partition::node("here"));
        if let Some((key, value)) = required {
            batch.require(key, Some(value.into()));
        }
        for (key, value) in put {
            batch.put(*key, *value);
        }
        batch
    }

    #[test]
    fn each_batch_is_judged_on_what_those_before_it_leave() {
        let batches = [
            batch(Some(("k", "1")), &[("k", "2"), ("l", "1")]),
            batch(Some(("k", "1")), &[("m", "no")]),
            batch(Some(("k", "2")), &[("k", "3")]),
        ];
        let batches: Vec<_> = batches.iter().collect();
        let known = Known::default();
        assert_eq!(known.required(&batches), (3, Values::new(), vec!["k".into()]));
        let values = Values::from([("k".into(), Some("1".into()))]);
        let Judged { outcomes, changes } = judge(&values, &batches);
        assert_eq!(outcomes, [Ok(()), Err(Error::Precondition { index: 0 }), Ok(())]);
        assert_eq!(changes, Changes::from([("k".into(), Some("3".into())), ("l".into(), Some("1".into()))]));
    }

    #[test]
    fn what_does_not_fit_into_one_transaction_waits_for_the_next() {
        let mut many = Batch::new(Partition::node("here"));
        for n in 0..ITEMS {
            many.put(n.to_string(), "1");
        }
        let large = batch(None, &[("k", "1")]);
        let judged = |batches: &[&Batch]| judge(&Values::new(), batches).outcomes.len();
        assert_eq!((judged(&[&many, &large]), judged(&[&large, &many]), judged(&[&large, &large])), (1, 1, 2));
        many.put("more", "1");
        assert_eq!(judged(&[&many, &large]), 1);
        let mut large = Batch::new(Partition::node("here"));
        large.put("k", vec![1; BYTES]);
        assert_eq!(judged(&[&large, &large]), 1);
    }

    #[test]
    fn what_commits_require_is_known_for_the_next() {
        let mut known = Known::default();
        let commit = batch(Some(("epoch", "1")), &[("epoch", "2"), ("k", "v")]);
        let values = Values::from([("epoch".into(), Some("1".into()))]);
        let Judged { changes, .. } = judge(&values, &[&commit]);
        known.follow(Head::default().next([1; 8]), values, &changes);
        let (_, values, missing) = known.required(&[&commit, &batch(Some(("k", "v")), &[])]);
        assert_eq!((values.get(&Bytes::from("epoch")), missing), (Some(&Some("2".into())), vec!["k".into()]));
        // What is large is read again.
        let values = Values::from([("state".into(), None)]);
        let changes = Changes::from([("state".into(), Some(vec![0_u8; VALUE + 1].into()))]);
        known.follow(Head::default().next([1; 8]), values, &changes);
        assert_eq!(known.required(&[&batch(Some(("state", "")), &[])]).2, ["state"]);
        known.forget();
        assert_eq!((known.head.is_some(), known.required(&[&commit]).2), (false, vec!["epoch".into()]));
    }

    #[test]
    fn parts_that_nothing_names_are_looked_for_now_and_then() {
        let mut known = Known::default();
        let commits = |known: &mut Known, notes: usize| {
            let mut swept = Vec::new();
            for n in 0..400 {
                known.follow(Head::default(), Values::new(), &Changes::new());
                known.noted(notes);
                if known.is_to_be_swept() {
                    swept.push(n);
                }
            }
            swept.len()
        };
        // Nothing where there never were any.
        assert_eq!((commits(&mut known, 0), commits(&mut known, 1)), (0, 25));
        known.used = 100;
        assert_eq!((commits(&mut known, 0), commits(&mut known, 1)), (2, 3));
        let mut known = Known::default();
        known.found(1);
        assert!(known.is_to_be_swept() && !known.is_to_be_swept());
    }
}
