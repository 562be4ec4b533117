//! What cuts a turn short.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;
use plexspaces_types::{ActorId, Code, Failure};

use crate::Fault;
use crate::cell::Cell;
use crate::inbox::Verdict;
use crate::supervision::Exit;

/// Why a turn has no reply.
pub(super) enum Unfinished {
    /// Nothing happened.
    Refused(Failure),
    /// The store did not give or take what was needed, or another activation has taken over: what was not committed did not happen.
    Undone(Failure),
    /// The incarnation is over.
    Ended(Failure, Exit),
    /// It waits for long, and leaves memory in the middle of the turn.
    Parked,
}

impl Unfinished {
    /// The same for a message that was to be handled after what is unfinished.
    pub(super) fn of_the_turn_before(self) -> Self {
        match self {
            Self::Refused(failure)
                if matches!(failure.code, Code::Fenced | Code::StorageFull | Code::StorageFailed | Code::Unavailable) =>
            {
                Self::Undone(failure)
            }
            other => other,
        }
    }
}

/// What cut a turn short.
pub(super) enum Cut {
    Fault(Fault),
    Late(Duration),
    Killed,
    Panicked(String),
    Verdict(Verdict),
}

impl Cut {
    /// What the caller is told.
    pub(super) fn failure(&self, id: &ActorId) -> Failure {
        match self {
            Self::Fault(Fault::Rejected(failure) | Fault::Crashed { failure, .. }) => failure.clone(),
            Self::Late(limit) => Failure::new(Code::LimitExceeded, format!("a turn of {id} took more than {limit:?}")),
            Self::Killed => Failure::new(Code::Unavailable, format!("{id} was killed before it answered")),
            Self::Panicked(message) => Failure::new(Code::HandlerFailed, format!("{id} panicked: {message}")),
            Self::Verdict(_) => Failure::new(Code::Cancelled, format!("the run of {id} was terminated")),
        }
    }
}

/// Runs a part of a turn until it is done, panics, is killed, or takes too long. What does not wait costs no timer.
pub(super) async fn guard<T>(cell: &Cell, limit: Duration, work: impl Future<Output = T>) -> Result<T, Cut> {
    let mut work = std::pin::pin!(AssertUnwindSafe(work).catch_unwind());
    let done = match futures::poll!(work.as_mut()) {
        std::task::Poll::Ready(done) => done,
        // What waits may cost an allocation; what does not keeps its task small, which is made anew for each burst of messages.
        std::task::Poll::Pending => {
            let killed = std::future::poll_fn(|context| cell.mailbox.poll_killed(context));
            let late = Box::pin(async {
                match &cell.inbox {
                    None => tokio::time::sleep(limit).await,
                    // A run may take its time.
                    Some(_) => std::future::pending().await,
                }
            });
            tokio::select! {
                biased;
                done = work => done,
                () = killed => return Err(Cut::Killed),
                verdict = verdict(cell) => return Err(Cut::Verdict(verdict)),
                () = late => return Err(Cut::Late(limit)),
            }
        }
    };
    done.map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
        Cut::Panicked(text.unwrap_or_else(|| "without a message".to_owned()))
    })
}

/// What the turn itself has decided. It is looked at whenever the turn was.
async fn verdict(cell: &Cell) -> Verdict {
    let Some(inbox) = &cell.inbox else { return std::future::pending().await };
    std::future::poll_fn(|_| inbox.verdict().map_or(std::task::Poll::Pending, std::task::Poll::Ready)).await
}
