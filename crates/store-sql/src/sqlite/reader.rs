//! The threads that read, so that a task never waits for the disk on a thread of the runtime.

use bytes::Bytes;
use plexspaces_store::{Error, Page, Partition, Range};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::fault::Place;
use super::queue::Queue;
use super::table::Read;

/// A read and who waits for it.
pub(super) enum Job {
    Get(Partition, Bytes, oneshot::Sender<Result<Option<Bytes>, Error>>),
    Scan(Partition, Range, usize, oneshot::Sender<Result<Page, Error>>),
}

/// Serves reads until the queue is closed and empty.
pub(super) fn run(place: &Place, connection: &Connection, queue: &Queue<Job>) -> Result<(), Error> {
    let mut read = Read::new(place, connection)?;
    while let Some(job) = queue.take() {
        // Who has gone does not need the answer.
        match job {
            Job::Get(partition, key, reply) if !reply.is_closed() => {
                let _ = reply.send(read.get(partition.as_bytes(), &key, Bytes::copy_from_slice));
            }
            Job::Scan(partition, range, limit, reply) if !reply.is_closed() => {
                let _ = reply.send(read.scan(partition.as_bytes(), &range, limit));
            }
            Job::Get(..) | Job::Scan(..) => {}
        }
    }
    Ok(())
}
