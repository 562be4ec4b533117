//! Keeps requests away from a service that fails. No I/O and no clock: time is a parameter.

use std::time::{Duration, Instant};

/// When it opens and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Failures in a row that open it.
    pub failures: u32,
    /// How long nothing is let through then. Afterwards one request is tried: it closes the circuit or opens it again.
    pub open_for: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { failures: 5, open_for: Duration::from_secs(30) }
    }
}

/// What a circuit does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// Lets all through.
    Closed,
    /// Has let one through, on which it depends.
    HalfOpen,
    /// Lets none through.
    Open,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The service works.
    Success,
    /// It does not.
    Failure,
    /// Nothing can be said: the request was given up.
    Unknown,
}

/// Leave for one request; it must be settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Permit {
    era: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen,
}

/// One service's circuit.
#[derive(Debug)]
pub(crate) struct Circuit {
    config: Config,
    state: State,
    /// Counts changes of position, so that what began before one has no say after it.
    era: u64,
}

impl Circuit {
    /// A closed circuit.
    pub(crate) fn new(config: Config) -> Self {
        Self { config, state: State::Closed { failures: 0 }, era: 0 }
    }

    /// What it does with a request now.
    pub(crate) fn position(&self) -> Position {
        match self.state {
            State::Closed { .. } => Position::Closed,
            State::HalfOpen => Position::HalfOpen,
            State::Open { .. } => Position::Open,
        }
    }

    /// How long requests have no chance; zero when [`Circuit::admit`] would let one through.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        match self.state {
            State::Closed { .. } => Duration::ZERO,
            State::Open { until } => until.saturating_duration_since(now),
            // How long the one that is tried will take is not known.
            State::HalfOpen => Duration::from_secs(1).min(self.config.open_for),
        }
    }

    /// Lets a request through, or says how long to wait.
    pub(crate) fn admit(&mut self, now: Instant) -> Result<Permit, Duration> {
        let wait = self.wait(now);
        if !wait.is_zero() {
            return Err(wait);
        }
        if matches!(self.state, State::Open { .. }) {
            self.change(State::HalfOpen);
        }
        Ok(Permit { era: self.era })
    }

    /// Takes note of how a request ended.
    pub(crate) fn settle(&mut self, permit: Permit, verdict: Verdict, now: Instant) {
        if permit.era != self.era {
            return;
        }
        let until = now.checked_add(self.config.open_for).unwrap_or(now);
        match (self.state, verdict) {
            (State::Closed { .. }, Verdict::Success) => self.state = State::Closed { failures: 0 },
            (State::Closed { failures }, Verdict::Failure) if failures.saturating_add(1) >= self.config.failures => {
                self.change(State::Open { until });
            }
            (State::Closed { failures }, Verdict::Failure) => self.state = State::Closed { failures: failures.saturating_add(1) },
            (State::HalfOpen, Verdict::Success) => self.change(State::Closed { failures: 0 }),
            (State::HalfOpen, Verdict::Failure) => self.change(State::Open { until }),
            // The next request is the one that is tried.
            (State::HalfOpen, Verdict::Unknown) => self.change(State::Open { until: now }),
            (State::Closed { .. }, Verdict::Unknown) | (State::Open { .. }, _) => {}
        }
    }

    fn change(&mut self, state: State) {
        self.state = state;
        self.era = self.era.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests;
