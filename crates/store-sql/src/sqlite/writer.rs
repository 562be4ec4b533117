//! The thread that writes: it makes one transaction, and so one fsync, of all commits that wait.

use std::time::Instant;

use metrics::{Counter, Histogram};
use plexspaces_store::{Batch, Error, Precondition, Write as Change};
use rusqlite::{Connection, Statement};
use tokio::sync::oneshot;

use super::fault::Place;
use super::queue::Queue;
use super::table::{Read, Write};

/// Bytes at which a group takes no more: it keeps the log and the wait of the first in it short.
const GROUP_BYTES: usize = 16 << 20;
/// Batches at which a group takes no more.
const GROUP_COMMITS: usize = 4_096;

/// A commit and who waits for it.
pub(super) struct Job {
    batch: Batch,
    bytes: usize,
    since: Instant,
    reply: oneshot::Sender<Result<(), Error>>,
}

impl Job {
    pub(super) fn new(batch: Batch, reply: oneshot::Sender<Result<(), Error>>) -> Self {
        Self { bytes: batch.bytes(), batch, since: Instant::now(), reply }
    }
}

/// Commits until the queue is closed and empty.
pub(super) fn run(place: &Place, connection: &Connection, queue: &Queue<Job>) -> Result<(), Error> {
    let mut writer = Writer::new(place, connection)?;
    let (mut jobs, mut outcomes) = (Vec::new(), Vec::new());
    loop {
        let (mut bytes, mut commits) = (0, 1);
        let more = |next: &Job| {
            bytes += next.bytes;
            commits += 1;
            bytes <= GROUP_BYTES && commits <= GROUP_COMMITS
        };
        if !queue.take(&mut jobs, more) {
            return Ok(());
        }
        // A commit whose caller has gone before it was begun need not be done.
        jobs.retain(|job| !job.reply.is_closed());
        if jobs.is_empty() {
            continue;
        }
        writer.group(&jobs, &mut outcomes);
        writer.acknowledge(&mut jobs, &mut outcomes);
    }
}

struct Writer<'c> {
    place: Place,
    connection: &'c Connection,
    begin: Statement<'c>,
    commit: Statement<'c>,
    read: Read<'c>,
    write: Write<'c>,
    metrics: Metrics,
}

type Outcome = Result<(), Error>;

impl<'c> Writer<'c> {
    fn new(place: &Place, connection: &'c Connection) -> Result<Self, Error> {
        let prepare = |text| connection.prepare(text).map_err(|error| place.fault(&error));
        Ok(Self {
            place: place.clone(),
            connection,
            begin: prepare("BEGIN IMMEDIATE")?,
            commit: prepare("COMMIT")?,
            read: Read::new(place, connection)?,
            write: Write::new(place, connection)?,
            metrics: Metrics::new(),
        })
    }

    /// Commits the jobs together and gives the outcome of each.
    fn group(&mut self, jobs: &[Job], outcomes: &mut Vec<Outcome>) {
        outcomes.clear();
        match self.transaction(jobs, outcomes) {
            Ok(()) => {}
            // One that cannot be written, because it is large and the disk nearly full, must not fail those that can.
            Err(Failed::Write(_)) if jobs.len() > 1 => {
                outcomes.clear();
                for job in jobs {
                    let mut own = Vec::with_capacity(1);
                    let failed = self.transaction(std::slice::from_ref(job), &mut own).err();
                    outcomes.push(failed.map_or_else(|| own.pop().unwrap_or(Ok(())), |failed| Err(failed.into_error())));
                }
            }
            Err(failed) => {
                let error = failed.into_error();
                outcomes.clear();
                outcomes.resize(jobs.len(), Err(error));
            }
        }
    }

    /// Applies the jobs in one transaction. If it fails, none is kept and the outcomes mean nothing.
    fn transaction(&mut self, jobs: &[Job], outcomes: &mut Vec<Outcome>) -> Result<(), Failed> {
        self.begin.execute([]).map_err(|error| Failed::Commit(self.place.fault(&error)))?;
        for job in jobs {
            let outcome = self.require(&job.batch);
            if outcome.is_ok()
                && let Err(error) = self.apply(&job.batch)
            {
                self.roll_back();
                return Err(Failed::Write(error));
            }
            outcomes.push(outcome);
        }
        if let Err(error) = self.commit.execute([]) {
            let error = self.place.commit_fault(&error);
            self.roll_back();
            return Err(Failed::Commit(error));
        }
        Ok(())
    }

    /// Judges the preconditions. Nothing of the batch is written yet, so one that does not hold leaves nothing to undo.
    fn require(&mut self, batch: &Batch) -> Outcome {
        let partition = batch.partition.as_bytes();
        for (index, precondition) in batch.preconditions.iter().enumerate() {
            let holds = match precondition {
                Precondition::Absent { key } => self.read.get(partition, key, |_| ())?.is_none(),
                Precondition::Equals { key, value } => self.read.get(partition, key, |found| found == value)? == Some(true),
            };
            if !holds {
                return Err(Error::Precondition { index });
            }
        }
        Ok(())
    }

    fn apply(&mut self, batch: &Batch) -> Result<(), Error> {
        let partition = batch.partition.as_bytes();
        for change in &batch.writes {
            match change {
                Change::Put { key, value } => self.write.put(partition, key, value)?,
                Change::Delete { key } => self.write.delete(partition, key)?,
            }
        }
        Ok(())
    }

    /// Ends a failed transaction, unless SQLite has already done so.
    fn roll_back(&self) {
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(path = %self.place.path().display(), %error, "a failed transaction could not be rolled back");
        }
    }

    fn acknowledge(&self, jobs: &mut Vec<Job>, outcomes: &mut Vec<Outcome>) {
        let size = jobs.len();
        for (job, outcome) in jobs.drain(..).zip(outcomes.drain(..)) {
            let kept = outcome.is_ok();
            // Who has gone does not need the answer.
            let _ = job.reply.send(outcome);
            if kept {
                self.metrics.commits.increment(1);
                self.metrics.seconds.record(job.since.elapsed());
            }
        }
        if size > 0 {
            self.metrics.group.record(u32::try_from(size).unwrap_or(u32::MAX));
        }
    }
}

/// Where a transaction failed.
enum Failed {
    /// At a batch's writes: others may fare better alone.
    Write(Error),
    /// As a whole.
    Commit(Error),
}

impl Failed {
    fn into_error(self) -> Error {
        match self {
            Self::Write(error) | Self::Commit(error) => error,
        }
    }
}

struct Metrics {
    seconds: Histogram,
    group: Histogram,
    commits: Counter,
}

impl Metrics {
    fn new() -> Self {
        use metrics::Unit::{Count, Seconds};
        metrics::describe_histogram!("plexspaces_store_commit_seconds", Seconds, "From handing over a commit to its acknowledgement");
        metrics::describe_histogram!("plexspaces_store_group_size", Count, "Commits in one transaction of the store");
        metrics::describe_counter!("plexspaces_store_commits_total", Count, "Acknowledged commits");
        Self {
            seconds: metrics::histogram!("plexspaces_store_commit_seconds"),
            group: metrics::histogram!("plexspaces_store_group_size"),
            commits: metrics::counter!("plexspaces_store_commits_total"),
        }
    }
}
