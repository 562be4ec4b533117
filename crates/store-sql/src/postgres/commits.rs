//! How commits are written: in a few lanes, each of which makes one transaction of all that wait in it.
//!
//! A partition belongs to one lane, so its commits keep their order, and two lanes never wait for one another's locks. A lane that has
//! nothing to do has no task: who puts the first commit into it begins one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::{Object, Pool};
use parking_lot::Mutex;
use plexspaces_store::{Batch, Error};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::connection::{Connector, take};
use super::doubt::Doubt;
use super::fault::{Fault, Place};
use super::group::{Group, lock};
use crate::metrics::Metrics;

/// Bytes at which a group takes no more.
const GROUP_BYTES: usize = 8 << 20;
/// Batches at which a group takes no more. Each may hold a lock, of which a server has some thousands.
const GROUP_COMMITS: usize = 256;
/// How often a group is begun again that another transaction stood in the way of.
const ATTEMPTS: usize = 3;

type Outcome = Result<(), Error>;

/// What the operations of a store share.
pub(super) struct Shared {
    pub(super) place: Place,
    pub(super) pool: Pool<Connector>,
    pub(super) timeout: Duration,
    pub(super) doubt: Doubt,
    pub(super) metrics: Metrics,
}

impl Shared {
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }
}

pub(super) struct Commits {
    lanes: Vec<Arc<Lane>>,
}

struct Lane {
    shared: Arc<Shared>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// A task is at work.
    runs: bool,
}

struct Job {
    batch: Batch,
    bytes: usize,
    since: Instant,
    reply: oneshot::Sender<Outcome>,
}

impl Commits {
    pub(super) fn new(shared: &Arc<Shared>, lanes: usize) -> Self {
        let lane = || Arc::new(Lane { shared: shared.clone(), state: Mutex::default() });
        Self { lanes: (0..lanes.max(1)).map(|_| lane()).collect() }
    }

    pub(super) async fn commit(&self, batch: Batch) -> Outcome {
        let lost = || Error::Unknown("the task that had it has ended with its runtime".to_owned());
        let index = usize::try_from(lock(&batch.partition).cast_unsigned()).unwrap_or(0) % self.lanes.len();
        let Some(lane) = self.lanes.get(index) else { return Err(lost()) };
        let (reply, answer) = oneshot::channel();
        if lane.push(Job { bytes: batch.bytes(), batch, since: Instant::now(), reply }) {
            tokio::spawn(Running(Some(lane.clone())).run());
        }
        answer.await.unwrap_or_else(|_| Err(lost()))
    }
}

impl Lane {
    /// Puts a commit into the lane; says whether that needs a task.
    fn push(&self, job: Job) -> bool {
        let mut state = self.state.lock();
        state.jobs.push_back(job);
        !std::mem::replace(&mut state.runs, true)
    }

    /// As many as make a group, or nothing and the end of the task.
    fn next(&self) -> Option<Vec<Job>> {
        let mut state = self.state.lock();
        let (mut jobs, mut bytes) = (Vec::with_capacity(state.jobs.len().min(GROUP_COMMITS)), 0);
        while jobs.len() < GROUP_COMMITS
            && let Some(job) = state.jobs.pop_front_if(|next| jobs.is_empty() || bytes + next.bytes <= GROUP_BYTES)
        {
            // A commit whose caller has gone before it was begun need not be done.
            if job.reply.is_closed() {
                continue;
            }
            if job.since.elapsed() > self.shared.timeout {
                let waited = format!("the database is too slow: a commit waited {:?} for its turn", self.shared.timeout);
                let _ = job.reply.send(Err(Error::Unavailable(waited)));
                continue;
            }
            bytes += job.bytes;
            jobs.push(job);
        }
        state.runs = !jobs.is_empty();
        state.runs.then_some(jobs)
    }

    async fn write(&self, jobs: Vec<Job>) {
        let outcomes = match self.attempt(&jobs).await {
            Ok(outcomes) => outcomes,
            // One that cannot be written must not fail those that can.
            Err(Ended::Refused(_)) if jobs.len() > 1 => {
                let mut outcomes = Vec::with_capacity(jobs.len());
                for job in &jobs {
                    let own = self.attempt(std::slice::from_ref(job)).await;
                    outcomes.push(own.map_or_else(|ended| Err(ended.into_error()), |mut own| own.pop().unwrap_or(Ok(()))));
                }
                outcomes
            }
            Err(ended) => vec![Err(ended.into_error()); jobs.len()],
        };
        self.shared.metrics.group(jobs.len());
        for (job, outcome) in jobs.into_iter().zip(outcomes) {
            if outcome.is_ok() {
                self.shared.metrics.acknowledged(job.since.elapsed());
            }
            // Who has gone does not need the answer.
            let _ = job.reply.send(outcome);
        }
    }

    /// Commits the jobs together, again where another transaction stood in the way, and gives the outcome of each.
    async fn attempt(&self, jobs: &[Job]) -> Result<Vec<Outcome>, Ended> {
        // Waiting for a turn and for a connection are one time, the work itself is another.
        let oldest = jobs.iter().map(|job| job.since).min().unwrap_or_else(Instant::now);
        let deadline = oldest + self.shared.timeout;
        let mut attempt = 1;
        loop {
            match self.transaction(jobs, deadline).await {
                Err(Ended::Conflict(_)) if attempt < ATTEMPTS && Instant::now() < deadline => attempt += 1,
                ended => return ended,
            }
        }
    }

    async fn transaction(&self, jobs: &[Job], deadline: Instant) -> Result<Vec<Outcome>, Ended> {
        let shared = &self.shared;
        shared.doubt.settle(&shared.place, &shared.pool, deadline).await.map_err(Ended::Whole)?;
        let link = take(&shared.pool, deadline).await.map_err(Ended::Whole)?;
        let group = Group::of(jobs.iter().map(|job| &job.batch));
        let Group { locks, batches, batch_of, place_of, partition_of, key_of, value_of } = &group;
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
            [locks, batches, batch_of, place_of, partition_of, key_of, value_of];
        // The answer is whole when the server is ready for the next request: then the transaction has ended.
        let answer = timeout_at(shared.deadline(), link.client.query(&link.commit, &parameters)).await;
        let fault = match answer {
            Ok(Ok(rows)) => {
                let failed = rows.first().and_then(|row| row.try_get::<_, Vec<i32>>(0).ok()).filter(|failed| failed.len() == jobs.len());
                let failed = failed.ok_or_else(|| Ended::Whole(shared.place.unknown("the answer has another form than expected")))?;
                return Ok(failed
                    .into_iter()
                    .map(|place| usize::try_from(place).map_or(Ok(()), |index| Err(Error::Precondition { index })))
                    .collect());
            }
            Ok(Err(error)) => shared.place.fault(&error),
            Err(_) => Fault::Lost(shared.place.late(shared.timeout)),
        };
        match fault {
            Fault::Conflict(error) => Err(Ended::Conflict(error)),
            // Not for anything in it.
            Fault::Refused(error @ Error::Unavailable(_)) => Err(Ended::Whole(error)),
            Fault::Refused(error) => Err(Ended::Refused(error)),
            Fault::Lost(what) => {
                shared.doubt.add(link.backend.clone());
                drop(Object::take(link));
                Err(Ended::Whole(shared.place.unknown(&what)))
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

/// The task of a lane. If it is dropped before its end, which happens when its runtime ends, another may begin.
struct Running(Option<Arc<Lane>>);

impl Running {
    async fn run(mut self) {
        let Some(lane) = self.0.clone() else { return };
        loop {
            // Callers that were told together come back together.
            tokio::task::yield_now().await;
            let Some(jobs) = lane.next() else { break };
            lane.write(jobs).await;
        }
        self.0 = None;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(lane) = &self.0 else { return };
        let mut state = lane.state.lock();
        state.runs = false;
        let jobs = std::mem::take(&mut state.jobs);
        drop(state);
        drop(jobs);
    }
}
