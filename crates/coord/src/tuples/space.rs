//! The tuples themselves, found by how they begin.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use plexspaces_types::Failure;
use serde_json::Value;
use slab::Slab;
use smallvec::SmallVec;

use super::pattern::{self, Pattern, Start};

/// One tuple.
#[derive(Clone, Debug)]
pub(super) struct Tuple {
    /// The JSON array as it was written.
    text: SmallVec<[u8; 56]>,
    /// Of its elements. What belongs to a short tuple lies in one place, so that finding it touches little memory.
    hashes: SmallVec<[u64; 3]>,
    pub(super) expires_ms: Option<u64>,
    /// Where its row is.
    pub(super) bucket: u16,
}

impl Tuple {
    pub(super) fn parse(text: &str, expires_ms: Option<u64>) -> Result<Self, Failure> {
        let elements =
            elements(text).ok_or_else(|| Failure::invalid("tuple", format!("a tuple is a JSON array, found {}", excerpt(text))))?;
        pattern::check_length("tuple", elements.len())?;
        let hashes: SmallVec<[u64; 3]> = elements.iter().map(pattern::hash).collect();
        let bucket = pattern::bucket(&hashes);
        Ok(Self { text: SmallVec::from_slice(text.as_bytes()), hashes, expires_ms, bucket })
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.text).unwrap_or_default()
    }

    pub(super) fn starts(&self) -> impl Iterator<Item = Start> {
        pattern::starts(&self.hashes)
    }

    pub(super) fn is_meant_by(&self, pattern: &Pattern) -> bool {
        pattern.may_mean(&self.hashes) && elements(self.text()).is_some_and(|elements| pattern.means(&elements))
    }
}

fn elements(text: &str) -> Option<Vec<Value>> {
    serde_json::from_str(text).ok()
}

fn excerpt(text: &str) -> String {
    text.chars().take(60).collect()
}

/// All tuples that can be found. Each has a number: the order in which they were written.
#[derive(Default)]
pub(super) struct Space {
    tuples: Slab<(u64, Tuple)>,
    by_start: HashMap<Start, Places, BuildHasherDefault<AsItIs>>,
    expiring: BTreeSet<(u64, Place)>,
}

/// Where a tuple is: found without a second index, since what an index takes beyond the processor's cache is most of a search's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) number: u64,
    slot: usize,
}

/// A start is a hash already.
#[derive(Default)]
struct AsItIs(u64);

/// The places of tuples with one start: mostly one. There are about two of these for each tuple, so they are kept small.
enum Places {
    One(usize),
    Many(Box<Line>),
}

/// Places in the order of their numbers. Those in the middle stay when their tuples go, until they are half of all: a set that is always exact
/// costs more for each tuple the larger it is.
struct Line {
    places: VecDeque<Place>,
    gone: usize,
}

impl Space {
    pub(super) fn len(&self) -> usize {
        self.tuples.len()
    }

    pub(super) fn insert(&mut self, number: u64, tuple: Tuple) -> Place {
        let place = Place { number, slot: self.tuples.vacant_key() };
        let number_of = |slot: usize| self.tuples.get(slot).map(|(number, _)| *number);
        for start in tuple.starts() {
            match self.by_start.entry(start) {
                Entry::Occupied(mut places) => places.get_mut().insert(place, number_of),
                Entry::Vacant(places) => {
                    places.insert(Places::One(place.slot));
                }
            }
        }
        self.expiring.extend(tuple.expires_ms.map(|expires| (expires, place)));
        self.tuples.insert((number, tuple));
        place
    }

    pub(super) fn remove(&mut self, place: Place) -> Option<Tuple> {
        at(&self.tuples, place)?;
        let (_, tuple) = self.tuples.remove(place.slot);
        for start in tuple.starts() {
            if let Entry::Occupied(mut places) = self.by_start.entry(start)
                && places.get_mut().remove(|place| at(&self.tuples, place).is_some())
            {
                places.remove();
            }
        }
        if let Some(expires) = tuple.expires_ms {
            self.expiring.remove(&(expires, place));
        }
        Some(tuple)
    }

    /// The tuples that a pattern means, oldest first, after one with this number.
    pub(super) fn find<'a>(&'a self, pattern: &Pattern, after: Option<u64>) -> impl Iterator<Item = (Place, &'a Tuple)> {
        let (one, many) = match self.by_start.get(&pattern.start) {
            Some(Places::One(slot)) => {
                (self.tuples.get(*slot).map(|(number, tuple)| (Place { number: *number, slot: *slot }, tuple)), None)
            }
            Some(Places::Many(line)) => (None, Some(line.after(after))),
            None => (None, None),
        };
        let one = one.filter(|(place, _)| after.is_none_or(|after| place.number > after));
        let many = many.into_iter().flatten().filter_map(|place| Some((place, at(&self.tuples, place)?)));
        one.into_iter().chain(many).filter(|(_, tuple)| tuple.is_meant_by(pattern))
    }

    /// When the next tuple expires.
    pub(super) fn next_expiry(&self) -> Option<u64> {
        self.expiring.first().map(|(expires, _)| *expires)
    }

    /// A tuple whose time is over.
    pub(super) fn expired(&self, now_ms: u64) -> Option<Place> {
        self.expiring.first().filter(|(expires, _)| *expires <= now_ms).map(|(_, place)| *place)
    }
}

/// The tuple of this place, if it is still there.
fn at(tuples: &Slab<(u64, Tuple)>, place: Place) -> Option<&Tuple> {
    tuples.get(place.slot).filter(|(number, _)| *number == place.number).map(|(_, tuple)| tuple)
}

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, start: u64) {
        self.0 = start;
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |sum, byte| sum.rotate_left(8) ^ u64::from(*byte));
    }
}

impl Places {
    fn insert(&mut self, place: Place, number_of: impl Fn(usize) -> Option<u64>) {
        match self {
            Self::One(slot) => {
                let known = number_of(*slot).map(|number| Place { number, slot: *slot });
                let mut places: VecDeque<Place> = known.into_iter().chain([place]).collect();
                places.make_contiguous().sort_unstable();
                *self = Self::Many(Box::new(Line { places, gone: 0 }));
            }
            Self::Many(line) => line.insert(place),
        }
    }

    /// Forgets a tuple that is not there any more; true when none is left.
    fn remove(&mut self, is_there: impl Fn(Place) -> bool) -> bool {
        match self {
            Self::One(_) => true,
            Self::Many(line) => line.forget_one(is_there),
        }
    }
}

impl Line {
    fn insert(&mut self, place: Place) {
        if self.places.back().is_none_or(|last| last.number < place.number) {
            return self.places.push_back(place);
        }
        match self.places.binary_search_by_key(&place.number, |place| place.number) {
            // One that comes back before its place was forgotten.
            Ok(index) => {
                if let Some(known) = self.places.get_mut(index) {
                    *known = place;
                }
                self.gone -= 1;
            }
            Err(index) => self.places.insert(index, place),
        }
    }

    fn after(&self, after: Option<u64>) -> impl Iterator<Item = Place> {
        let from = after.map_or(0, |after| self.places.partition_point(|place| place.number <= after));
        self.places.range(from..).copied()
    }

    fn forget_one(&mut self, is_there: impl Fn(Place) -> bool) -> bool {
        self.gone += 1;
        while self.places.front().is_some_and(|place| !is_there(*place)) {
            self.places.pop_front();
            self.gone -= 1;
        }
        if self.gone * 2 > self.places.len() {
            self.places.retain(|place| is_there(*place));
            self.places.shrink_to(self.places.len() * 2);
            self.gone = 0;
        }
        self.places.is_empty()
    }
}
