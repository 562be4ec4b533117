//! What SQLite's errors mean to the caller.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use plexspaces_store::Error;
use rusqlite::ErrorCode;
use rusqlite::ffi::{SQLITE_IOERR_SHMSIZE, SQLITE_IOERR_WRITE};

/// Where the store is, for the text of its errors.
#[derive(Clone, Debug)]
pub(super) struct Place(Arc<Path>);

impl Place {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path.into())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// An operation failed and nothing of it was kept.
    pub(super) fn fault(&self, error: &rusqlite::Error) -> Error {
        let path = self.0.display();
        match error.sqlite_error() {
            Some(cause) => match cause.code {
                ErrorCode::DiskFull => Error::Full(format!("the disk of {path} is full; make room, nothing else is needed")),
                // The index of the write-ahead log grows in a file of its own, whose growth fails in this way.
                ErrorCode::SystemIoFailure if cause.extended_code == SQLITE_IOERR_SHMSIZE => {
                    Error::Full(format!("the disk of {path} has no room for the index of its log; make room, nothing else is needed"))
                }
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => self.damaged(&error.to_string()),
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
                    Error::Unavailable(format!("another process holds {path} locked: {error}"))
                }
                _ => self.failed(error),
            },
            None => self.failed(error),
        }
    }

    /// The commit of a transaction failed. Where the disk failed under it, its end may be in the log all the same.
    pub(super) fn commit_fault(&self, error: &rusqlite::Error) -> Error {
        match error.sqlite_error() {
            Some(cause) if cause.code == ErrorCode::SystemIoFailure && cause.extended_code != SQLITE_IOERR_WRITE => {
                tracing::error!(path = %self.0.display(), %error, "a commit failed on the disk");
                Error::Unknown(format!("{}: {error}", self.0.display()))
            }
            _ => self.fault(error),
        }
    }

    /// The file holds what was not written there.
    pub(super) fn damaged(&self, found: &str) -> Error {
        let path = self.0.display();
        tracing::error!(%path, found, "the store is damaged");
        Error::Corrupt(format!("{path} is damaged: {found}; restore it from a backup, or move it away to begin with an empty store"))
    }

    /// The file is not of this store.
    pub(super) fn foreign(&self, found: &str) -> Error {
        let path = self.0.display();
        Error::Corrupt(format!("{path} is not a store of plexspaces: {found}; move it away, or configure another path"))
    }

    fn failed(&self, error: &dyn std::error::Error) -> Error {
        tracing::error!(path = %self.0.display(), %error, "the store failed");
        Error::Failed(format!("{}: {error}", self.0.display()))
    }

    /// Work with the file itself failed.
    pub(super) fn io(&self, error: &std::io::Error) -> Error {
        match error.kind() {
            std::io::ErrorKind::StorageFull => Error::Full(format!("the disk of {} is full", self.0.display())),
            _ => self.failed(error),
        }
    }

    /// The store was closed.
    pub(super) fn closed(&self) -> Error {
        Error::Unavailable(format!("{} is closed", self.0.display()))
    }

    /// The thread that had a commit ended.
    pub(super) fn ended(&self) -> Error {
        Error::Unknown(format!("{}: the thread that had it has ended", self.0.display()))
    }
}
