//! Those who wait for a tuple that is not there yet.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::pattern::{Pattern, Start};
use super::space::Tuple;

/// Somebody who waits.
pub(super) struct Waiter {
    pub(super) ticket: u64,
    pub(super) pattern: Pattern,
    pub(super) wish: Wish,
    pub(super) after: Option<u64>,
    pub(super) until_ms: u64,
}

/// What a waiter does with the tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Read,
    Take { lease_ms: Option<u64> },
}

/// All who wait, found by how the tuple begins that they wait for. Tickets are given in the order of requests.
#[derive(Default)]
pub(super) struct Waiters {
    by_start: HashMap<Start, BTreeMap<u64, Waiter>>,
    ends: BTreeSet<(u64, u64, Start)>,
}

impl Waiters {
    pub(super) fn add(&mut self, waiter: Waiter) {
        let start = waiter.pattern.start;
        self.ends.insert((waiter.until_ms, waiter.ticket, start));
        self.by_start.entry(start).or_default().insert(waiter.ticket, waiter);
    }

    /// Takes one out.
    pub(super) fn remove(&mut self, start: Start, ticket: u64) -> Option<Waiter> {
        let waiters = self.by_start.get_mut(&start)?;
        let waiter = waiters.remove(&ticket)?;
        if waiters.is_empty() {
            self.by_start.remove(&start);
        }
        self.ends.remove(&(waiter.until_ms, ticket, start));
        Some(waiter)
    }

    /// Who waits for this tuple, longest first.
    pub(super) fn waiting_for(&self, tuple: &Tuple, number: u64) -> Vec<(u64, Start)> {
        let waiting = tuple.starts().filter_map(|start| self.by_start.get(&start));
        let fits = |waiter: &&Waiter| waiter.after.is_none_or(|after| number > after) && tuple.is_meant_by(&waiter.pattern);
        let mut fitting: Vec<(u64, Start)> =
            waiting.flat_map(BTreeMap::values).filter(fits).map(|waiter| (waiter.ticket, waiter.pattern.start)).collect();
        fitting.sort_unstable();
        fitting
    }

    pub(super) fn next_end(&self) -> Option<u64> {
        self.ends.first().map(|(until, ..)| *until)
    }

    /// Takes out one who has waited long enough.
    pub(super) fn over(&mut self, now_ms: u64) -> Option<Waiter> {
        let (_, ticket, start) = *self.ends.first().filter(|(until, ..)| *until <= now_ms)?;
        self.remove(start, ticket)
    }
}
