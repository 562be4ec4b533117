//! Which trace the code at hand works for, so that every line of the log can name it, whoever writes it.

use std::cell::Cell;

use plexspaces_types::TraceContext;

tokio::task_local! {
    static CURRENT: Cell<Option<u128>>;
}

/// What a future does is done for a trace.
pub async fn traced<F: Future>(trace: TraceContext, work: F) -> F::Output {
    CURRENT.scope(Cell::new(Some(trace.trace_id)), work).await
}

/// The same for code that runs outside of any task, on behalf of the task that makes it.
pub fn in_this_trace<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let trace = current_trace();
    move || CURRENT.sync_scope(Cell::new(trace), work)
}

/// Work that is done to its end whatever becomes of who waits for it, for the same trace.
pub async fn to_the_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(CURRENT.scope(Cell::new(current_trace()), work)).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime has ended, and with it who waits.
            Err(_) => std::future::pending().await,
        },
    }
}

/// The id of the trace that the code at hand works for.
#[must_use]
pub fn current_trace() -> Option<u128> {
    CURRENT.try_with(Cell::get).ok().flatten()
}

/// A future that works for one message after the other, each with a trace of its own.
pub(crate) async fn in_turns<F: Future>(work: F) -> F::Output {
    CURRENT.scope(Cell::new(None), work).await
}

/// From here on the work [`in_turns`] is done for this.
pub(crate) fn work_for(trace: Option<TraceContext>) {
    // There is none where a test drives an actor by itself.
    let _ = CURRENT.try_with(|current| current.set(trace.map(|trace| trace.trace_id)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_piece_of_work_knows_its_own_trace() {
        let (outer, inner) = (TraceContext::generate(), TraceContext::generate());
        assert_eq!(current_trace(), None);
        traced(outer, async {
            in_turns(async {
                assert_eq!(current_trace(), None);
                work_for(Some(inner));
                tokio::task::yield_now().await;
                assert_eq!(current_trace(), Some(inner.trace_id));
                let elsewhere = tokio::task::spawn_blocking(in_this_trace(current_trace));
                assert_eq!(elsewhere.await.unwrap(), Some(inner.trace_id));
                work_for(None);
                assert_eq!(current_trace(), None);
            })
            .await;
            assert_eq!(current_trace(), Some(outer.trace_id));
        })
        .await;
        assert_eq!(current_trace(), None);
    }
}
