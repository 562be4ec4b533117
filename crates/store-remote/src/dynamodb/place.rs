//! The partitions that are in use.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use plexspaces_store::{Error, Partition};
use tokio::sync::{Mutex as Held, MutexGuard};
use tokio::time::{Instant, timeout_at};

use super::known::Known;

/// Partitions of which something is remembered, at most.
const PLACES: usize = 10_000;

/// One partition.
#[derive(Debug, Default)]
pub(super) struct Place {
    known: Held<Known>,
    /// Something may still happen of which nobody knows.
    pub(super) doubted: AtomicBool,
    /// One more than the highest version that was seen with nothing pending.
    seen: AtomicU64,
    used: AtomicU64,
}

impl Place {
    /// What is known of it, for who changes it.
    pub(super) async fn lock(&self, deadline: Instant) -> Result<MutexGuard<'_, Known>, Error> {
        let late = |_| Error::Unavailable("the database is too slow: a partition was in use for too long".to_owned());
        timeout_at(deadline, self.known.lock()).await.map_err(late)
    }

    /// The highest version that was seen with nothing pending.
    pub(super) fn seen(&self) -> Option<u64> {
        self.seen.load(Ordering::Acquire).checked_sub(1)
    }

    pub(super) fn saw(&self, version: u64) {
        self.seen.fetch_max(version.saturating_add(1), Ordering::AcqRel);
    }
}

/// Those that are remembered.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<(HashMap<Partition, Arc<Place>>, u64)>);

impl Places {
    pub(super) fn take(&self, here: &Partition) -> Arc<Place> {
        let mut places = self.0.lock();
        let (places, clock) = &mut *places;
        *clock += 1;
        if let Some(place) = places.get(here) {
            place.used.store(*clock, Ordering::Relaxed);
            return place.clone();
        }
        if places.len() >= PLACES {
            // Half of them go, those that were used longest ago; one in use stays, and one that is in doubt.
            let mut times: Vec<u64> = places.values().map(|place| place.used.load(Ordering::Relaxed)).collect();
            let (_, middle, _) = times.select_nth_unstable(PLACES / 2);
            let middle = *middle;
            places.retain(|_, place| {
                let is_recent = place.used.load(Ordering::Relaxed) > middle;
                is_recent || Arc::strong_count(place) > 1 || place.doubted.load(Ordering::Acquire)
            });
        }
        let place = Arc::new(Place { used: AtomicU64::new(*clock), ..Place::default() });
        places.insert(here.clone(), place.clone());
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_is_forgotten() {
        let places = Places::default();
        let partition = |n: usize| Partition::node(&n.to_string());
        let (held, doubted) = (places.take(&partition(0)), places.take(&partition(1)));
        doubted.doubted.store(true, Ordering::Release);
        drop(doubted);
        for n in 0..3 * PLACES {
            places.take(&partition(n)).saw(7);
            assert!(places.0.lock().0.len() <= PLACES + 2);
        }
        assert_eq!((held.seen(), Arc::ptr_eq(&held, &places.take(&partition(0)))), (Some(7), true));
        let seen = |n| places.take(&partition(n)).seen();
        assert_eq!((seen(1), seen(2), seen(3 * PLACES - 1)), (Some(7), None, Some(7)));
    }
}
