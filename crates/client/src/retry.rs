//! Repeats requests that may be repeated.

use std::time::Duration;

use rand::Rng as _;

use crate::Error;

const ATTEMPTS: u32 = 3;
const BASE: Duration = Duration::from_millis(100);
const MAX: Duration = Duration::from_secs(10);

/// Calls until it succeeds, fails for good, or was tried three times. The waits double from 100 ms, vary by a quarter, and are as long as
/// the node asks for.
pub(crate) async fn retry<T, F: Future<Output = Result<T, Error>>>(mut call: impl FnMut() -> F) -> Result<T, Error> {
    let mut attempt = 1;
    loop {
        match call().await {
            Err(error) if attempt < ATTEMPTS && is_transient(&error) => {
                tokio::time::sleep(wait(attempt, asked_wait(&error))).await;
                attempt += 1;
            }
            result => return result,
        }
    }
}

fn is_transient(error: &Error) -> bool {
    match error {
        Error::Address { .. } => false,
        Error::Unreachable { .. } => true,
        Error::Node { failure, .. } => failure.code.retryable() && matches!(failure.code.http_status(), 429 | 500 | 503),
    }
}

fn asked_wait(error: &Error) -> Duration {
    match error {
        Error::Node { failure, .. } => failure.retry_after.unwrap_or_default(),
        Error::Address { .. } | Error::Unreachable { .. } => Duration::ZERO,
    }
}

fn wait(attempt: u32, asked: Duration) -> Duration {
    let backoff = BASE.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(MAX);
    backoff.mul_f64(rand::rng().random_range(0.75..=1.25)).min(MAX).max(asked)
}

#[cfg(test)]
mod tests {
    use plexspaces_types::{Code, Failure};

    use super::*;

    fn failing(code: Code) -> Error {
        Error::Node { failure: Failure::new(code, ""), request_id: None }
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_may_pass_is_repeated() {
        for (code, expected) in [
            (Code::Overloaded, 3),
            (Code::Unavailable, 3),
            (Code::StorageFailed, 3),
            (Code::LimitExceeded, 1),
            (Code::DeadlineExceeded, 1),
            (Code::NotFound, 1),
            (Code::Conflict, 1),
        ] {
            let mut calls = 0;
            let result: Result<(), _> = retry(|| {
                calls += 1;
                futures::future::ready(Err(failing(code)))
            })
            .await;
            assert_eq!((calls, result.map_err(|error| error.code())), (expected, Err(code)));
        }
    }

    #[test]
    fn waits_double_and_honour_the_node() {
        for (attempt, expected) in [(1, 100), (2, 200), (3, 400), (12, 10_000)] {
            let found = wait(attempt, Duration::ZERO).as_millis();
            assert!((expected * 3 / 4..=(expected * 5 / 4).min(10_000)).contains(&found), "{attempt}: {found}");
        }
        assert_eq!(wait(1, Duration::from_secs(30)), Duration::from_secs(30));
    }
}
