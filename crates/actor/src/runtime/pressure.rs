//! Makes room: when the node's memory or its places for actors become scarce, those that were used longest ago leave memory.
//!
//! From the memory that is in use follows how many actors fit. For each that comes beyond these another leaves, one after the other, so that
//! those at work do not notice. A few come in before others have left; when there is no place for one more it waits for one, so that memory
//! stays within the budget however fast actors come.

use std::collections::VecDeque;
use std::sync::atomic::AtomicUsize;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::*;
use crate::mailbox::Standing;

/// How often the memory is looked at when nothing comes.
const PERIOD: Duration = Duration::from_millis(250);

/// How often those that can leave are looked for while somebody waits for a place.
const PAUSE: Duration = Duration::from_millis(10);

/// How long nobody has left, and nobody can, until those that come find what there is.
const STUCK: Duration = Duration::from_millis(50);

/// How long an actor waits for a place. It comes in without one then.
const PATIENCE: Duration = Duration::from_secs(1);

/// What one actor is taken to need at least, so that few are sent away at a time when nothing is known of them.
const LEAST_BYTES: u64 = 64 << 10;

/// So many actors may always be in memory: what else the node needs cannot push all of them out.
const LEAST_ACTORS: usize = 16;

/// So many more than fit come in before others have left, of each that fit one in so many.
const MORE_PART: usize = 32;

/// How many leave at the same time: as many as are waited for, or one in so many of those that are to leave, and at most so many.
const AT_ONCE_PART: usize = 4;
const AT_ONCE: usize = 128;

/// Those that were used longest ago are looked for among all, so that more are found than are needed now: one in so many, and at least.
const FOUND_PART: usize = 16;
const FOUND_LEAST: usize = 16;

/// So many actors come until the memory is looked at again: one in so many of those that there were.
const UNSEEN_PART: usize = 8;

/// For how long the memory is taken to be as it was measured.
const MEASURED: Duration = Duration::from_millis(20);

/// Over how many milliseconds it is evened out what an actor needs: what one gives back comes late.
const EVENED_MS: u64 = 400;

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
    /// How many of them fit: of more, some leave.
    fits: AtomicUsize,
    /// How many there are at most.
    most: AtomicUsize,
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
            most: AtomicUsize::new(usize::MAX),
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

    fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many are to leave, when so many are in memory.
    fn beyond(&self, live: usize) -> usize {
        live.saturating_add(self.waiting()).saturating_sub(self.fits.load(Ordering::Relaxed))
    }

    fn let_in(&self, fits: usize, most: usize) {
        self.fits.store(fits, Ordering::Relaxed);
        if self.most.swap(most, Ordering::Relaxed) < most {
            self.left.notify_waiters();
        }
    }

    /// Takes a place if there is one.
    fn enter(&self) -> bool {
        let most = self.most.load(Ordering::Relaxed);
        let entered = self.live.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |live| (live < most).then_some(live + 1));
        if entered.map_or(true, |live| self.beyond(live + 1) > 0) {
            self.look.notify_one();
        }
        entered.is_ok()
    }
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
        self.0.left.notify_one();
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

    /// An actor that was told to leave has done so, or stays: the next one is told.
    pub(crate) fn left_or_stayed(&self) {
        let pressure = &self.0.pressure;
        if pressure.beyond(pressure.live()) > 0 {
            pressure.look.notify_one();
        }
    }

    /// Sends actors away as long as the node runs.
    pub(super) async fn make_room(self) {
        let budget = self.0.config.budget;
        if budget == Budget::default() {
            return;
        }
        let pressure = &self.0.pressure;
        let mut memory = budget.memory_bytes.map(|most| Memory::within(most, self.0.config.kept_bytes.clone()));
        let mut leaving = Leaving::default();
        loop {
            let (live, waiting) = (pressure.live(), pressure.waiting());
            let by_memory = memory.as_mut().map_or(usize::MAX, |memory| memory.fits(live));
            let by_count = budget.actors.map_or(usize::MAX, |most| most - most / MORE_PART);
            let fits = by_memory.min(by_count);
            let most = fits.saturating_add((fits / MORE_PART).max(1)).min(budget.actors.unwrap_or(usize::MAX));
            let beyond = live.saturating_add(waiting).saturating_sub(fits);
            if beyond > 0 {
                self.send_away(beyond, waiting, &mut leaving);
            }
            let stuck = leaving.is_stuck(beyond > 0, pressure.gone.load(Ordering::Relaxed));
            // Where nobody can leave, those that come find what there is.
            pressure.let_in(fits, if stuck { most.max(live.saturating_add(waiting)) } else { most });
            let _ = timeout(if waiting > 0 { PAUSE } else { PERIOD }, pressure.look.notified()).await;
        }
    }

    /// Lets actors leave memory, so that with those on their way so many do, but few at a time. Those that were used longest ago go first.
    fn send_away(&self, wanted: usize, waiting: usize, leaving: &mut Leaving) {
        let now = crate::now();
        leaving.forget(now);
        let at_once = wanted.min(waiting.max(wanted.div_ceil(AT_ONCE_PART)).min(AT_ONCE));
        let (mut searched, mut sent) = (false, 0);
        while leaving.told.len() < at_once {
            let Some((used, cell)) = leaving.next.pop_front() else {
                if std::mem::replace(&mut searched, true) {
                    break;
                }
                leaving.next = self.longest_idle(at_once);
                continue;
            };
            let Some(cell) = cell.upgrade().filter(|cell| used_ms(cell) == used && may_leave(cell)) else { continue };
            cell.told.store(true, Ordering::Relaxed);
            if self.control(&cell, Control::Passivate) {
                leaving.told.push((now, Arc::downgrade(&cell)));
                sent += 1;
            }
        }
        metrics::counter!("plexspaces_actor_evictions_total").increment(sent);
    }

    /// Those that can leave and were used longest ago, in that order, and when that was. As long as they are not used they stay the first.
    fn longest_idle(&self, count: usize) -> VecDeque<(u64, Weak<Cell>)> {
        let mut found: Vec<(u64, Arc<Cell>)> = Vec::new();
        self.0.cells.each(|cell| {
            if cell.evictable.load(Ordering::Relaxed) && !cell.told.load(Ordering::Relaxed) {
                found.push((used_ms(cell), cell.clone()));
            }
        });
        found.retain(|(_, cell)| may_leave(cell) && !self.0.timers.has_any(cell));
        let count = count.max(found.len() / FOUND_PART).max(FOUND_LEAST);
        if found.len() > count {
            found.select_nth_unstable_by_key(count, |(used, _)| *used);
            found.truncate(count);
        }
        found.sort_unstable_by_key(|(used, _)| *used);
        found.into_iter().map(|(used, cell)| (used, Arc::downgrade(&cell))).collect()
    }
}

fn used_ms(cell: &Cell) -> u64 {
    cell.counters.used_ms.load(Ordering::Relaxed)
}

/// Whether an actor has nothing to do, loses nothing when it leaves memory, and was not told to yet.
fn may_leave(cell: &Cell) -> bool {
    cell.evictable.load(Ordering::Relaxed) && !cell.told.load(Ordering::Relaxed) && cell.mailbox.standing() == (Standing::Idle, 0)
}

/// Who leaves, and who is next.
#[derive(Default)]
struct Leaving {
    /// Those that were told to and have not done it yet, and when.
    told: Vec<(Instant, Weak<Cell>)>,
    next: VecDeque<(u64, Weak<Cell>)>,
    /// How many had left when there were too many, and since when no more have.
    since: Option<(usize, Instant)>,
}

impl Leaving {
    /// Forgets those that have left or stayed, and those that take long: a message may have come before they were told.
    fn forget(&mut self, now: Instant) {
        let leaves = |cell: &Cell| cell.told.load(Ordering::Relaxed) && !cell.mailbox.has_ended();
        self.told.retain(|(at, cell)| now.duration_since(*at) < PATIENCE && cell.upgrade().is_some_and(|cell| leaves(&cell)));
    }

    /// Whether nobody leaves though there are too many.
    fn is_stuck(&mut self, too_many: bool, gone: usize) -> bool {
        let now = crate::now();
        let since = self.since.filter(|(before, _)| too_many && *before == gone).map_or(now, |(_, since)| since);
        self.since = too_many.then_some((gone, since));
        too_many && self.told.is_empty() && now.duration_since(since) >= STUCK
    }
}

/// What is known of the process's memory.
struct Memory {
    most: u64,
    /// What is kept for actors that come: they take it up first.
    kept_bytes: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// What is in use without actors.
    without: u64,
    /// What one actor needs; none until there were enough of them to tell.
    each: Option<u64>,
    measured: Option<Measured>,
}

/// What was found when the memory was last looked at.
#[derive(Clone, Copy)]
struct Measured {
    at: Instant,
    /// How many actors fit.
    fits: usize,
    /// So many more may come until it is looked at again: there is room for more of what was measured, but who knows what comes.
    until: usize,
}

impl Memory {
    fn within(most: u64, kept_bytes: Arc<dyn Fn() -> u64 + Send + Sync>) -> Self {
        let memory = Self { most, kept_bytes, without: 0, each: None, measured: None };
        Self { without: memory.in_use().unwrap_or(0), ..memory }
    }

    fn in_use(&self) -> Option<u64> {
        Some(resident_bytes()?.saturating_sub((self.kept_bytes)()))
    }

    /// How many actors fit, when so many are live.
    fn fits(&mut self, live: usize) -> usize {
        let now = crate::now();
        let before = self.measured.map(|measured| (now.saturating_duration_since(measured.at), measured));
        if let Some((_, measured)) = before.filter(|(since, measured)| *since < MEASURED && live < measured.until) {
            return measured.fits;
        }
        let Some(resident) = self.in_use() else { return usize::MAX };
        if live >= LEAST_ACTORS {
            self.without = self.without.min(resident);
            let each = (resident - self.without) / live as u64;
            let since = before.map_or(EVENED_MS, |(since, _)| u64::try_from(since.as_millis()).unwrap_or(EVENED_MS).min(EVENED_MS));
            self.each = Some(self.each.map_or(each, |known| (known * (EVENED_MS - since) + each * since) / EVENED_MS));
        }
        let (room, next) = (fitting(live, resident, self.without, self.each, self.most), live + (live / UNSEEN_PART).max(LEAST_ACTORS));
        let measured = Measured { at: now, fits: room.min(next), until: if next < room { next } else { usize::MAX } };
        self.measured = Some(measured);
        measured.fits
    }
}

/// How many actors of `each` bytes fit into `most` bytes, when so many that are live have brought the memory in use from `without` to
/// `resident`.
fn fitting(live: usize, resident: u64, without: u64, each: Option<u64>, most: u64) -> usize {
    let count = |bytes: u64, each: u64| usize::try_from(bytes / each).unwrap_or(usize::MAX);
    // Some is left for those that come before others have left, and more for what is given back late.
    let (kept, used) = (most - most / 32 * 3, most - most / 16);
    let by_size = count(kept.saturating_sub(without), each.unwrap_or(LEAST_BYTES).max(1));
    let each = each.unwrap_or_default().max(LEAST_BYTES);
    let by_rest = if resident > used {
        live.saturating_sub(count(resident - used + each - 1, each))
    } else {
        live.saturating_add(count(used - resident, each))
    };
    by_size.min(by_rest).max(LEAST_ACTORS)
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
        let each = Some(MIB);
        // 100 actors took 100 MiB beside 50 for the node: into 320 (290 and some to spare) fit 240.
        assert_eq!(fitting(100, 150 * MIB, 50 * MIB, each, 320 * MIB), 240);
        assert_eq!(fitting(300, 340 * MIB, 50 * MIB, each, 320 * MIB), 240);
        // Those that have left and whose memory has not come back yet push out no others.
        assert_eq!(fitting(235, 295 * MIB, 50 * MIB, each, 320 * MIB), 240);
        // What the node itself needs pushes out many, not all.
        assert_eq!(fitting(200, 400 * MIB, 50 * MIB, each, 320 * MIB), 100);
        assert_eq!(fitting(100, 500 * MIB, 400 * MIB, each, 320 * MIB), LEAST_ACTORS);
        // Of none nothing is known.
        assert_eq!(fitting(0, 50 * MIB, 50 * MIB, None, 320 * MIB), 240 * 16);
        // Those that need next to nothing push out nobody while there is room.
        assert!(fitting(1_000_000, 150 * MIB, 50 * MIB, Some(100), 320 * MIB) > 1_000_000);
    }
}
