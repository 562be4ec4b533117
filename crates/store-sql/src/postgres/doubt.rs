//! Transactions of which it is not known whether they have ended.
//!
//! A connection that is lost may leave one behind that is still under way on the server, and would be committed after its caller was
//! told that the outcome is unknown and has looked what it was. So the server's side is ended before anything else is read or written.

use std::sync::atomic::{AtomicBool, Ordering};

use deadpool::managed::Pool;
use parking_lot::Mutex;
use plexspaces_store::Error;
use tokio::time::{Instant, timeout_at};

use super::connection::{Backend, Connector, take};
use super::fault::{Fault, Place};
use super::schema;

/// The connections that were lost under a commit and may not have ended.
#[derive(Default)]
pub(super) struct Doubt {
    exists: AtomicBool,
    lost: Mutex<Vec<Backend>>,
    /// Held by who sees to it that they end.
    settling: tokio::sync::Mutex<()>,
}

impl Doubt {
    /// A connection was lost under a commit. To be called before its callers are told.
    pub(super) fn add(&self, backend: Backend) {
        self.lost.lock().push(backend);
        self.exists.store(true, Ordering::Release);
    }

    /// Returns when there is none, which costs nothing while all is well.
    pub(super) async fn settle(&self, place: &Place, pool: &Pool<Connector>, deadline: Instant) -> Result<(), Error> {
        if !self.exists.load(Ordering::Acquire) {
            return Ok(());
        }
        let late = || Error::Unavailable("it is not known yet whether an earlier transaction has ended".to_owned());
        let _settling = timeout_at(deadline, self.settling.lock()).await.map_err(|_| late())?;
        loop {
            let Some(backend) = self.next() else { return Ok(()) };
            let link = take(pool, deadline).await?;
            let left = i64::try_from(deadline.saturating_duration_since(Instant::now()).as_millis()).unwrap_or(i64::MAX).max(1);
            let ended = async { link.client.query_one(schema::TERMINATE, &[&backend.pid, &backend.started, &left]).await };
            let row = match timeout_at(deadline, ended).await {
                Ok(Ok(row)) => row,
                Ok(Err(error)) => return Err(refused(place, &error)),
                Err(_) => {
                    drop(deadpool::managed::Object::take(link));
                    return Err(late());
                }
            };
            // Nothing: it was gone before.
            if !matches!(row.try_get::<_, Option<bool>>(0), Ok(None | Some(true))) {
                return Err(late());
            }
            tracing::info!(store = place.name(), pid = backend.pid, "a transaction whose outcome was unknown has ended");
            self.lost.lock().retain(|lost| *lost != backend);
        }
    }

    fn next(&self) -> Option<Backend> {
        let lost = self.lost.lock();
        let next = lost.first().cloned();
        if next.is_none() {
            self.exists.store(false, Ordering::Release);
        }
        next
    }
}

fn refused(place: &Place, error: &tokio_postgres::Error) -> Error {
    match place.fault(error) {
        Fault::Conflict(error) | Fault::Refused(error) => error,
        Fault::Lost(what) => Error::Unavailable(format!("the connection was lost: {what}")),
    }
}
