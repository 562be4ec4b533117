//! Whether a request is sent again, and when.

use std::time::Duration;

use backon::{BackoffBuilder as _, ConstantBuilder, ExponentialBuilder};
use http::{Method, StatusCode};

/// How often a request is sent, and what is between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// All attempts together; 1 for none but the first.
    pub max_attempts: u32,
    /// How the waits between them grow.
    pub backoff: Backoff,
    /// The first wait.
    pub initial_delay: Duration,
    /// The longest. A service that asks for a longer one with `Retry-After` is not asked again.
    pub max_delay: Duration,
    /// Sends requests again though the service may apply them twice.
    pub repeat_unsafe: bool,
}

/// How waits grow. All but none have jitter, so that those who failed together do not come back together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backoff {
    /// Each is twice as long as the one before.
    #[default]
    Exponential,
    /// All are as long as the first.
    Constant,
    /// There is none.
    None,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            backoff: Backoff::Exponential,
            initial_delay: Duration::from_millis(200),
            max_delay: Duration::from_secs(10),
            repeat_unsafe: false,
        }
    }
}

impl Policy {
    /// The waits before each further attempt.
    pub(crate) fn delays(&self) -> Box<dyn Iterator<Item = Duration> + Send> {
        let further = self.max_attempts.saturating_sub(1) as usize;
        let (initial, longest) = (self.initial_delay, self.max_delay);
        match self.backoff {
            Backoff::None => Box::new(std::iter::repeat_n(Duration::ZERO, further)),
            Backoff::Constant => Box::new(ConstantBuilder::new().with_delay(initial).with_max_times(further).with_jitter().build()),
            Backoff::Exponential => {
                let builder = ExponentialBuilder::new().with_min_delay(initial).with_max_delay(longest);
                Box::new(builder.with_max_times(further).with_jitter().build())
            }
        }
    }

    /// Whether a request that may have been applied can be sent again.
    pub(crate) fn may_repeat(&self, method: &Method, has_key: bool) -> bool {
        method.is_idempotent() || has_key || self.repeat_unsafe
    }
}

/// Whether another attempt may have another status.
pub(crate) fn may_pass(status: u16) -> bool {
    let passing = [
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::BAD_GATEWAY,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::GATEWAY_TIMEOUT,
    ];
    passing.iter().any(|known| known.as_u16() == status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_waits_as_further_attempts() {
        for backoff in [Backoff::None, Backoff::Constant, Backoff::Exponential] {
            for max_attempts in [1, 2, 5] {
                let waits: Vec<_> = Policy { max_attempts, backoff, ..Policy::default() }.delays().collect();
                assert_eq!(waits.len(), max_attempts as usize - 1);
                assert!(backoff == Backoff::None || waits.iter().all(|wait| *wait >= Policy::default().initial_delay));
            }
        }
    }

    #[test]
    fn only_what_may_be_applied_twice_is_repeated() {
        let policy = Policy::default();
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS] {
            assert!(policy.may_repeat(&method, false), "{method}");
        }
        for method in [Method::POST, Method::PATCH] {
            assert!(!policy.may_repeat(&method, false) && policy.may_repeat(&method, true), "{method}");
            assert!(Policy { repeat_unsafe: true, ..policy }.may_repeat(&method, false));
        }
    }
}
