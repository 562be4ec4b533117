//! Failures within a sliding window, and how long to wait after so many of them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rand::Rng;

const FIRST_DELAY: Duration = Duration::from_millis(10);
const LONGEST_DELAY: Duration = Duration::from_secs(30);
const FIRST_ROOT_DELAY: Duration = Duration::from_secs(1);
const LONGEST_ROOT_DELAY: Duration = Duration::from_secs(60);

/// As many failures of one child as make a difference: with more the delay is the longest anyway.
pub(super) const KEPT_FOR_DELAY: usize = 16;

/// The times of the latest failures. Empty, as it mostly is, it takes no memory of its own.
#[derive(Debug, Default)]
pub(super) struct Window {
    times: VecDeque<Instant>,
}

impl Window {
    /// Adds a failure and forgets those before the window and those over `keep`; how many are left.
    pub(super) fn record(&mut self, now: Instant, window: Duration, keep: usize) -> usize {
        while self.times.len() >= keep || self.times.front().is_some_and(|time| now.duration_since(*time) > window) {
            if self.times.pop_front().is_none() {
                break;
            }
        }
        self.times.push_back(now);
        self.times.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.times = VecDeque::new();
    }
}

/// How long a child waits after its n-th failure within the window: not at all, then 10 ms doubling to 30 s. The jitter keeps children that
/// failed together from coming back together.
pub(super) fn delay(failures: usize, rng: &mut impl Rng) -> Duration {
    match failures.checked_sub(2) {
        Some(doublings) => doubled(FIRST_DELAY, doublings, LONGEST_DELAY).mul_f64(rng.random_range(0.8..=1.0)),
        None => Duration::ZERO,
    }
}

/// How long the whole tree waits after the root has given up for the n-th time in a row: 1 s doubling to 60 s, with jitter.
pub(super) fn root_delay(failures: usize, rng: &mut impl Rng) -> Duration {
    doubled(FIRST_ROOT_DELAY, failures.saturating_sub(1), LONGEST_ROOT_DELAY).mul_f64(rng.random_range(0.8..=1.0))
}

fn doubled(first: Duration, doublings: usize, longest: Duration) -> Duration {
    let factor = 2_u32.saturating_pow(u32::try_from(doublings).unwrap_or(u32::MAX));
    first.saturating_mul(factor).min(longest)
}

/// `now` and then `wait`, where a wait that no clock can hold means so long that it makes no difference.
pub(super) fn later(now: Instant, wait: Duration) -> Instant {
    const AGES: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    now.checked_add(wait.min(AGES)).unwrap_or(now)
}
