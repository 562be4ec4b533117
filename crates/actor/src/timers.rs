//! Messages to actors, later, and the look at idle actors: one timing wheel for the node.

use std::collections::HashMap;
use std::str::FromStr as _;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use croner::Cron;
use parking_lot::Mutex;
use plexspaces_durable::Due;
use plexspaces_types::{ActorId, Clock, Code, Failure, Payload};
use tokio_util::time::DelayQueue;
use tokio_util::time::delay_queue::Key;

use crate::cell::Cell;
use crate::system::cell::SystemCell;

#[cfg(test)]
mod fuzz;

/// Timers of one actor; more than this is a mistake of its code.
const MAX_TIMERS: usize = 100_000;

/// The wheel of the library turns for a little more than two years.
const LONGEST: Duration = Duration::from_secs(2 * 365 * 24 * 60 * 60);

/// When a timer fires.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// Once.
    After(Duration),
    /// Again and again.
    Every(Duration),
    /// At the times of a cron expression, in UTC.
    Cron(Box<Cron>),
}

impl Schedule {
    /// Reads a cron expression of five or six fields (with seconds first), or one of `@hourly`, `@daily` and the like.
    pub fn cron(expression: &str) -> Result<Self, Failure> {
        let invalid = |error| Failure::invalid("cron", format!("{expression:?} is not a cron expression: {error}"));
        Cron::from_str(expression).map(|cron| Self::Cron(Box::new(cron))).map_err(invalid)
    }

    /// Reads what [`Schedule::print`] has written.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (kind, value) = text.split_once(' ')?;
        let time = || value.parse().ok().map(Duration::from_millis);
        match kind {
            "after" => time().map(Self::After),
            "every" => time().map(Self::Every),
            "cron" => Self::cron(value).ok(),
            _ => None,
        }
    }

    pub(crate) fn print(&self) -> String {
        match self {
            Self::After(delay) => format!("after {}", delay.as_millis()),
            Self::Every(period) => format!("every {}", period.as_millis()),
            Self::Cron(cron) => format!("cron {}", cron.as_str()),
        }
    }

    /// How long until it fires next; `None` when it never does again. `fired` tells whether it has fired before.
    pub(crate) fn wait(&self, clock: &Clock, fired: bool) -> Option<Duration> {
        match self {
            Self::After(delay) => (!fired).then_some(*delay),
            Self::Every(period) => Some(*period),
            Self::Cron(cron) => {
                let now = DateTime::<Utc>::from_timestamp_millis(i64::try_from(clock.now_ms()).ok()?)?;
                let next = cron.find_next_occurrence(&now, false).ok()?;
                (next - now).to_std().ok()
            }
        }
        .map(|wait| wait.min(LONGEST))
    }

    /// Refuses what would fire without end or too late to be meant.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        match self {
            Self::Every(period) if period.is_zero() => Err(Failure::invalid("every", "a period of 0 would never end; give at least 1 ms")),
            Self::After(time) | Self::Every(time) if *time > LONGEST => {
                Err(Failure::invalid("delay", format!("{} ms are more than two years", time.as_millis())))
            }
            _ => Ok(()),
        }
    }
}

/// What a turn does to the actor's timers.
#[derive(Debug)]
pub(crate) enum Change {
    Start { name: String, schedule: Schedule, operation: String, payload: Payload },
    Cancel { name: String },
}

/// What the wheel holds.
pub(crate) enum Fire {
    /// An actor may be idle.
    Idle { cell: Weak<Cell>, after: Duration },
    /// Something may be due in a system actor.
    System(Weak<SystemCell>),
    /// A reminder is due.
    Reminder(Due),
}

/// An entry of the wheel.
enum Entry {
    Fire(Fire),
    Timer(Timer),
}

/// A message to an actor, later.
struct Timer {
    cell: Weak<Cell>,
    name: String,
    schedule: Schedule,
    operation: String,
    payload: Payload,
}

/// A timer whose time has come.
pub(crate) struct Fired<'a> {
    pub(crate) cell: &'a Arc<Cell>,
    pub(crate) name: &'a str,
    pub(crate) operation: &'a str,
    pub(crate) payload: &'a Payload,
    /// It comes again.
    pub(crate) periodic: bool,
}

pub(crate) struct Timers {
    clock: Clock,
    wheel: Mutex<Wheel>,
}

#[derive(Default)]
struct Wheel {
    queue: DelayQueue<Entry>,
    /// The timers of each actor by name.
    named: HashMap<ActorId, HashMap<String, Key>>,
    /// Reminders by their keys in the node's index.
    reminders: HashMap<Bytes, Key>,
}

impl Timers {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, wheel: Mutex::default() }
    }

    /// Looks after a time whether an actor is idle, unless a look is to come.
    pub(crate) fn idle(&self, cell: &Arc<Cell>, after: Duration) {
        let mut wheel = self.wheel.lock();
        let mut look = cell.idle_look.lock();
        if look.is_none() {
            let fire = Fire::Idle { cell: Arc::downgrade(cell), after };
            *look = Some(wheel.queue.insert(Entry::Fire(fire), after.min(LONGEST)));
        }
    }

    /// An actor has left: nobody looks for it any more.
    pub(crate) fn forget(&self, cell: &Cell) {
        if cell.idle_look.lock().is_none() {
            return;
        }
        let mut wheel = self.wheel.lock();
        if let Some(key) = cell.idle_look.lock().take() {
            wheel.queue.try_remove(&key);
        }
    }

    /// Looks after a time whether something is due in a system actor, in place of an earlier order to look.
    pub(crate) fn tick_system(&self, cell: &Arc<SystemCell>, after: Duration) {
        let mut wheel = self.wheel.lock();
        let mut look = cell.look.lock();
        if let Some(earlier) = look.take() {
            wheel.queue.try_remove(&earlier);
        }
        *look = Some(wheel.queue.insert(Entry::Fire(Fire::System(Arc::downgrade(cell))), after.min(LONGEST)));
    }

    pub(crate) fn remind(&self, due: Due, wait: Duration) {
        let mut wheel = self.wheel.lock();
        let place = due.key();
        let key = wheel.queue.insert(Entry::Fire(Fire::Reminder(due)), wait.min(LONGEST));
        if let Some(earlier) = wheel.reminders.insert(place, key) {
            wheel.queue.try_remove(&earlier);
        }
    }

    /// Nobody is to be reminded of this any more.
    pub(crate) fn forget_reminder(&self, due: &Due) {
        let mut wheel = self.wheel.lock();
        if let Some(key) = wheel.reminders.remove(&due.key()) {
            wheel.queue.try_remove(&key);
        }
    }

    pub(crate) fn apply(&self, cell: &Arc<Cell>, change: Change) {
        match change {
            Change::Start { name, schedule, operation, payload } => {
                let Some(wait) = schedule.wait(&self.clock, false) else { return };
                let timer = Timer { cell: Arc::downgrade(cell), name, schedule, operation, payload };
                self.wheel.lock().start(&cell.id, timer, wait);
            }
            Change::Cancel { name } => self.wheel.lock().cancel(&cell.id, &name),
        }
    }

    /// Whether the actor has a timer of this name.
    pub(crate) fn has(&self, id: &ActorId, name: &str) -> bool {
        self.wheel.lock().named.get(id).is_some_and(|named| named.contains_key(name))
    }

    pub(crate) fn has_any(&self, cell: &Cell) -> bool {
        self.wheel.lock().named.contains_key(&cell.id)
    }

    /// Whether the actor may start one more.
    pub(crate) fn check(&self, id: &ActorId) -> Result<(), Failure> {
        if self.wheel.lock().named.get(id).is_some_and(|named| named.len() >= MAX_TIMERS) {
            return Err(Failure::new(Code::Overloaded, format!("the actor has {MAX_TIMERS} timers already")));
        }
        Ok(())
    }

    /// Ends all timers of an actor.
    pub(crate) fn clear(&self, cell: &Cell) {
        let mut wheel = self.wheel.lock();
        for key in wheel.named.remove(&cell.id).into_iter().flat_map(HashMap::into_values) {
            wheel.queue.try_remove(&key);
        }
    }

    /// What is due next. Messages of timers are given to `put` under the wheel's lock: an actor has its timer until the message waits for it,
    /// and does not leave memory in between.
    pub(crate) fn poll_due(&self, context: &mut Context<'_>, put: impl Fn(Fired<'_>)) -> Poll<Fire> {
        loop {
            // Declared first, so that what an actor held is dropped after the lock.
            let (cell, system);
            let mut wheel = self.wheel.lock();
            let Poll::Ready(Some(expired)) = wheel.queue.poll_expired(context) else { return Poll::Pending };
            match expired.into_inner() {
                Entry::Fire(fire) => {
                    if let Fire::Idle { cell: idle, .. } = &fire {
                        cell = idle.upgrade();
                        if let Some(cell) = &cell {
                            *cell.idle_look.lock() = None;
                        }
                    } else if let Fire::System(due) = &fire {
                        system = due.upgrade();
                        if let Some(system) = &system {
                            *system.look.lock() = None;
                        }
                    } else if let Fire::Reminder(due) = &fire {
                        wheel.reminders.remove(&due.key());
                    }
                    return Poll::Ready(fire);
                }
                Entry::Timer(timer) => {
                    cell = timer.cell.upgrade();
                    let Some(cell) = &cell else { continue };
                    let periodic = !matches!(timer.schedule, Schedule::After(_));
                    put(Fired { cell, name: &timer.name, operation: &timer.operation, payload: &timer.payload, periodic });
                    wheel.forget(&cell.id, &timer.name);
                    if let Some(wait) = timer.schedule.wait(&self.clock, true) {
                        wheel.start(&cell.id, timer, wait);
                    }
                }
            }
        }
    }

    /// Timers of actors that are to fire.
    pub(crate) fn len(&self) -> usize {
        self.wheel.lock().named.values().map(HashMap::len).sum()
    }

    /// All that the wheel holds: timers, looks at idle actors, reminders.
    pub(crate) fn entries(&self) -> usize {
        self.wheel.lock().queue.len()
    }

    /// The node ends: nothing fires any more.
    pub(crate) fn end(&self) {
        *self.wheel.lock() = Wheel::default();
    }
}

impl Wheel {
    fn start(&mut self, id: &ActorId, timer: Timer, wait: Duration) {
        self.cancel(id, &timer.name);
        let name = timer.name.clone();
        let key = self.queue.insert(Entry::Timer(timer), wait);
        self.named.entry(id.clone()).or_default().insert(name, key);
    }

    fn cancel(&mut self, id: &ActorId, name: &str) {
        if let Some(key) = self.forget_key(id, name) {
            self.queue.try_remove(&key);
        }
    }

    fn forget(&mut self, id: &ActorId, name: &str) {
        self.forget_key(id, name);
    }

    fn forget_key(&mut self, id: &ActorId, name: &str) -> Option<Key> {
        let named = self.named.get_mut(id)?;
        let key = named.remove(name);
        if named.is_empty() {
            self.named.remove(id);
        }
        key
    }
}
