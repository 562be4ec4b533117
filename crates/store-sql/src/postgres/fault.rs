//! What PostgreSQL's errors mean to the caller.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use plexspaces_store::Error;
use tokio_postgres::error::{DbError, Severity, SqlState};

/// Where the store is. It is for the log and for errors that operators see; what clients see does not name it.
#[derive(Clone, Debug)]
pub(super) struct Place(Arc<str>);

/// What came of a statement that failed.
pub(super) enum Fault {
    /// Another transaction stood in the way and nothing was kept: the same may be tried again.
    Conflict(Error),
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
    pub(super) fn unreachable(&self, error: &tokio_postgres::Error) -> Error {
        let Some(found) = error.as_db_error() else {
            let what = cause(error);
            let io = error.source().and_then(|cause| cause.downcast_ref::<std::io::Error>());
            return match io {
                // What a server says in place of a handshake, or in one, is not passing.
                Some(io) if io.kind() == std::io::ErrorKind::InvalidData => self.failed(&format!("no encrypted connection: {what}")),
                Some(_) => Error::Unavailable(format!("the database cannot be reached: {what}")),
                _ if error.is_closed() => Error::Unavailable("the database closed a connection that was being made".to_owned()),
                _ => self.failed(&format!("no connection: {what}")),
            };
        };
        let refused = ["28", "3D", "42"].iter().any(|class| found.code().code().starts_with(class));
        if refused { self.failed(&format!("it refuses the connection: {}", found.message())) } else { self.refused(found) }
    }

    /// A statement failed.
    pub(super) fn fault(&self, error: &tokio_postgres::Error) -> Fault {
        match error.as_db_error() {
            // A transaction that ends with an error has kept nothing. With a worse one the connection ends, and it says nothing.
            Some(found) if found.parsed_severity() == Some(Severity::Error) => {
                let is_conflict = found.code().code().starts_with("40");
                let meant = self.refused(found);
                if is_conflict { Fault::Conflict(meant) } else { Fault::Refused(meant) }
            }
            Some(found) => Fault::Lost(found.message().to_owned()),
            None => Fault::Lost(cause(error)),
        }
    }

    /// The server refused a statement, or a connection for now.
    fn refused(&self, found: &DbError) -> Error {
        let (code, message) = (found.code(), found.message());
        match code.code() {
            _ if *code == SqlState::DISK_FULL => Error::Full(format!("the disk of the database is full: {message}")),
            _ if *code == SqlState::QUERY_CANCELED => Error::Unavailable(format!("the database took too long: {message}")),
            _ if *code == SqlState::READ_ONLY_SQL_TRANSACTION => {
                Error::Unavailable("the database takes no writes; is it a standby?".to_owned())
            }
            // Resources, an operator at work, conflicts, a connection that fails.
            class if ["53", "57", "40", "08", "55"].iter().any(|prefix| class.starts_with(prefix)) => {
                Error::Unavailable(format!("the database refuses work: {message}"))
            }
            class @ ("XX001" | "XX002") => {
                tracing::error!(store = self.name(), code = class, message, "the store is damaged");
                Error::Corrupt(format!("{}: {message} (SQLSTATE {class}); restore the database from a backup", self.name()))
            }
            class => self.failed(&format!("{message} (SQLSTATE {class})")),
        }
    }

    /// The database does not do what it should.
    pub(super) fn failed(&self, what: &str) -> Error {
        tracing::error!(store = self.name(), what, "the store failed");
        Error::Failed(format!("{}: {what}", self.name()))
    }

    /// The database holds something else.
    pub(super) fn foreign(&self, found: &str) -> Error {
        let remedy = "configure another database or schema, or use the plexspaces that wrote it";
        Error::Corrupt(format!("{} is not a store of this plexspaces: {found}; {remedy}", self.name()))
    }

    /// The connection was lost under a commit.
    pub(super) fn unknown(&self, what: &str) -> Error {
        tracing::warn!(store = self.name(), what, "the outcome of commits is unknown");
        Error::Unknown(what.to_owned())
    }

    pub(super) fn late(&self, timeout: Duration) -> String {
        format!("the database did not answer within {timeout:?}")
    }
}

/// The innermost reason, which is the one that says something.
fn cause(error: &tokio_postgres::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}
