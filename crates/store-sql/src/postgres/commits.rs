//! How commits are written: each group of a lane is one transaction.
//!
//! A lock belongs to one lane, so two lanes never wait for one another's locks.

use std::time::Duration;

use async_trait::async_trait;
use deadpool::managed::{Object, Pool};
use plexspaces_store::{Commit, Error, Outcome, Writer};
use tokio::time::{Instant, timeout_at};

use super::connection::{Connector, take};
use super::doubt::Doubt;
use super::fault::{Fault, Place};
use super::group::Group;

/// How often a group is begun again that another transaction stood in the way of.
const ATTEMPTS: usize = 3;

/// What the operations of a store share.
pub(super) struct Shared {
    pub(super) place: Place,
    pub(super) pool: Pool<Connector>,
    pub(super) timeout: Duration,
    pub(super) doubt: Doubt,
}

#[async_trait]
impl Writer for Shared {
    async fn write(&self, _lane: usize, group: &[Commit]) -> Vec<Outcome> {
        match self.attempt(group).await {
            Ok(outcomes) => outcomes,
            // One that cannot be written must not fail those that can.
            Err(Ended::Refused(_)) if group.len() > 1 => {
                let mut outcomes = Vec::with_capacity(group.len());
                for commit in group {
                    let own = self.attempt(std::slice::from_ref(commit)).await;
                    outcomes.push(own.map_or_else(|ended| Err(ended.into_error()), |mut own| own.pop().unwrap_or(Ok(()))));
                }
                outcomes
            }
            Err(ended) => vec![Err(ended.into_error()); group.len()],
        }
    }
}

impl Shared {
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Commits a group, again where another transaction stood in the way, and gives the outcome of each.
    async fn attempt(&self, group: &[Commit]) -> Result<Vec<Outcome>, Ended> {
        // Waiting for a turn and for a connection are one time, the work itself is another.
        let oldest = group.iter().map(|commit| commit.since).min().unwrap_or_else(Instant::now);
        let deadline = oldest + self.timeout;
        let mut attempt = 1;
        loop {
            match self.transaction(group, deadline).await {
                Err(Ended::Conflict(_)) if attempt < ATTEMPTS && Instant::now() < deadline => attempt += 1,
                ended => return ended,
            }
        }
    }

    async fn transaction(&self, commits: &[Commit], deadline: Instant) -> Result<Vec<Outcome>, Ended> {
        self.doubt.settle(&self.place, &self.pool, deadline).await.map_err(Ended::Whole)?;
        let link = take(&self.pool, deadline).await.map_err(Ended::Whole)?;
        let group = Group::of(commits.iter().map(|commit| &commit.batch));
        let Group { locks, batches, batch_of, place_of, partition_of, key_of, value_of } = &group;
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
            [locks, batches, batch_of, place_of, partition_of, key_of, value_of];
        // The answer is whole when the server is ready for the next request: then the transaction has ended.
        let answer = timeout_at(self.deadline(), link.client.query(&link.commit, &parameters)).await;
        let fault = match answer {
            Ok(Ok(rows)) => {
                let failed = rows.first().and_then(|row| row.try_get::<_, Vec<i32>>(0).ok()).filter(|failed| failed.len() == commits.len());
                let failed = failed.ok_or_else(|| Ended::Whole(self.place.unknown("the answer has another form than expected")))?;
                return Ok(failed
                    .into_iter()
                    .map(|place| usize::try_from(place).map_or(Ok(()), |index| Err(Error::Precondition { index })))
                    .collect());
            }
            Ok(Err(error)) => self.place.fault(&error),
            Err(_) => Fault::Lost(self.place.late(self.timeout)),
        };
        match fault {
            Fault::Conflict(error) => Err(Ended::Conflict(error)),
            // Not for anything in it.
            Fault::Refused(error @ Error::Unavailable(_)) => Err(Ended::Whole(error)),
            Fault::Refused(error) => Err(Ended::Refused(error)),
            Fault::Lost(what) => {
                self.doubt.add(link.backend.clone());
                drop(Object::take(link));
                Err(Ended::Whole(self.place.unknown(&what)))
            }
        }
    }
}

/// How a transaction failed.
enum Ended {
    /// Another stood in its way; nothing was kept.
    Conflict(Error),
    /// At something in it; nothing was kept.
    Refused(Error),
    /// For all that was in it, whether it was kept or not.
    Whole(Error),
}

impl Ended {
    fn into_error(self) -> Error {
        match self {
            Self::Conflict(error) | Self::Refused(error) | Self::Whole(error) => error,
        }
    }
}
