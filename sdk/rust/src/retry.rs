//! Steps that may fail: attempts with pauses between them.

use std::time::Duration;

use plexspaces_types::{Code, Failure};

use crate::ActorContext;

/// How often a step is tried, and how long the pauses between the attempts are.
///
/// ```
/// # use plexspaces_sdk::RetryPolicy;
/// let patient = RetryPolicy { attempts: 5, ..RetryPolicy::default() };
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// How often it is tried, 3 if nothing is said.
    pub attempts: u32,
    /// The first pause, 100 ms.
    pub initial: Duration,
    /// How many times longer each further pause is, 2.
    pub factor: f64,
    /// The longest pause, 10 s.
    pub max: Duration,
    /// By up to which part each pause is longer or shorter, 0.25, so that many that failed together do not come back together.
    pub jitter: f64,
    /// Errors that are given up at once, beside those that are not retryable.
    pub no_retry_on: Vec<Code>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        let (initial, max) = (Duration::from_millis(100), Duration::from_secs(10));
        Self { attempts: 3, initial, factor: 2.0, max, jitter: 0.25, no_retry_on: Vec::new() }
    }
}

impl RetryPolicy {
    fn check(&self) -> Result<(), Failure> {
        if self.attempts == 0 {
            return Err(Failure::invalid("attempts", "attempts is 0, expected at least 1"));
        }
        if !self.factor.is_finite() || self.factor < 1.0 {
            return Err(Failure::invalid("factor", format!("factor is {}, expected a number from 1", self.factor)));
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return Err(Failure::invalid("jitter", format!("jitter is {}, expected a number from 0 to 1", self.jitter)));
        }
        Ok(())
    }

    /// The pause after so many failures, from 1.
    fn pause(&self, failed: u32, chance: u64) -> Duration {
        let exponent = i32::try_from(failed - 1).unwrap_or(i32::MAX);
        let pause = (self.initial.as_secs_f64() * self.factor.powi(exponent)).min(self.max.as_secs_f64());
        // The upper bits of the number, as one from -1 to 1.
        let between = f64::from(u32::try_from(chance >> 32).unwrap_or_default()) / f64::from(u32::MAX) * 2.0 - 1.0;
        Duration::try_from_secs_f64(pause * (1.0 + self.jitter * between)).unwrap_or(self.max)
    }
}

impl ActorContext {
    /// Does a step until it works, at most `policy.attempts` times, and gives what it gives. Between two attempts it waits, as
    /// [`ActorContext::sleep`] does but through signals: `policy.initial`, then each time `policy.factor` times longer. An error whose code is
    /// not retryable or is of `policy.no_retry_on`, `cancelled`, and the last attempt's error are given back.
    ///
    /// Each attempt is a request of its own: one that timed out may have happened all the same.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use plexspaces_sdk::{ActorContext, BehaviorError, RetryPolicy, call_message};
    /// # use serde_json::json;
    /// # async fn pay(ctx: &ActorContext, order: &str) -> Result<(), BehaviorError> {
    /// let charge = call_message(json!({"op": "charge", "order": order}));
    /// ctx.retry(&RetryPolicy::default(), || ctx.ask("payments/main", charge.clone(), Duration::from_secs(5))).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn retry<T, E, F, Step>(&self, policy: &RetryPolicy, mut step: F) -> Result<T, E>
    where
        F: FnMut() -> Step,
        Step: Future<Output = Result<T, E>>,
        E: Clone + From<Failure> + Into<Failure>,
    {
        policy.check()?;
        let mut failed = 0;
        loop {
            let error = match step().await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            failed += 1;
            let code = error.clone().into().code;
            if failed >= policy.attempts || !code.retryable() || policy.no_retry_on.contains(&code) {
                return Err(error);
            }
            let chance = self.random().await;
            self.sleep_on(policy.pause(failed, chance)).await?;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_differ_by_the_jitter() {
        let policy = RetryPolicy { jitter: 0.5, ..RetryPolicy::default() };
        let pauses = |chance| [1, 2, 3, 8, u32::MAX].map(|failed| policy.pause(failed, chance).as_millis());
        assert_eq!(pauses(0), [50, 100, 200, 5000, 5000]);
        assert_eq!(pauses(u64::MAX), [150, 300, 600, 15_000, 15_000]);
    }

    #[test]
    fn a_policy_without_sense_is_refused() {
        let usual = RetryPolicy::default;
        let wrong =
            [RetryPolicy { attempts: 0, ..usual() }, RetryPolicy { factor: 0.5, ..usual() }, RetryPolicy { jitter: f64::NAN, ..usual() }];
        let fields = wrong.map(|policy| policy.check().unwrap_err().field.unwrap().to_string());
        assert_eq!(fields, ["attempts", "factor", "jitter"]);
        usual().check().unwrap();
    }
}
