//! Why a request failed.

use std::error::Error as _;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use plexspaces_types::{Code, Failure, Resource};
use tonic::Status;

/// Why a request failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The address is not one.
    #[error("{url:?} is not the address of a node: {why}")]
    Address {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// There was no answer.
    #[error("no node answers at {url}: {why}")]
    Unreachable {
        /// Where it should be.
        url: String,
        /// What happened instead.
        why: String,
    },
    /// The node refused or failed.
    #[error("{failure}")]
    Node {
        /// What the node says.
        failure: Failure,
        /// Under which id its log holds more.
        request_id: Option<String>,
    },
}

impl Error {
    /// Which error it is.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Address { .. } => Code::InvalidArgument,
            Self::Unreachable { .. } => Code::Unavailable,
            Self::Node { failure, .. } => failure.code,
        }
    }

    pub(crate) fn from_status(url: &str, status: &Status) -> Self {
        if status.source().is_some_and(|source| source.is::<tonic::transport::Error>()) {
            return Self::Unreachable { url: url.to_owned(), why: root(status) };
        }
        let text = |name: &str| status.metadata().get(name).and_then(|value| value.to_str().ok());
        let decoded = |name: &str| text(name).map(|text| percent_decode_str(text).decode_utf8_lossy().into_owned());
        let number = status.code() as i32;
        let named = text("reason").and_then(|reason| reason.parse().ok());
        let code = named.or_else(|| Code::ALL.iter().copied().find(|code| code.grpc_status() == number)).unwrap_or(Code::Internal);
        let failure = Failure {
            code,
            message: status.message().to_owned(),
            field: text("field").map(str::to_owned),
            resource: decoded("resource").map(|name| Box::new(Resource { name, current_version: decoded("current-version") })),
            retry_after: text("retry-after").and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs),
        };
        Self::Node { failure, request_id: text("x-request-id").map(str::to_owned) }
    }
}

/// The innermost cause, which says what really happened.
pub(crate) fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
