//! What there is of everything that could be left behind.

use super::*;

/// How much of what lives there is on a node, counted now. When everything has ended all of it is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Actors that have a mailbox.
    pub actors: usize,
    /// Actors whose code is in memory.
    pub live: usize,
    /// Actors and services at work.
    pub working: usize,
    /// Timers that actors have started and that are to fire.
    pub timers: usize,
    /// All that the timing wheel holds: timers, looks at idle actors, reminders that are due soon.
    pub wheel: usize,
    /// Actors that watch or are watched, or are linked.
    pub tied: usize,
    /// Watches of actors by actors and services.
    pub watches: usize,
    /// Reminders that are due soon.
    pub reminders: usize,
    /// Services in memory.
    pub services: usize,
}

impl Runtime {
    /// Counts what there is. It looks at every part for itself: while the node works the numbers need not fit together.
    #[must_use]
    pub fn census(&self) -> Census {
        Census {
            actors: self.actors(),
            live: self.0.pressure.live(),
            working: self.0.running.len(),
            timers: self.0.timers.len(),
            wheel: self.0.timers.entries(),
            tied: self.0.links.len(),
            watches: self.0.links.watches(),
            reminders: self.0.reminders.armed(),
            services: self.0.systems.len(),
        }
    }
}
