//! The tuples themselves, found by how they begin.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};

use plexspaces_types::Failure;
use serde_json::Value;
use smallvec::SmallVec;

use super::pattern::{self, Pattern, Start};

/// One tuple.
#[derive(Clone, Debug)]
pub(super) struct Tuple {
    /// The JSON array as it was written.
    pub(super) text: Box<str>,
    /// Of its elements. Those of a short tuple lie beside it, so that finding it touches less memory.
    hashes: SmallVec<[u64; 3]>,
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

/// All tuples that can be found, by number: the order in which they were written.
#[derive(Default)]
pub(super) struct Space {
    tuples: HashMap<u64, Tuple>,
    by_start: HashMap<Start, Numbers>,
    expiring: BTreeSet<(u64, u64)>,
}

/// The numbers of tuples with one start: mostly one. There are about two of these for each tuple, so they are kept small.
enum Numbers {
    One(u64),
    Many(Box<Line>),
}

/// Numbers in their order. Those in the middle stay when their tuples go, until they are half of all: a set that is always exact costs more for
/// each tuple the larger it is.
struct Line {
    numbers: VecDeque<u64>,
    gone: usize,
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
        let (tuples, by_start) = (&self.tuples, &mut self.by_start);
        for start in tuple.starts() {
            if let Entry::Occupied(mut numbers) = by_start.entry(start)
                && numbers.get_mut().remove(|number| tuples.contains_key(&number))
            {
                numbers.remove();
            }
        }
        if let Some(expires) = tuple.expires_ms {
            self.expiring.remove(&(expires, number));
        }
        Some(tuple)
    }

    /// The tuples that a pattern means, oldest first, after one with this number.
    pub(super) fn find<'a>(&'a self, pattern: &Pattern, after: Option<u64>) -> impl Iterator<Item = (u64, &'a Tuple)> {
        let numbers = self.by_start.get(&pattern.start);
        let one = numbers.and_then(|numbers| match numbers {
            Numbers::One(number) if after.is_none_or(|after| *number > after) => Some(*number),
            _ => None,
        });
        let many = numbers.and_then(|numbers| match numbers {
            Numbers::Many(line) => Some(line.after(after)),
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
            Self::One(known) => {
                let numbers = VecDeque::from([number.min(*known), number.max(*known)]);
                *self = Self::Many(Box::new(Line { numbers, gone: 0 }));
            }
            Self::Many(line) => line.insert(number),
        }
    }

    /// Forgets a tuple that is not there any more; true when none is left.
    fn remove(&mut self, is_there: impl Fn(u64) -> bool) -> bool {
        match self {
            Self::One(_) => true,
            Self::Many(line) => line.forget_one(is_there),
        }
    }
}

impl Line {
    fn insert(&mut self, number: u64) {
        if self.numbers.back().is_none_or(|last| *last < number) {
            return self.numbers.push_back(number);
        }
        match self.numbers.binary_search(&number) {
            // One that comes back before its place was forgotten.
            Ok(_) => self.gone -= 1,
            Err(place) => self.numbers.insert(place, number),
        }
    }

    fn after(&self, after: Option<u64>) -> impl Iterator<Item = u64> {
        let from = after.map_or(0, |after| self.numbers.partition_point(|number| *number <= after));
        self.numbers.range(from..).copied()
    }

    fn forget_one(&mut self, is_there: impl Fn(u64) -> bool) -> bool {
        self.gone += 1;
        while self.numbers.front().is_some_and(|number| !is_there(*number)) {
            self.numbers.pop_front();
            self.gone -= 1;
        }
        if self.gone * 2 > self.numbers.len() {
            self.numbers.retain(|number| is_there(*number));
            self.numbers.shrink_to(self.numbers.len() * 2);
            self.gone = 0;
        }
        self.numbers.is_empty()
    }
}
