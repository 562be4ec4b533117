//! Reads: on threads of the store, so that a task does not wait for the disk on a thread of the runtime, or at once by who asks, while reads are
//! quick and nobody else does: the way to a thread and back takes longer than a read of what is in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use plexspaces_store::{Error, Page, Partition, Range};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::fault::Place;
use super::queue::Queue;
use super::table::Read;
use super::writer::{QUICK, another_worker_goes_on};

/// A read and who waits for it.
pub(super) enum Job {
    Get(Partition, Bytes, oneshot::Sender<Result<Option<Bytes>, Error>>),
    Scan(Partition, Range, usize, oneshot::Sender<Result<Page, Error>>),
}

/// Whether the last read was quick, so that the next may be made by who asks for it.
#[derive(Clone, Default)]
pub(super) struct Pace(Arc<AtomicBool>);

impl Pace {
    fn note(&self, began: Instant) {
        self.0.store(began.elapsed() <= QUICK, Ordering::Relaxed);
    }
}

/// Serves reads until the queue is closed and empty.
pub(super) fn run(place: &Place, connection: &Connection, queue: &Queue<Job>, pace: &Pace) -> Result<(), Error> {
    let mut read = Read::new(place, connection)?;
    while let Some(job) = queue.take() {
        let began = Instant::now();
        // Who has gone does not need the answer.
        match job {
            Job::Get(partition, key, reply) if !reply.is_closed() => {
                let _ = reply.send(read.get(partition.as_bytes(), &key, Bytes::copy_from_slice));
            }
            Job::Scan(partition, range, limit, reply) if !reply.is_closed() => {
                let _ = reply.send(read.scan(partition.as_bytes(), &range, limit));
            }
            Job::Get(..) | Job::Scan(..) => continue,
        }
        pace.note(began);
    }
    Ok(())
}

/// The connection with which callers read themselves.
pub(super) struct Near {
    connection: Mutex<Option<Connection>>,
    pace: Pace,
}

impl Near {
    pub(super) fn new(connection: Connection, pace: Pace) -> Self {
        Self { connection: Mutex::new(Some(connection)), pace }
    }

    /// Reads at once; none when that might take long, or another does.
    pub(super) fn read<T>(&self, place: &Place, what: impl FnOnce(&mut Read<'_>) -> Result<T, Error>) -> Option<Result<T, Error>> {
        if !self.pace.0.load(Ordering::Relaxed) || !another_worker_goes_on() {
            return None;
        }
        let connection = self.connection.try_lock()?;
        let began = Instant::now();
        let found = Read::new(place, connection.as_ref()?).and_then(|mut read| what(&mut read));
        self.pace.note(began);
        Some(found)
    }

    pub(super) fn close(&self) {
        drop(self.connection.lock().take());
    }
}
