//! Requests that wait for something, longest first, until their time is over.

use std::collections::{BTreeMap, BTreeSet};

/// Requests by their tickets, which are given in the order of requests.
pub(crate) struct Waiting<T> {
    waiters: BTreeMap<u64, (u64, T)>,
    ends: BTreeSet<(u64, u64)>,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self { waiters: BTreeMap::new(), ends: BTreeSet::new() }
    }
}

impl<T> Waiting<T> {
    pub(crate) fn add(&mut self, ticket: u64, until_ms: u64, wish: T) {
        self.ends.insert((until_ms, ticket));
        self.waiters.insert(ticket, (until_ms, wish));
    }

    /// Takes one out, with the end of its time.
    pub(crate) fn remove(&mut self, ticket: u64) -> Option<(u64, T)> {
        let (until_ms, wish) = self.waiters.remove(&ticket)?;
        self.ends.remove(&(until_ms, ticket));
        Some((until_ms, wish))
    }

    /// Takes out the first that is wanted.
    pub(crate) fn first(&mut self, mut wanted: impl FnMut(u64, &T) -> bool) -> Option<(u64, T)> {
        let ticket = self.waiters.iter().find(|(ticket, (_, wish))| wanted(**ticket, wish)).map(|(ticket, _)| *ticket)?;
        self.remove(ticket).map(|(_, wish)| (ticket, wish))
    }

    /// The tickets of all.
    pub(crate) fn all(&self) -> Vec<u64> {
        self.waiters.keys().copied().collect()
    }

    /// The tickets of those that are wanted.
    pub(crate) fn of(&self, wanted: impl Fn(&T) -> bool) -> Vec<u64> {
        self.waiters.iter().filter(|(_, (_, wish))| wanted(wish)).map(|(ticket, _)| *ticket).collect()
    }

    pub(crate) fn next_end(&self) -> Option<u64> {
        self.ends.first().map(|(until_ms, _)| *until_ms)
    }

    /// Takes out one whose time is over.
    pub(crate) fn over(&mut self, now_ms: u64) -> Option<(u64, T)> {
        let (_, ticket) = *self.ends.first().filter(|(until_ms, _)| *until_ms <= now_ms)?;
        self.remove(ticket).map(|(_, wish)| (ticket, wish))
    }
}
