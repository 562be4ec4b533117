//! Makes room: when the node's memory or its places for actors become scarce, those that were used longest ago leave memory.
//!
//! From the memory that is in use follows how many actors fit. One that comes takes a place; when there is none it waits for one, so that
//! memory stays within the budget however fast actors come. A few places are kept free, so that it seldom has to.

use std::sync::atomic::AtomicUsize;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::*;

/// How often the memory is looked at when nothing comes.
const PERIOD: Duration = Duration::from_millis(250);

/// What one actor is taken to need at least, so that few are sent away at a time when nothing is known of them.
const LEAST_BYTES: u64 = 64 << 10;

/// So many actors may always be in memory: what else the node needs cannot push all of them out.
const LEAST_ACTORS: usize = 16;

/// When fewer places than the first are free, so many are freed that the second are; of few places there are fewer.
const FREE: (usize, usize) = (4, 6);
const FREE_PART: (usize, usize) = (64, 32);

/// How long an actor waits for a place. It comes in without one then: nobody has left who could.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long those that were sent away are waited for before others are.
const LEAVING: Duration = Duration::from_millis(100);

/// How much the actors of a node may take up together. Only actors that lose nothing by it leave memory: durable ones and those with an idle
/// time-out, unless they are eager.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Resident memory of the process in bytes.
    pub memory_bytes: Option<u64>,
    /// Actors whose code is in memory.
    pub actors: Option<usize>,
}

pub(crate) struct Pressure {
    /// Actors whose code is in memory, or on its way there.
    live: AtomicUsize,
    /// How many of them there is room for.
    fits: AtomicUsize,
    /// Actors that wait for a place.
    waiting: AtomicUsize,
    /// How many have left so far.
    gone: AtomicUsize,
    look: Notify,
    left: Notify,
}

impl Default for Pressure {
    fn default() -> Self {
        Self {
            live: AtomicUsize::new(0),
            fits: AtomicUsize::new(usize::MAX),
            waiting: AtomicUsize::new(0),
            gone: AtomicUsize::new(0),
            look: Notify::new(),
            left: Notify::new(),
        }
    }
}

impl Pressure {
    /// Actors whose code is in memory.
    pub(super) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    fn fits(&self) -> usize {
        self.fits.load(Ordering::Relaxed)
    }

    fn let_in(&self, fits: usize) {
        if self.fits.swap(fits, Ordering::Relaxed) < fits {
            self.left.notify_waiters();
        }
    }

    /// Waits until so many have left in all.
    async fn have_gone(&self, so_many: usize) {
        loop {
            let mut left = std::pin::pin!(self.left.notified());
            left.as_mut().enable();
            if self.gone.load(Ordering::Relaxed) >= so_many {
                return;
            }
            left.await;
        }
    }

    /// Takes a place if there is one.
    fn enter(&self) -> bool {
        let fits = self.fits();
        let entered = self.live.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |live| (live < fits).then_some(live + 1));
        if entered.is_err() || entered.is_ok_and(|live| live.saturating_add(free(fits).0) >= fits) {
            self.look.notify_one();
        }
        entered.is_ok()
    }
}

/// How many free places are too few, and how many there are to be then.
fn free(fits: usize) -> (usize, usize) {
    (FREE.0.min(fits / FREE_PART.0), FREE.1.min(fits / FREE_PART.1))
}

/// An actor waits for a place.
struct Waits<'a>(&'a Pressure);

impl<'a> Waits<'a> {
    fn begin(pressure: &'a Pressure) -> Self {
        pressure.waiting.fetch_add(1, Ordering::Relaxed);
        pressure.look.notify_one();
        Self(pressure)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An actor's place in memory. It is free again when this is dropped, which must be after the actor's code.
pub(crate) struct Room(Arc<Pressure>);

impl Drop for Room {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::Relaxed);
        self.0.gone.fetch_add(1, Ordering::Relaxed);
        self.0.left.notify_waiters();
    }
}

impl Runtime {
    /// A place in memory for an actor.
    pub(crate) async fn room(&self) -> Room {
        let pressure = &self.0.pressure;
        if !pressure.enter() {
            let _waits = Waits::begin(pressure);
            let found = timeout(PATIENCE, async {
                loop {
                    let mut left = std::pin::pin!(pressure.left.notified());
                    left.as_mut().enable();
                    if pressure.enter() {
                        return;
                    }
                    left.await;
                }
            });
            if found.await.is_err() {
                pressure.live.fetch_add(1, Ordering::Relaxed);
            }
        }
        Room(pressure.clone())
    }

    /// Sends actors away as long as the node runs.
    pub(super) async fn make_room(self) {
        let budget = self.0.config.budget;
        if budget == Budget::default() {
            return;
        }
        let pressure = &self.0.pressure;
        let in_use = || Some(resident_bytes()?.saturating_sub((self.0.config.kept_bytes)()));
        let without_actors = in_use().unwrap_or(0);
        loop {
            let live = pressure.live();
            let by_memory = budget.memory_bytes.and_then(|most| Some(fitting(live, in_use()?, without_actors, most)));
            let fits = by_memory.unwrap_or(usize::MAX).min(budget.actors.unwrap_or(usize::MAX));
            pressure.let_in(fits);
            let (waiting, (low, high)) = (pressure.waiting.load(Ordering::Relaxed), free(fits));
            if live.saturating_add(low.max(waiting)) > fits {
                let gone = pressure.gone.load(Ordering::Relaxed);
                let sent = self.send_away(live.saturating_add(high.max(waiting)) - fits);
                if sent == 0 {
                    // Nobody can leave: those that come find what there is.
                    pressure.let_in(live.saturating_add(waiting));
                }
                let _ = timeout(LEAVING, pressure.have_gone(gone + sent)).await;
            }
            let _ = timeout(PERIOD, pressure.look.notified()).await;
        }
    }

    /// Lets the actors that were used longest ago leave memory; how many were told to.
    fn send_away(&self, count: usize) -> usize {
        let mut cells: Vec<(u64, Arc<Cell>)> = Vec::new();
        self.0.cells.each(|cell| {
            if cell.evictable.load(Ordering::Relaxed) {
                cells.push((cell.counters.used_ms.load(Ordering::Relaxed), cell.clone()));
            }
        });
        if cells.len() > count {
            cells.select_nth_unstable_by_key(count, |(used, _)| *used);
            cells.truncate(count);
        }
        metrics::counter!("plexspaces_actor_evictions_total").increment(cells.len() as u64);
        let sent = cells.len();
        for (_, cell) in cells {
            self.control(&cell, Control::Passivate);
        }
        sent
    }
}

/// How many actors fit into `most` bytes, when so many that are live have brought the memory in use from `without` to `resident`.
fn fitting(live: usize, resident: u64, without: u64, most: u64) -> usize {
    // Some is left for what comes until the next look.
    let most = most - most / 16;
    let each = (resident.saturating_sub(without) / (live as u64).max(1)).max(LEAST_BYTES);
    let fits = if resident > most {
        live.saturating_sub(usize::try_from((resident - most).div_ceil(each)).unwrap_or(usize::MAX))
    } else {
        live.saturating_add(usize::try_from((most - resident) / each).unwrap_or(usize::MAX))
    };
    fits.max(LEAST_ACTORS)
}

/// The process's memory that is in use now; `None` where the system does not tell.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn as_many_actors_fit_as_those_that_are_there_leave_room_for() {
        // 100 actors took 100 MiB beside 50 for the node: into 320 (300 and some to spare) fit 250.
        assert_eq!(fitting(100, 150 * MIB, 50 * MIB, 320 * MIB), 250);
        assert_eq!(fitting(300, 350 * MIB, 50 * MIB, 320 * MIB), 250);
        // What the node itself needs pushes out many, not all.
        assert_eq!(fitting(100, 500 * MIB, 400 * MIB, 320 * MIB), LEAST_ACTORS);
        // Of none nothing is known.
        assert_eq!(fitting(0, 50 * MIB, 50 * MIB, 320 * MIB), 250 * 16);
    }
}
