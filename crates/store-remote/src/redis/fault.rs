//! What Redis' errors mean to the caller.

use std::sync::Arc;
use std::time::Duration;

use plexspaces_store::Error;
use redis::RedisError;

/// Where the store is. It is for the log and for errors that operators see; what clients see does not name it.
#[derive(Clone, Debug)]
pub(super) struct Place(Arc<str>);

/// What came of a command that failed.
pub(super) enum Fault {
    /// Nothing was kept.
    Refused(Error),
    /// The connection is gone.
    Lost(String),
}

impl Place {
    pub(super) fn new(shown: &str) -> Self {
        Self(shown.into())
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }

    /// No connection could be made.
    pub(super) fn unreachable(&self, error: &std::io::Error) -> Error {
        // What a server says in place of a handshake, or in one, is not passing.
        if error.kind() == std::io::ErrorKind::InvalidData {
            return self.failed(&format!("no encrypted connection: {error}"));
        }
        Error::Unavailable(format!("the database cannot be reached: {error}"))
    }

    /// A command failed.
    pub(super) fn fault(&self, error: &RedisError) -> Fault {
        let Some(code) = error.code() else { return Fault::Lost(error.to_string()) };
        let text = error.detail().unwrap_or_default();
        Fault::Refused(match code {
            "OOM" => Error::Full("the memory of the database is full".to_owned()),
            // The file that it writes cannot be written at present.
            "MISCONF" if text.contains("No space left") => Error::Full(format!("the disk of the database is full: {text}")),
            "READONLY" => Error::Unavailable("the database takes no writes; is it a replica?".to_owned()),
            "LOADING" | "BUSY" | "MISCONF" | "MASTERDOWN" | "NOREPLICAS" | "TRYAGAIN" | "CLUSTERDOWN" => {
                Error::Unavailable(format!("the database refuses work: {text}"))
            }
            "ERR" if text.contains("max number of clients") => Error::Unavailable(format!("the database refuses work: {text}")),
            "WRONGTYPE" => self.foreign("one of its keys holds something else"),
            "WRONGPASS" | "NOAUTH" | "NOPERM" => self.failed(&format!("it refuses the connection: {code} {text}")),
            code => self.failed(&format!("{code} {text}")),
        })
    }

    /// The database does not do what it should.
    pub(super) fn failed(&self, what: &str) -> Error {
        tracing::error!(store = self.name(), what, "the store failed");
        Error::Failed(format!("{}: {what}", self.name()))
    }

    /// The database holds something else.
    pub(super) fn foreign(&self, found: &str) -> Error {
        let remedy = "configure another database or prefix, or use the plexspaces that wrote it";
        Error::Corrupt(format!("{} is not a store of this plexspaces: {found}; {remedy}", self.name()))
    }

    /// It is not known what became of a group.
    pub(super) fn unknown(&self, what: &str) -> Error {
        tracing::warn!(store = self.name(), what, "the outcome of commits is unknown");
        Error::Unknown(what.to_owned())
    }

    pub(super) fn late(&self, timeout: Duration) -> String {
        format!("the database did not answer within {timeout:?}")
    }
}
