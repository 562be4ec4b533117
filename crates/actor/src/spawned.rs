//! Actors of one type that were spawned: their arguments as long as they live, and the names of those that were ended.
//!
//! A name that nobody has spawned is a virtual actor's, which its first message brings to life. One that was spawned and ended means nobody
//! until it is spawned again, as in Erlang.

use std::collections::{BTreeMap, HashMap};

use parking_lot::RwLock;
use plexspaces_types::Key;
use serde_json::{Map, Value};

/// Names of ended actors that are remembered for each type. Of the one that ended longest ago it is forgotten that it was ever spawned.
const REMEMBERED: usize = 10_000;

#[derive(Default)]
pub(crate) struct Spawned(RwLock<Names>);

#[derive(Default)]
struct Names {
    living: HashMap<Key, Map<String, Value>>,
    /// With the number of its end.
    ended: HashMap<Key, u64>,
    ends: BTreeMap<u64, Key>,
    next_end: u64,
}

impl Spawned {
    /// An actor begins to live under this name.
    pub(crate) fn begins(&self, key: &Key, args: Map<String, Value>) {
        let mut names = self.0.write();
        names.forget_end(key);
        names.living.insert(key.clone(), args);
    }

    /// The actor never came to live.
    pub(crate) fn failed(&self, key: &Key) {
        self.0.write().living.remove(key);
    }

    /// The actor has ended; false when it was not spawned, or has ended before.
    pub(crate) fn ended(&self, key: &Key) -> bool {
        if !self.0.read().living.contains_key(key) {
            return false;
        }
        let mut names = self.0.write();
        if names.living.remove(key).is_none() {
            return false;
        }
        let end = names.next_end;
        names.next_end += 1;
        names.ended.insert(key.clone(), end);
        names.ends.insert(end, key.clone());
        if names.ends.len() > REMEMBERED
            && let Some((_, oldest)) = names.ends.pop_first()
        {
            names.ended.remove(&oldest);
        }
        true
    }

    /// Whether the name is that of an actor that was spawned and has ended.
    pub(crate) fn has_ended(&self, key: &Key) -> bool {
        self.0.read().ended.contains_key(key)
    }

    /// The arguments of a spawned actor.
    pub(crate) fn args(&self, key: &Key) -> Option<Map<String, Value>> {
        self.0.read().living.get(key).cloned()
    }
}

impl Names {
    fn forget_end(&mut self, key: &Key) {
        if let Some(end) = self.ended.remove(key) {
            self.ends.remove(&end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_ended_actors_are_remembered_up_to_a_bound() {
        let spawned = Spawned::default();
        let key = |number: usize| Key::new(&number.to_string()).unwrap();
        for number in 0..=REMEMBERED {
            // One that is spawned again and again takes one place.
            for number in [number, REMEMBERED + 1] {
                spawned.begins(&key(number), Map::new());
                assert!(spawned.ended(&key(number)) && !spawned.ended(&key(number)));
            }
        }
        let names = spawned.0.read();
        assert_eq!((names.ended.len(), names.ends.len(), names.living.len()), (REMEMBERED, REMEMBERED, 0));
        drop(names);
        assert!(!spawned.has_ended(&key(0)) && spawned.has_ended(&key(REMEMBERED)) && spawned.has_ended(&key(REMEMBERED + 1)));
        spawned.begins(&key(REMEMBERED), Map::new());
        assert!(!spawned.has_ended(&key(REMEMBERED)));
    }
}
