//! The tuples themselves, found by how they begin.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use plexspaces_types::Failure;
use serde_json::Value;

use super::pattern::{self, Pattern, Start};

/// One tuple.
#[derive(Clone, Debug)]
pub(super) struct Tuple {
    /// The JSON array as it was written.
    pub(super) text: Box<str>,
    /// Of its elements.
    hashes: Box<[u64]>,
    pub(super) expires_ms: Option<u64>,
}

impl Tuple {
    pub(super) fn parse(text: &str, expires_ms: Option<u64>) -> Result<Self, Failure> {
        let elements =
            elements(text).ok_or_else(|| Failure::invalid("tuple", format!("a tuple is a JSON array, found {}", excerpt(text))))?;
        pattern::check_length("tuple", elements.len())?;
        Ok(Self { text: text.into(), hashes: elements.iter().map(pattern::hash).collect(), expires_ms })
    }

    pub(super) fn starts(&self) -> impl Iterator<Item = Start> {
        pattern::starts(&self.hashes)
    }

    pub(super) fn is_meant_by(&self, pattern: &Pattern) -> bool {
        pattern.may_mean(&self.hashes) && elements(&self.text).is_some_and(|elements| pattern.means(&elements))
    }
}

fn elements(text: &str) -> Option<Vec<Value>> {
    serde_json::from_str(text).ok()
}

fn excerpt(text: &str) -> String {
    text.chars().take(60).collect()
}

/// All tuples that can be found, in the order in which they were written.
#[derive(Default)]
pub(super) struct Space {
    tuples: BTreeMap<u64, Tuple>,
    by_start: HashMap<Start, Numbers>,
    expiring: BTreeSet<(u64, u64)>,
}

/// The numbers of tuples with one start: mostly one.
enum Numbers {
    One(u64),
    Many(BTreeSet<u64>),
}

impl Space {
    pub(super) fn len(&self) -> usize {
        self.tuples.len()
    }

    pub(super) fn insert(&mut self, number: u64, tuple: Tuple) {
        for start in tuple.starts() {
            self.by_start.entry(start).and_modify(|numbers| numbers.insert(number)).or_insert(Numbers::One(number));
        }
        self.expiring.extend(tuple.expires_ms.map(|expires| (expires, number)));
        self.tuples.insert(number, tuple);
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Tuple> {
        let tuple = self.tuples.remove(&number)?;
        for start in tuple.starts() {
            if self.by_start.get_mut(&start).is_some_and(|numbers| numbers.remove(number)) {
                self.by_start.remove(&start);
            }
        }
        if let Some(expires) = tuple.expires_ms {
            self.expiring.remove(&(expires, number));
        }
        Some(tuple)
    }

    /// The tuples that a pattern means, oldest first, after one with this number.
    pub(super) fn find<'a>(&'a self, pattern: &Pattern, after: Option<u64>) -> impl Iterator<Item = (u64, &'a Tuple)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let numbers = self.by_start.get(&pattern.start);
        let one = numbers.and_then(|numbers| match numbers {
            Numbers::One(number) if after.is_none_or(|after| *number > after) => Some(*number),
            _ => None,
        });
        let many = numbers.and_then(|numbers| match numbers {
            Numbers::Many(numbers) => Some(numbers.range((from, Bound::Unbounded)).copied()),
            Numbers::One(_) => None,
        });
        let found = one.into_iter().chain(many.into_iter().flatten());
        found.filter_map(|number| Some((number, self.tuples.get(&number)?))).filter(|(_, tuple)| tuple.is_meant_by(pattern))
    }

    /// When the next tuple expires.
    pub(super) fn next_expiry(&self) -> Option<u64> {
        self.expiring.first().map(|(expires, _)| *expires)
    }

    /// The number of a tuple whose time is over.
    pub(super) fn expired(&self, now_ms: u64) -> Option<u64> {
        self.expiring.first().filter(|(expires, _)| *expires <= now_ms).map(|(_, number)| *number)
    }
}

impl Numbers {
    fn insert(&mut self, number: u64) {
        match self {
            Self::One(known) => *self = Self::Many(BTreeSet::from([*known, number])),
            Self::Many(numbers) => drop(numbers.insert(number)),
        }
    }

    /// True when none is left.
    fn remove(&mut self, number: u64) -> bool {
        match self {
            Self::One(known) => *known == number,
            Self::Many(numbers) => {
                numbers.remove(&number);
                if let (1, Some(last)) = (numbers.len(), numbers.first()) {
                    *self = Self::One(*last);
                }
                false
            }
        }
    }
}
