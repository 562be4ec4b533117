//! Steps that are undone in reverse order when a later one fails.

use std::pin::Pin;
use std::time::Duration;

use plexspaces_actor::LogLevel;
use plexspaces_types::Failure;

use crate::{ActorContext, RetryPolicy};

type Undoing<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>>;
type Undo<'a> = Box<dyn FnMut() -> Undoing<'a> + Send + 'a>;

/// Steps that are undone when a later one fails.
///
/// ```
/// # use std::time::Duration;
/// # use plexspaces_sdk::{ActorContext, BehaviorError, call_message};
/// # use serde_json::{Value, json};
/// # const PATIENCE: Duration = Duration::from_secs(5);
/// # async fn book(ctx: &ActorContext, trip: &str) -> Result<Value, BehaviorError> {
/// let mut saga = ctx.saga();
/// let booked = async {
///     for provider in ["hotel/main", "flight/main"] {
///         let cancel = call_message(json!({"op": "cancel", "trip": trip}));
///         saga.add(provider, move || ctx.ask(provider, cancel.clone(), PATIENCE));
///         ctx.ask(provider, call_message(json!({"op": "book", "trip": trip})), PATIENCE).await?;
///     }
///     Ok::<_, BehaviorError>(json!("booked"))
/// }
/// .await;
/// saga.finish(booked).await
/// # }
/// ```
///
/// Add a compensation before its step where a step may have happened although it failed, for example because it timed out; it must then bear
/// that there is nothing to undo. A handler that panics, or that loses its saga without [`Saga::finish`], undoes nothing.
pub struct Saga<'a> {
    ctx: &'a ActorContext,
    policy: RetryPolicy,
    compensations: Vec<(String, Undo<'a>)>,
    failed: Vec<Failure>,
}

impl ActorContext {
    /// Steps that are undone when a later one fails. Each compensation is tried up to ten times, as [`ActorContext::retry`] does.
    #[must_use]
    pub fn saga(&self) -> Saga<'_> {
        let policy = RetryPolicy { attempts: 10, initial: Duration::from_millis(100), ..RetryPolicy::default() };
        Saga { ctx: self, policy, compensations: Vec::new(), failed: Vec::new() }
    }
}

impl<'a> Saga<'a> {
    /// How often compensations are tried.
    #[must_use]
    pub fn policy(mut self, policy: RetryPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Notes what undoes a step; the name is for the log.
    pub fn add<T, E, F, Undone>(&mut self, name: impl Into<String>, mut compensation: F)
    where
        F: FnMut() -> Undone + Send + 'a,
        Undone: Future<Output = Result<T, E>> + Send + 'a,
        E: Into<Failure>,
    {
        let undo: Undo<'a> = Box::new(move || {
            let undoing = compensation();
            Box::pin(async move { undoing.await.map(drop).map_err(Into::into) })
        });
        self.compensations.push((name.into(), undo));
    }

    /// The steps' outcome, as it was given. Where that is an error, `cancelled` included, what was added is undone before.
    pub async fn finish<T, E>(&mut self, outcome: Result<T, E>) -> Result<T, E> {
        match outcome {
            Ok(_) => self.compensations.clear(),
            Err(_) => self.compensate().await,
        }
        outcome
    }

    /// Undoes now what was added, in reverse order. Nothing is undone twice. A compensation that fails for good does not keep the others from
    /// being done: it is logged, and listed in [`Saga::failed`].
    pub async fn compensate(&mut self) {
        if self.compensations.is_empty() {
            return;
        }
        while let Some((name, mut undo)) = self.compensations.pop() {
            if let Err(failure) = surely(self.ctx, &self.policy, &mut undo).await {
                self.ctx.log(LogLevel::Error, &format!("the compensation {name:?} failed for good: {failure}")).await;
                self.failed.push(failure);
            }
        }
        // What a run that ends with an error has sent since its last wait does not leave.
        let ctx = self.ctx;
        let mut leave: Undo<'a> = Box::new(move || Box::pin(ctx.checkpoint()));
        if let Err(failure) = surely(self.ctx, &self.policy, &mut leave).await {
            self.failed.push(failure);
        }
    }

    /// The compensations that failed for good, and why.
    #[must_use]
    pub fn failed(&self) -> &[Failure] {
        &self.failed
    }
}

async fn surely<'a>(ctx: &'a ActorContext, policy: &RetryPolicy, undo: &mut Undo<'a>) -> Result<(), Failure> {
    let mut cancelled = 0;
    loop {
        match ctx.retry(policy, &mut *undo).await {
            // Who cancels the run wants it to be undone; what was interrupted is done again.
            Err(failure) if failure.code.ends_run() && cancelled + 1 < policy.attempts => cancelled += 1,
            undone => return undone,
        }
    }
}
