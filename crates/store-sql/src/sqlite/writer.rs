//! How commits are written: one transaction, and so one fsync, of all that wait.
//!
//! Who has the connection writes. That is a thread of its own, or, while nothing waits and the disk is quick, the caller itself: the way
//! to a thread and back takes about as long as a quick disk needs.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use plexspaces_store::{Batch, Error, Metrics, Precondition, Write as Change};
use rusqlite::{CachedStatement, Connection};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::oneshot;

use super::fault::Place;
use super::table::{Read, Write};

/// Bytes at which a group takes no more: it keeps the log and the wait of the first in it short.
const GROUP_BYTES: usize = 16 << 20;
/// Batches at which a group takes no more.
const GROUP_COMMITS: usize = 4_096;
/// A caller writes itself if the last transaction took no longer than this. On a slower disk the way to the thread does not matter, and
/// blocking a thread of the runtime would.
pub(super) const QUICK: Duration = Duration::from_micros(500);
/// Bytes of the largest batch that a caller writes itself.
const SMALL: usize = 64 << 10;
/// Partitions of which it is known what their last batch required, and the bytes of the largest value that is remembered.
const KNOWN: usize = 16_384;
const KNOWN_BYTES: usize = 64;

/// A commit and who waits for it.
struct Job {
    /// What is kept with the batch though it requires nothing.
    first: Vec<Batch>,
    batch: Batch,
    bytes: usize,
    since: Instant,
    /// `None` when the one who waits writes it.
    reply: Option<oneshot::Sender<Outcome>>,
}

impl Job {
    fn is_abandoned(&self) -> bool {
        self.reply.as_ref().is_some_and(oneshot::Sender::is_closed)
    }
}

/// The commits that wait, in the order of their arrival, and the connection while nobody writes. No more wait than there are callers:
/// each awaits its outcome, and that is the back-pressure.
pub(super) struct Commits {
    place: Place,
    state: Mutex<State>,
    /// Something arrived, the connection came back while something waits, or no more is let in.
    changed: Condvar,
    /// Where the callers of a group are told, of a kind that has threads of its own.
    runtime: OnceLock<Handle>,
    metrics: Metrics,
}

struct State {
    jobs: VecDeque<Job>,
    connection: Option<Writable>,
    closed: bool,
    /// The last transaction was quick and of one commit, so the next caller may well be alone too.
    calm: bool,
}

impl Commits {
    pub(super) fn new(place: &Place, connection: Connection) -> Self {
        let connection = Some(Writable { connection, known: Known::default() });
        let state = State { jobs: VecDeque::new(), connection, closed: false, calm: false };
        Self { place: place.clone(), state: Mutex::new(state), changed: Condvar::new(), runtime: OnceLock::new(), metrics: Metrics::new() }
    }

    pub(super) async fn commit(&self, first: Vec<Batch>, batch: Batch) -> Outcome {
        match self.enter(first, batch)? {
            Entered::Written => Ok(()),
            Entered::Waits(answer) => answer.await.unwrap_or_else(|_| Err(self.place.ended())),
        }
    }

    /// Writes a batch or puts it in the queue.
    fn enter(&self, first: Vec<Batch>, batch: Batch) -> Result<Entered, Error> {
        let bytes = first.iter().chain([&batch]).map(Batch::bytes).sum();
        let mut job = Job { first, batch, bytes, since: Instant::now(), reply: None };
        let mut state = self.state.lock();
        if state.closed {
            return Err(self.place.closed());
        }
        if state.calm
            && job.batch.caller_waits
            && state.jobs.is_empty()
            && job.bytes <= SMALL
            && another_worker_goes_on()
            && let Some(connection) = state.connection.take()
        {
            drop(state);
            let held = Held { commits: self, connection: Some(connection), began: Instant::now(), commits_in_it: 1 };
            let outcomes = held.write(std::slice::from_ref(&job));
            let outcome = outcomes.first().cloned().unwrap_or(Ok(()));
            self.acknowledge(vec![job], outcomes);
            return outcome.map(|()| Entered::Written);
        }
        let (reply, answer) = oneshot::channel();
        job.reply = Some(reply);
        state.jobs.push_back(job);
        drop(state);
        self.changed.notify_one();
        if self.runtime.get().is_none()
            && let Some(runtime) = threaded_runtime()
        {
            let _ = self.runtime.set(runtime);
        }
        Ok(Entered::Waits(answer))
    }

    /// What the thread does: it writes whatever waits, until no more is let in and nothing waits.
    pub(super) fn run(self: &Arc<Self>) {
        while let Some((held, jobs)) = self.take() {
            let outcomes = held.write(&jobs);
            let is_group = jobs.len() > 1;
            let written = Written { commits: Arc::clone(self), jobs, outcomes };
            // A caller that is told from here costs a call of the system, and perhaps a thread that wakes for it alone. A task of the
            // callers' runtime wakes them all for the price of one.
            if is_group && let Some(runtime) = self.runtime.get() {
                runtime.spawn(async move { drop(written) });
            }
        }
    }

    /// Waits for the connection and for commits, and takes as many as make a group. At the end it closes the connection.
    fn take(&self) -> Option<(Held<'_>, Vec<Job>)> {
        let mut state = self.state.lock();
        loop {
            if !state.jobs.is_empty()
                && let Some(connection) = state.connection.take()
            {
                let (mut jobs, mut bytes) = (Vec::with_capacity(state.jobs.len().min(GROUP_COMMITS)), 0);
                while jobs.len() < GROUP_COMMITS
                    && let Some(job) = state.jobs.pop_front_if(|next| jobs.is_empty() || bytes + next.bytes <= GROUP_BYTES)
                {
                    bytes += job.bytes;
                    // A commit whose caller has gone before it was begun need not be done.
                    if !job.is_abandoned() {
                        jobs.push(job);
                    }
                }
                let held = Held { commits: self, connection: Some(connection), began: Instant::now(), commits_in_it: jobs.len() };
                return Some((held, jobs));
            }
            if state.closed && state.jobs.is_empty() && state.connection.take().is_some() {
                return None;
            }
            self.changed.wait(&mut state);
        }
    }

    fn acknowledge(&self, jobs: Vec<Job>, outcomes: Vec<Outcome>) {
        let size = jobs.len();
        for (job, outcome) in jobs.into_iter().zip(outcomes) {
            let kept = outcome.is_ok();
            // Who has gone does not need the answer.
            let _ = job.reply.map(|reply| reply.send(outcome));
            if kept {
                self.metrics.acknowledged(job.since.elapsed());
            }
        }
        self.metrics.group(size);
    }

    /// Lets nothing more in. What waits is still written.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_one();
    }

    /// Lets nothing more in and drops what waits.
    pub(super) fn abandon(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let jobs = std::mem::take(&mut state.jobs);
        drop(state);
        drop(jobs);
    }
}

enum Entered {
    Written,
    Waits(oneshot::Receiver<Outcome>),
}

/// The callers' runtime, if it has threads that run its tasks whatever the caller does.
fn threaded_runtime() -> Option<Handle> {
    Handle::try_current().ok().filter(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread)
}

/// Whether the runtime has another thread for its tasks while this one waits for the disk.
pub(super) fn another_worker_goes_on() -> bool {
    threaded_runtime().is_some_and(|runtime| runtime.metrics().num_workers() > 1)
}

/// A group whose callers are told when this is dropped: so they are told also when a runtime that has ended drops the task that was to do it.
struct Written {
    commits: Arc<Commits>,
    jobs: Vec<Job>,
    outcomes: Vec<Outcome>,
}

impl Drop for Written {
    fn drop(&mut self) {
        self.commits.acknowledge(std::mem::take(&mut self.jobs), std::mem::take(&mut self.outcomes));
    }
}

/// The connection that writes, and what is known of the file because nobody else writes to it.
struct Writable {
    connection: Connection,
    known: Known,
}

/// What each partition's last batch required and left as it was: most require the same as the one before, so that it need not be read again.
#[derive(Default)]
struct Known(HashMap<Bytes, (Bytes, Bytes)>);

impl Known {
    fn holds(&self, batch: &Batch, key: &Bytes, value: &Bytes) -> bool {
        self.0.get(batch.partition.as_bytes()).is_some_and(|(known, has)| known == key && has == value)
    }

    /// What is certain of a batch's partition when the batch is committed.
    fn learn(&mut self, batch: &Batch) {
        let partition = batch.partition.as_bytes();
        let changed = |key: &Bytes| {
            batch.writes.iter().any(|write| matches!(write, Change::Put { key: of, .. } | Change::Delete { key: of } if of == key))
        };
        let required = batch.preconditions.iter().find_map(|precondition| match precondition {
            Precondition::Equals { key, value } if key.len() + value.len() <= KNOWN_BYTES && !changed(key) => Some((key, value)),
            _ => None,
        });
        match (self.0.get(partition), required) {
            (Some((known, has)), Some((key, value))) if known == key && has == value => {}
            (_, Some((key, value))) => {
                if self.0.len() >= KNOWN {
                    self.0.clear();
                }
                let own = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
                self.0.insert(own(partition), (own(key), own(value)));
            }
            (Some((known, _)), None) if changed(known) => drop(self.0.remove(partition)),
            (_, None) => {}
        }
    }
}

/// The connection in the hands of who writes. It goes back however that ends.
struct Held<'a> {
    commits: &'a Commits,
    connection: Option<Writable>,
    began: Instant,
    commits_in_it: usize,
}

impl Held<'_> {
    /// Commits the jobs together and gives the outcome of each.
    fn write(mut self, jobs: &[Job]) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(jobs.len());
        let Some(Writable { connection, known }) = self.connection.as_mut().filter(|_| !jobs.is_empty()) else { return outcomes };
        match Writer::new(&self.commits.place, connection, known) {
            Ok(mut writer) => writer.group(jobs, &mut outcomes),
            Err(error) => outcomes.resize(jobs.len(), Err(error)),
        }
        outcomes
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let calm = self.commits_in_it <= 1 && self.began.elapsed() <= QUICK;
        let mut state = self.commits.state.lock();
        state.connection = self.connection.take();
        state.calm = calm;
        let is_wanted = state.closed || !state.jobs.is_empty();
        drop(state);
        if is_wanted {
            self.commits.changed.notify_one();
        }
    }
}

struct Writer<'c> {
    place: &'c Place,
    connection: &'c Connection,
    known: &'c mut Known,
    begin: CachedStatement<'c>,
    commit: CachedStatement<'c>,
    read: Read<'c>,
    write: Write<'c>,
}

type Outcome = Result<(), Error>;

impl<'c> Writer<'c> {
    /// Its statements are prepared once for a connection, which keeps them.
    fn new(place: &'c Place, connection: &'c Connection, known: &'c mut Known) -> Result<Self, Error> {
        let prepare = |text| connection.prepare_cached(text).map_err(|error| place.fault(&error));
        Ok(Self {
            place,
            connection,
            known,
            begin: prepare("BEGIN IMMEDIATE")?,
            commit: prepare("COMMIT")?,
            read: Read::new(place, connection)?,
            write: Write::new(place, connection)?,
        })
    }

    /// Commits the jobs together and gives the outcome of each.
    fn group(&mut self, jobs: &[Job], outcomes: &mut Vec<Outcome>) {
        match self.transaction(jobs, outcomes) {
            Ok(()) => {}
            // One that cannot be written, because it is large and the disk nearly full, must not fail those that can.
            Err(Error::Full(_) | Error::Failed(_)) if jobs.len() > 1 => {
                outcomes.clear();
                for job in jobs {
                    let mut own = Vec::with_capacity(1);
                    let failed = self.transaction(std::slice::from_ref(job), &mut own).err();
                    outcomes.push(failed.map_or_else(|| own.pop().unwrap_or(Ok(())), Err));
                }
            }
            Err(error) => {
                outcomes.clear();
                outcomes.resize(jobs.len(), Err(error));
            }
        }
    }

    /// Applies the jobs in one transaction. If it fails, none is kept and the outcomes mean nothing.
    fn transaction(&mut self, jobs: &[Job], outcomes: &mut Vec<Outcome>) -> Result<(), Error> {
        self.begin.execute([]).map_err(|error| self.place.fault(&error))?;
        for job in jobs {
            let outcome = self.require(&job.batch);
            if outcome.is_ok() {
                for batch in job.first.iter().chain([&job.batch]) {
                    if let Err(error) = self.apply(batch) {
                        self.roll_back();
                        return Err(error);
                    }
                    self.known.learn(batch);
                }
            }
            outcomes.push(outcome);
        }
        if let Err(error) = self.commit.execute([]) {
            let error = self.place.commit_fault(&error);
            self.roll_back();
            return Err(error);
        }
        Ok(())
    }

    /// Judges the preconditions. Nothing of the batch is written yet, so one that does not hold leaves nothing to undo.
    fn require(&mut self, batch: &Batch) -> Outcome {
        let partition = batch.partition.as_bytes();
        for (index, precondition) in batch.preconditions.iter().enumerate() {
            let holds = match precondition {
                Precondition::Absent { key } => self.read.get(partition, key, |_| ())?.is_none(),
                Precondition::Equals { key, value } if self.known.holds(batch, key, value) => true,
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
    fn roll_back(&mut self) {
        // Some of it was learnt from what is undone.
        self.known.0.clear();
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(path = %self.place.path().display(), %error, "a failed transaction could not be rolled back");
        }
    }
}
