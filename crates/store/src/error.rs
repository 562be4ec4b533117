//! What a store can answer other than success.

use plexspaces_types::{Code, Failure};

/// Why an operation was not done. Except for [`Error::Unknown`], nothing of it was kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The precondition with this index did not hold.
    #[error("precondition {index} does not hold")]
    Precondition {
        /// Its index in the batch.
        index: usize,
    },
    /// A declared limit was exceeded.
    #[error("{what} is {found}, the limit is {limit}")]
    Limit {
        /// What was too large, such as `value bytes`.
        what: &'static str,
        /// The backend's limit.
        limit: usize,
        /// What was asked for.
        found: usize,
    },
    /// There is no room left.
    #[error("no space left in the store: {0}")]
    Full(String),
    /// What is on disk is not a store, not of this version, or damaged. The text says what to do.
    #[error("{0}")]
    Corrupt(String),
    /// The backend cannot be reached or refuses work at present.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The backend failed.
    #[error("the store failed: {0}")]
    Failed(String),
    /// The connection broke while a commit was under way, or its end was not heard in time: it was applied as a whole or not at all.
    ///
    /// Whoever gets this forgets what it believes of the partition and reads it again: a read or commit through the same handle that
    /// begins after this error finds the outcome settled. To repeat the batch without a look is right only if its preconditions no longer
    /// hold once it was applied.
    #[error("the outcome of a commit is unknown: {0}")]
    Unknown(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::Precondition { .. } => Code::Fenced,
            Error::Limit { .. } => Code::PayloadTooLarge,
            Error::Full(_) => Code::StorageFull,
            Error::Unavailable(_) => Code::Unavailable,
            Error::Corrupt(_) | Error::Failed(_) | Error::Unknown(_) => Code::StorageFailed,
        };
        // The details of a failing backend are for the log, not for a client.
        let message = match &error {
            Error::Failed(_) | Error::Corrupt(_) => "the store failed; the node's log has the details".to_owned(),
            other => other.to_string(),
        };
        Self::new(code, message)
    }
}
