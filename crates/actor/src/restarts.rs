//! When a failed actor comes back: at once after its first failure, then later and later.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rand::Rng as _;

use crate::supervision::Intensity;

const FIRST_DELAY: Duration = Duration::from_millis(10);
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// The failures of one actor within its supervisor's window.
#[derive(Debug, Default)]
pub(crate) struct Restarts {
    crashes: VecDeque<Instant>,
    until: Option<Instant>,
}

impl Restarts {
    /// Counts a failure; true when it was one too many for the policy.
    pub(crate) fn crashed(&mut self, now: Instant, policy: Intensity) -> bool {
        while self.crashes.front().is_some_and(|crash| now.duration_since(*crash) > policy.window) {
            self.crashes.pop_front();
        }
        // More crashes than this lead to the longest delay anyway.
        if self.crashes.len() < 64 {
            self.crashes.push_back(now);
        }
        self.until = self.delay().map(|delay| now + delay);
        self.crashes.len() > policy.max_restarts as usize
    }

    /// How long the actor still has to wait; `None` when it may run.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        self.until.and_then(|until| until.checked_duration_since(now)).filter(|wait| !wait.is_zero())
    }

    /// Doubles with every failure in the window; the jitter keeps actors that failed together from coming back together.
    fn delay(&self) -> Option<Duration> {
        let doublings = u32::try_from(self.crashes.len().checked_sub(2)?).unwrap_or(u32::MAX);
        let delay = FIRST_DELAY.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_DELAY);
        Some(delay.mul_f64(rand::rng().random_range(0.8..=1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Intensity = Intensity { max_restarts: 3, window: Duration::from_secs(60) };

    #[test]
    fn the_first_restart_is_immediate_and_later_ones_wait_longer() {
        let start = Instant::now();
        let mut restarts = Restarts::default();
        assert!(!restarts.crashed(start, POLICY));
        assert_eq!(restarts.wait(start), None);
        let mut last = Duration::ZERO;
        for _ in 0..10 {
            restarts.crashed(start, POLICY);
            let wait = restarts.wait(start).unwrap();
            assert!(wait > last, "{wait:?} after {last:?}");
            last = wait;
        }
        for _ in 0..100 {
            restarts.crashed(start, POLICY);
        }
        assert!(restarts.wait(start).unwrap() <= LONGEST_DELAY);
        assert_eq!(restarts.wait(start + LONGEST_DELAY), None);
    }

    #[test]
    fn the_intensity_counts_only_the_window() {
        let start = Instant::now();
        let mut restarts = Restarts::default();
        let verdicts: Vec<bool> = (0..4).map(|_| restarts.crashed(start, POLICY)).collect();
        assert_eq!(verdicts, [false, false, false, true]);
        assert!(!restarts.crashed(start + POLICY.window + Duration::from_secs(1), POLICY));
    }
}
