//! An error as its caller sees it.

use std::time::Duration;

use crate::Code;

/// A code with the message, and the field or wait that go with it. Each crate's own error becomes one of these at its edge.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Failure {
    /// Which error it is.
    pub code: Code,
    /// For people: what was expected and what was found. Never holds paths, stack traces or other internals.
    pub message: String,
    /// The path of the wrong field, such as `order.items[2].quantity`.
    pub field: Option<String>,
    /// When a retry has a chance.
    pub retry_after: Option<Duration>,
    /// Of a conflict: what of the node's the request contradicts.
    pub resource: Option<Box<Resource>>,
}

/// What of the node's a request contradicts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its path, such as `kv/greeting`.
    pub name: String,
    /// Its version now; none where it has no versions or is not there.
    pub current_version: Option<String>,
}

impl Failure {
    /// A failure without field; retryable codes suggest a second's wait.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let retry_after = code.retryable().then_some(Duration::from_secs(1));
        Self { code, message: message.into(), field: None, retry_after, resource: None }
    }

    /// A wrong value of `field`.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message).with_field(field)
    }

    /// There is no such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Code::NotFound, message)
    }

    /// Names the wrong field.
    #[must_use]
    pub fn with_field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Names what a conflict is with, unless that is said already.
    #[must_use]
    pub fn with_resource(mut self, name: impl Into<String>, current_version: Option<String>) -> Self {
        if self.code == Code::Conflict && self.resource.is_none() {
            self.resource = Some(Box::new(Resource { name: name.into(), current_version }));
        }
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}
