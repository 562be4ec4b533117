//! The store as its callers see it.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use plexspaces_store::{Batch, Error, Limits, Page, Partition, Range, Store};
use tokio::sync::oneshot;

use super::config::{Config, LIMITS};
use super::fault::Place;
use super::queue::{Closed, Queue};
use super::reader::{Near, Pace};
use super::writer::Commits;
use super::{file, reader};

/// The embedded database. Commits of many callers share one fsync; a commit that finds nothing under way is written at once.
///
/// A small commit that is alone is written by its caller while the disk syncs in half a millisecond, and a read is made by its caller while
/// reads are as quick: it blocks its thread, but never the only one of a runtime. All else happens on threads of the store.
///
/// Its threads end with it: [`Sqlite::close`] ends them without blocking the runtime; dropping it waits for the group of commits that
/// is being written, and nothing acknowledged is lost either way. Only one process may have a file open; the caller sees to that.
pub struct Sqlite {
    place: Place,
    commits: Arc<Commits>,
    reads: Arc<Queue<reader::Job>>,
    near: Near,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sqlite").field("path", &self.place.path()).finish_non_exhaustive()
    }
}

impl Sqlite {
    /// Opens the store, or makes it if there is none. It blocks for a few milliseconds; with [`Config::verify`] for as long as it takes
    /// to read the file.
    ///
    /// A file that is not a store, that a newer version wrote, or that is damaged is [`Error::Corrupt`] and left as it is.
    pub fn open(config: Config) -> Result<Self, Error> {
        let place = Place::new(config.path.clone());
        let connection = file::open(&place, &config)?;
        let readers = (0..config.readers.max(1)).map(|_| file::open_reader(&place)).collect::<Result<Vec<_>, _>>()?;
        // From here on a failure drops this, which ends the threads that were begun.
        let commits = Arc::new(Commits::new(&place, connection));
        let pace = Pace::default();
        let near = Near::new(file::open_reader(&place)?, pace.clone());
        let this = Self { place, commits, reads: Arc::new(Queue::new()), near, threads: Mutex::default() };
        for connection in readers {
            let (place, reads) = (this.place.clone(), Abandon(Arc::clone(&this.reads), Queue::abandon));
            let pace = pace.clone();
            this.spawn("store-read", move || {
                if let Err(error) = reader::run(&place, &connection, &reads.0, &pace) {
                    tracing::error!(path = %place.path().display(), %error, "a thread of the store ended");
                }
            })?;
        }
        let commits = Abandon(Arc::clone(&this.commits), Commits::abandon);
        this.spawn("store-write", move || commits.0.run())?;
        Ok(this)
    }

    /// Ends the store: what was handed over is written, the log is copied into the database, the threads end. Afterwards every operation
    /// is [`Error::Unavailable`]. Closing it again does nothing.
    pub async fn close(&self) -> Result<(), Error> {
        let threads = self.end();
        if threads.is_empty() {
            return Ok(());
        }
        let place = self.place.clone();
        let (done, ended) = oneshot::channel();
        let end = move || {
            join(threads);
            // Opened once more, since only the last connection can copy the whole log and remove it.
            let outcome = file::open_reader(&place).and_then(|last| file::checkpoint(&place, &last));
            let _ = done.send(outcome);
        };
        thread::Builder::new().name("store-close".to_owned()).spawn(end).map_err(|error| self.place.io(&error))?;
        ended.await.unwrap_or_else(|_| Err(self.place.ended()))
    }

    fn spawn(&self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run).map_err(|error| self.place.io(&error))?;
        self.threads.lock().push(thread);
        Ok(())
    }

    fn end(&self) -> Vec<JoinHandle<()>> {
        self.commits.close();
        self.reads.close();
        self.near.close();
        std::mem::take(&mut *self.threads.lock())
    }

    async fn read<T>(&self, job: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> reader::Job) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.reads.push(job(reply)).map_err(|Closed| self.place.closed())?;
        answer.await.unwrap_or_else(|_| Err(self.place.closed()))
    }
}

#[async_trait]
impl Store for Sqlite {
    fn backend(&self) -> &'static str {
        "sqlite"
    }

    fn limits(&self) -> &Limits {
        &LIMITS
    }

    async fn get(&self, partition: &Partition, key: &[u8]) -> Result<Option<Bytes>, Error> {
        if let Some(found) = self.near.read(&self.place, |read| read.get(partition.as_bytes(), key, Bytes::copy_from_slice)) {
            return found;
        }
        self.read(|reply| reader::Job::Get(partition.clone(), Bytes::copy_from_slice(key), reply)).await
    }

    async fn scan(&self, partition: &Partition, range: Range, limit: usize) -> Result<Page, Error> {
        if let Some(found) = self.near.read(&self.place, |read| read.scan(partition.as_bytes(), &range, limit)) {
            return found;
        }
        self.read(|reply| reader::Job::Scan(partition.clone(), range, limit, reply)).await
    }

    async fn commit(&self, batch: Batch) -> Result<(), Error> {
        self.commit_after(Vec::new(), batch).await
    }

    async fn commit_after(&self, first: Vec<Batch>, batch: Batch) -> Result<(), Error> {
        first.iter().chain([&batch]).try_for_each(|batch| LIMITS.check(batch))?;
        self.commits.commit(first, batch).await
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        join(self.end());
    }
}

fn join(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a thread of the store panicked");
        }
    }
}

/// Abandons what waits for a thread at its end, so that nobody waits for ever, however it ends.
struct Abandon<Q>(Arc<Q>, fn(&Q));

impl<Q> Drop for Abandon<Q> {
    fn drop(&mut self) {
        (self.1)(&self.0);
    }
}
