//! Messages to actors, later, and the look at idle actors: one timing wheel for the node.

use std::collections::HashMap;
use std::str::FromStr as _;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use chrono::{DateTime, Utc};
use croner::Cron;
use parking_lot::Mutex;
use plexspaces_durable::Due;
use plexspaces_types::{ActorId, Clock, Code, Failure, Payload};
use tokio_util::time::DelayQueue;
use tokio_util::time::delay_queue::Key;

use crate::cell::Cell;
use crate::system::cell::SystemCell;

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
    /// A message to an actor.
    Timer { cell: Weak<Cell>, name: String, schedule: Schedule, operation: String, payload: Payload },
}

pub(crate) struct Timers {
    clock: Clock,
    wheel: Mutex<Wheel>,
}

#[derive(Default)]
struct Wheel {
    queue: DelayQueue<Fire>,
    /// The timers of each actor by name.
    named: HashMap<ActorId, HashMap<String, Key>>,
}

impl Timers {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, wheel: Mutex::default() }
    }

    pub(crate) fn idle(&self, cell: &Arc<Cell>, after: Duration) {
        self.wheel.lock().queue.insert(Fire::Idle { cell: Arc::downgrade(cell), after }, after.min(LONGEST));
    }

    pub(crate) fn tick_system(&self, cell: &Arc<SystemCell>, after: Duration) {
        self.wheel.lock().queue.insert(Fire::System(Arc::downgrade(cell)), after.min(LONGEST));
    }

    pub(crate) fn remind(&self, due: Due, wait: Duration) {
        self.wheel.lock().queue.insert(Fire::Reminder(due), wait.min(LONGEST));
    }

    pub(crate) fn apply(&self, cell: &Arc<Cell>, change: Change) {
        match change {
            Change::Start { name, schedule, operation, payload } => {
                let Some(wait) = schedule.wait(&self.clock, false) else { return };
                let fire = Fire::Timer { cell: Arc::downgrade(cell), name: name.clone(), schedule, operation, payload };
                self.wheel.lock().start(&cell.id, name, fire, wait);
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

    /// What is due next. A timer that fires again is in the wheel again.
    pub(crate) fn poll_due(&self, context: &mut Context<'_>) -> Poll<Fire> {
        let mut wheel = self.wheel.lock();
        let Poll::Ready(Some(expired)) = wheel.queue.poll_expired(context) else { return Poll::Pending };
        let fire = expired.into_inner();
        if let Fire::Timer { cell, name, schedule, operation, payload } = &fire
            && let Some(cell) = cell.upgrade()
        {
            match schedule.wait(&self.clock, true) {
                None => wheel.forget(&cell.id, name),
                Some(wait) => {
                    let again = Fire::Timer {
                        cell: Arc::downgrade(&cell),
                        name: name.clone(),
                        schedule: schedule.clone(),
                        operation: operation.clone(),
                        payload: payload.clone(),
                    };
                    wheel.forget(&cell.id, name);
                    wheel.start(&cell.id, name.clone(), again, wait);
                }
            }
        }
        Poll::Ready(fire)
    }
}

impl Wheel {
    fn start(&mut self, id: &ActorId, name: String, fire: Fire, wait: Duration) {
        self.cancel(id, &name);
        let key = self.queue.insert(fire, wait);
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
