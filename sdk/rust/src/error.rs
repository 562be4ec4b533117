//! What a handler says when it cannot do what it was asked.

use plexspaces_types::{Code, Failure};

/// Why a handler refused a message. Whoever asked gets it, and the actor lives on.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BehaviorError {
    /// In the actor's own words.
    #[error("{0}")]
    ProcessingError(String),
    /// The payload is not what the operation takes.
    #[error("invalid payload: {0}")]
    InvalidPayload(String),
    /// The actor has no handler for the operation.
    #[error("{0}")]
    UnknownOperation(String),
    /// A state machine was left in a state that it does not declare.
    #[error("{0}")]
    UndeclaredState(String),
    /// Something that the handler used failed.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl From<serde_json::Error> for BehaviorError {
    fn from(error: serde_json::Error) -> Self {
        Self::InvalidPayload(error.to_string())
    }
}

impl From<String> for BehaviorError {
    fn from(reason: String) -> Self {
        Self::ProcessingError(reason)
    }
}

impl From<&str> for BehaviorError {
    fn from(reason: &str) -> Self {
        Self::ProcessingError(reason.to_owned())
    }
}

impl From<BehaviorError> for Failure {
    fn from(error: BehaviorError) -> Self {
        let code = match error {
            BehaviorError::ProcessingError(_) | BehaviorError::UndeclaredState(_) => Code::HandlerFailed,
            BehaviorError::InvalidPayload(_) => Code::InvalidArgument,
            BehaviorError::UnknownOperation(_) => Code::UnknownOperation,
            BehaviorError::Failed(failure) => return failure,
        };
        Self::new(code, error.to_string())
    }
}
