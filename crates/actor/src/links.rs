//! Who hears of whose end.
//!
//! The table is the node's and not the actor's: a passivated actor keeps its watches. An actor that nobody watches costs nothing here.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;
use plexspaces_types::ActorId;

/// Watches and links of one actor; more than this is a mistake of its code.
const MAX_TIES: usize = 100_000;

pub(crate) struct Links {
    /// Tells the references of this run of the node from those that an actor has stored in an earlier one.
    run: u32,
    table: Mutex<Table>,
}

impl Default for Links {
    fn default() -> Self {
        Self { run: rand::random(), table: Mutex::default() }
    }
}

#[derive(Default)]
struct Table {
    actors: HashMap<ActorId, Ties>,
    next_watch: u64,
}

#[derive(Default)]
struct Ties {
    /// Who watches it, by reference.
    watchers: HashMap<u64, ActorId>,
    /// Whom it watches, by reference.
    watching: HashMap<u64, ActorId>,
    peers: HashSet<ActorId>,
}

/// Whom an end is to be told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Mourners {
    /// Watchers, each with the reference of its watch.
    pub(crate) watchers: Vec<(String, ActorId)>,
    /// Peers of links.
    pub(crate) peers: Vec<ActorId>,
}

impl Links {
    /// Watches an actor; `None` when the watcher watches too many.
    pub(crate) fn monitor(&self, watcher: &ActorId, target: &ActorId) -> Option<String> {
        let mut table = self.table.lock();
        if table.actors.get(watcher).is_some_and(|ties| ties.watching.len() >= MAX_TIES) {
            return None;
        }
        table.next_watch += 1;
        let reference = table.next_watch;
        table.ties(target).watchers.insert(reference, watcher.clone());
        table.ties(watcher).watching.insert(reference, target.clone());
        Some(self.print(reference))
    }

    /// Ends a watch of this watcher, if there is one with the reference.
    pub(crate) fn demonitor(&self, watcher: &ActorId, reference: &str) {
        let Some(reference) = self.parse(reference) else { return };
        let mut table = self.table.lock();
        let Some(target) = table.actors.get_mut(watcher).and_then(|ties| ties.watching.remove(&reference)) else { return };
        if let Some(ties) = table.actors.get_mut(&target) {
            ties.watchers.remove(&reference);
        }
        table.tidy(watcher);
        table.tidy(&target);
    }

    /// Ties two actors; `false` when one of them has too many.
    pub(crate) fn link(&self, one: &ActorId, other: &ActorId) -> bool {
        let mut table = self.table.lock();
        if table.ties(one).peers.contains(other) || one == other {
            return true;
        }
        let free = [one, other].iter().all(|id| table.actors.get(id).is_none_or(|ties| ties.peers.len() < MAX_TIES));
        if free {
            table.ties(one).peers.insert(other.clone());
            table.ties(other).peers.insert(one.clone());
        }
        free
    }

    pub(crate) fn unlink(&self, one: &ActorId, other: &ActorId) {
        let mut table = self.table.lock();
        for (id, peer) in [(one, other), (other, one)] {
            if let Some(ties) = table.actors.get_mut(id) {
                ties.peers.remove(peer);
            }
            table.tidy(id);
        }
    }

    /// The actor's incarnation has ended: all its ties with it.
    pub(crate) fn ended(&self, id: &ActorId) -> Mourners {
        let mut table = self.table.lock();
        let Some(ties) = table.actors.remove(id) else { return Mourners::default() };
        for (reference, target) in ties.watching {
            if let Some(watched) = table.actors.get_mut(&target) {
                watched.watchers.remove(&reference);
            }
            table.tidy(&target);
        }
        for (reference, watcher) in &ties.watchers {
            if let Some(known) = table.actors.get_mut(watcher) {
                known.watching.remove(reference);
            }
            table.tidy(watcher);
        }
        for peer in &ties.peers {
            if let Some(known) = table.actors.get_mut(peer) {
                known.peers.remove(id);
            }
            table.tidy(peer);
        }
        let mut watchers: Vec<_> = ties.watchers.into_iter().filter(|(_, watcher)| watcher != id).collect();
        watchers.sort_unstable_by_key(|(reference, _)| *reference);
        Mourners {
            watchers: watchers.into_iter().map(|(reference, watcher)| (self.print(reference), watcher)).collect(),
            peers: ties.peers.into_iter().collect(),
        }
    }

    /// The reference of a watch of nobody.
    pub(crate) fn reference(&self) -> String {
        let mut table = self.table.lock();
        table.next_watch += 1;
        self.print(table.next_watch)
    }

    fn print(&self, reference: u64) -> String {
        format!("monitor-{:08x}-{reference}", self.run)
    }

    fn parse(&self, text: &str) -> Option<u64> {
        let (run, reference) = text.strip_prefix("monitor-")?.split_once('-')?;
        if u32::from_str_radix(run, 16) == Ok(self.run) { reference.parse().ok() } else { None }
    }

    /// How many actors have ties.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.table.lock().actors.len()
    }
}

impl Table {
    fn ties(&mut self, id: &ActorId) -> &mut Ties {
        self.actors.entry(id.clone()).or_default()
    }

    fn tidy(&mut self, id: &ActorId) {
        if self.actors.get(id).is_some_and(|ties| ties.watchers.is_empty() && ties.watching.is_empty() && ties.peers.is_empty()) {
            self.actors.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use plexspaces_types::{Key, Name};

    use super::*;

    fn id(key: &str) -> ActorId {
        let name = |text| Name::new("name", text).unwrap();
        ActorId::new(name("t"), name("n"), name("a"), Key::new(key).unwrap())
    }

    #[test]
    fn an_end_is_told_to_watchers_in_their_order_and_to_peers() {
        let links = Links::default();
        let first = links.monitor(&id("w"), &id("x")).unwrap();
        let second = links.monitor(&id("v"), &id("x")).unwrap();
        assert!(links.link(&id("x"), &id("p")) && links.link(&id("p"), &id("x")));
        let told = links.ended(&id("x"));
        assert_eq!(told, Mourners { watchers: vec![(first, id("w")), (second, id("v"))], peers: vec![id("p")] });
        assert_eq!((links.ended(&id("x")), links.len()), (Mourners::default(), 0));
    }

    #[test]
    fn what_was_taken_back_is_not_told_and_taking_back_twice_does_nothing() {
        let links = Links::default();
        let watch = links.monitor(&id("w"), &id("x")).unwrap();
        links.link(&id("x"), &id("p"));
        for _ in 0..2 {
            links.demonitor(&id("w"), &watch);
            links.unlink(&id("p"), &id("x"));
        }
        links.demonitor(&id("w"), "nonsense");
        assert_eq!((links.ended(&id("x")), links.len()), (Mourners::default(), 0));
    }

    #[test]
    fn nobody_takes_back_anothers_watch() {
        let links = Links::default();
        let watch = links.monitor(&id("w"), &id("x")).unwrap();
        links.demonitor(&id("v"), &watch);
        assert_eq!(links.ended(&id("x")).watchers, [(watch, id("w"))]);
    }

    #[test]
    fn a_watcher_that_has_ended_hears_nothing() {
        let links = Links::default();
        links.monitor(&id("w"), &id("x")).unwrap();
        links.ended(&id("w"));
        assert_eq!((links.ended(&id("x")), links.len()), (Mourners::default(), 0));
    }
}
