//! Makes room: when the node's memory or its places for actors become scarce, those that were used longest ago leave memory.

use std::sync::atomic::AtomicUsize;

use tokio::sync::Notify;

use super::*;

/// How often the memory is looked at.
const PERIOD: Duration = Duration::from_millis(250);

/// And after how many actors have come into memory, which may be many in that time.
const COME: usize = 16;

/// What one actor is taken to free at least, so that few are sent away at a time when nothing is known of them.
const LEAST_BYTES: u64 = 64 << 10;

/// How much the actors of a node may take up together. Only actors that lose nothing by it leave memory: durable ones and those with an idle
/// time-out, unless they are eager.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Resident memory of the process in bytes.
    pub memory_bytes: Option<u64>,
    /// Actors whose code is in memory.
    pub actors: Option<usize>,
}

#[derive(Default)]
pub(super) struct Pressure {
    /// Actors whose code is in memory.
    live: AtomicUsize,
    /// How many came into memory so far.
    came: AtomicUsize,
    look: Notify,
}

impl Pressure {
    /// Actors whose code is in memory.
    pub(super) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }
}

impl Runtime {
    /// An actor's code came into memory, or left it.
    pub(crate) fn count_live(&self, came: bool) {
        let pressure = &self.0.pressure;
        if !came {
            pressure.live.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let live = pressure.live.fetch_add(1, Ordering::Relaxed) + 1;
        let budget = &self.0.config.budget;
        let is_due = budget.memory_bytes.is_some() && pressure.came.fetch_add(1, Ordering::Relaxed) % COME == COME - 1;
        if is_due || budget.actors.is_some_and(|most| live > most) {
            pressure.look.notify_one();
        }
    }

    /// Sends actors away as long as the node runs.
    pub(super) async fn make_room(self) {
        let budget = self.0.config.budget;
        if budget == Budget::default() {
            return;
        }
        loop {
            tokio::select! {
                () = tokio::time::sleep(PERIOD) => {}
                () = self.0.pressure.look.notified() => {}
            }
            let live = self.0.pressure.live();
            // Some more than needed, so that the next one to come finds room.
            let too_many = budget.actors.filter(|most| live > *most).map_or(0, |most| live - most + most / 20);
            let too_much = budget.memory_bytes.and_then(|most| {
                let resident = resident_bytes()?;
                let each = (resident / (live as u64).max(1)).max(LEAST_BYTES);
                usize::try_from(resident.saturating_sub(most).div_ceil(each)).ok()
            });
            self.send_away(too_many.max(too_much.unwrap_or(0)));
        }
    }

    /// Lets the actors that were used longest ago leave memory.
    fn send_away(&self, count: usize) {
        if count == 0 {
            return;
        }
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
        for (_, cell) in cells {
            self.control(&cell, Control::Passivate);
        }
    }
}

/// The process's memory that is in use now; `None` where the system does not tell.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}
