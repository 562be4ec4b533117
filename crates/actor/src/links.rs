//! Who hears of whose end.
//!
//! The table is the node's and not the actor's: a passivated actor keeps its watches. An actor that nobody watches costs nothing here.
//!
//! An actor that ends first refuses everything and then takes its ties out of the table; whoever ties itself to one does it first and then
//! looks whether the other still lives. So one of the two always sees the other, and every tie is told of once (`tests/lives_model.rs`).

use std::collections::{HashMap, HashSet};

use plexspaces_types::ActorId;

use crate::sync::Mutex;

/// Watches and links of one actor; more than this is a mistake of its code.
const MAX_TIES: usize = 100_000;

pub(crate) struct Links {
    /// Tells the references of this run of the node from those that an actor has stored in an earlier one.
    run: u32,
    table: Mutex<Table>,
}

impl Default for Links {
    fn default() -> Self {
        Self { run: rand::random(), table: Mutex::new(Table::default()) }
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

/// What came of an actor's wish to be tied to another.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Tied<T> {
    /// It will be told of the other's end, or has been.
    Yes(T),
    /// The other has ended and nobody will tell of it.
    Gone(T),
    TooMany,
}

impl Links {
    /// Watches an actor that may be ending.
    pub(crate) fn monitor(&self, watcher: &ActorId, target: &ActorId, lives: impl FnOnce() -> bool) -> Tied<String> {
        let Some(reference) = self.watch(watcher, target) else { return Tied::TooMany };
        let gone = !lives() && self.unwatch(watcher, reference);
        let printed = self.print(reference);
        if gone { Tied::Gone(printed) } else { Tied::Yes(printed) }
    }

    /// Watches an actor for a service: once, however often it is asked for, and without a bound of its own.
    pub(crate) fn monitor_for_system(&self, system: &ActorId, target: &ActorId, lives: impl FnOnce() -> bool) -> bool {
        let reference = {
            let mut table = self.table.lock();
            let watchers = table.actors.get(target).into_iter().flat_map(|ties| ties.watchers.values());
            if watchers.into_iter().any(|watcher| watcher == system) { None } else { Some(table.watch(system, target)) }
        };
        lives() || !reference.is_some_and(|reference| self.unwatch(system, reference))
    }

    fn watch(&self, watcher: &ActorId, target: &ActorId) -> Option<u64> {
        let mut table = self.table.lock();
        if table.actors.get(watcher).is_some_and(|ties| ties.watching.len() >= MAX_TIES) {
            return None;
        }
        Some(table.watch(watcher, target))
    }

    /// Ends a watch of this watcher, if there is one with the reference.
    pub(crate) fn demonitor(&self, watcher: &ActorId, reference: &str) {
        if let Some(reference) = self.parse(reference) {
            self.unwatch(watcher, reference);
        }
    }

    /// Ends a watch; false when it was over.
    fn unwatch(&self, watcher: &ActorId, reference: u64) -> bool {
        let mut table = self.table.lock();
        let Some(target) = table.actors.get_mut(watcher).and_then(|ties| ties.watching.remove(&reference)) else { return false };
        if let Some(ties) = table.actors.get_mut(&target) {
            ties.watchers.remove(&reference);
        }
        table.tidy(watcher);
        table.tidy(&target);
        true
    }

    /// Ties an actor to another that may be ending.
    pub(crate) fn link(&self, one: &ActorId, other: &ActorId, lives: impl FnOnce() -> bool) -> Tied<()> {
        if !self.tie(one, other) {
            return Tied::TooMany;
        }
        if !lives() && self.untie(one, other) { Tied::Gone(()) } else { Tied::Yes(()) }
    }

    fn tie(&self, one: &ActorId, other: &ActorId) -> bool {
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
        self.untie(one, other);
    }

    /// Unties two actors; false when they were not tied.
    fn untie(&self, one: &ActorId, other: &ActorId) -> bool {
        let mut table = self.table.lock();
        let mut were_tied = false;
        for (id, peer) in [(one, other), (other, one)] {
            if let Some(ties) = table.actors.get_mut(id) {
                were_tied |= ties.peers.remove(peer);
            }
            table.tidy(id);
        }
        were_tied
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

    /// The actors with ties for which this holds.
    pub(crate) fn actors(&self, holds: impl Fn(&ActorId) -> bool) -> Vec<ActorId> {
        self.table.lock().actors.keys().filter(|id| holds(id)).cloned().collect()
    }

    /// The node ends: nobody is told.
    pub(crate) fn end(&self) {
        self.table.lock().actors.clear();
    }

    /// How many watches there are.
    pub(crate) fn watches(&self) -> usize {
        self.table.lock().actors.values().map(|ties| ties.watchers.len()).sum()
    }

    /// How many actors have ties.
    pub(crate) fn len(&self) -> usize {
        self.table.lock().actors.len()
    }
}

impl Table {
    fn watch(&mut self, watcher: &ActorId, target: &ActorId) -> u64 {
        self.next_watch += 1;
        let reference = self.next_watch;
        self.ties(target).watchers.insert(reference, watcher.clone());
        self.ties(watcher).watching.insert(reference, target.clone());
        reference
    }

    fn ties(&mut self, id: &ActorId) -> &mut Ties {
        self.actors.entry(id.clone()).or_default()
    }

    fn tidy(&mut self, id: &ActorId) {
        if self.actors.get(id).is_some_and(|ties| ties.watchers.is_empty() && ties.watching.is_empty() && ties.peers.is_empty()) {
            self.actors.remove(id);
        }
    }
}
