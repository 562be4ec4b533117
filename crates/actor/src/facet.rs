//! Facets: what wraps an actor's handling of messages without its code knowing.

use async_trait::async_trait;
use plexspaces_types::{ActorId, Code, Failure, Message, RequestContext};
use serde_json::{Map, Value};

use crate::Turn;

pub(crate) mod attach;
mod builtin;
pub(crate) mod pipeline;
mod registry;
mod settings;

pub(crate) use builtin::http_client;
pub use builtin::http_client::check_service_links;
pub use registry::{FacetFactory, FacetRegistry};
pub use settings::FacetSettings;

/// A capability that wraps an actor. Each incarnation of an actor has its own; before a message the one with the highest priority runs
/// first, after it last.
///
/// A facet that looks at no more than operation and payload implements `before_method` and `after_method`; one that must know who sent the
/// message, or that wants to use the turn, implements `before` and `after` instead.
#[async_trait]
pub trait Facet: Send + Sync + 'static {
    /// The name under which it is registered.
    fn name(&self) -> &str;

    /// Its place unless a configuration says otherwise: a higher one is farther outside. 200 is after security and before what persists.
    fn priority(&self) -> u32 {
        200
    }

    /// Whether the caller may do this at all. Runs before everything else, and is all that runs for a repetition that gets a stored answer.
    async fn admit(&mut self, _call: &Call<'_>, _ctx: &RequestContext) -> Result<(), FacetError> {
        Ok(())
    }

    /// Runs before the handler. An error rejects the message: the handler does not run, and the sender gets the error.
    async fn before_method(&mut self, _method: &str, _payload: &[u8]) -> Result<InterceptResult, FacetError> {
        Ok(InterceptResult::Continue)
    }

    /// Runs after the handler, before what it did is committed. An error fails the turn as a failure of the handler does.
    async fn after_method(&mut self, _method: &str, _payload: &[u8], _reply: &[u8]) -> Result<InterceptResult, FacetError> {
        Ok(InterceptResult::Continue)
    }

    /// `before_method` with the whole message, and the turn that the handler will have.
    async fn before(&mut self, call: &Call<'_>, _turn: &mut Turn) -> Result<InterceptResult, FacetError> {
        self.before_method(call.operation, call.message.payload.as_bytes()).await
    }

    /// `after_method` with the whole message, and the turn that the handler had.
    async fn after(&mut self, call: &Call<'_>, reply: &[u8], _turn: &mut Turn) -> Result<InterceptResult, FacetError> {
        self.after_method(call.operation, call.message.payload.as_bytes(), reply).await
    }

    /// Hears of a message that was rejected further inside or whose handler failed.
    async fn on_error(&mut self, _method: &str, _payload: &[u8], _failure: &Failure) {}

    /// Runs when it begins to wrap an actor, before the actor's first message. An error keeps the actor from coming to life.
    async fn on_attach(&mut self, _actor: &ActorId) -> Result<(), FacetError> {
        Ok(())
    }

    /// Runs after `on_attach`, with a turn whose effects are committed like those of `init`.
    async fn on_activate(&mut self, _turn: &mut Turn) -> Result<(), FacetError> {
        Ok(())
    }

    /// Runs when it is detached from an actor that lives on, to take back what `on_activate` has left. An error keeps it attached.
    async fn on_deactivate(&mut self, _turn: &mut Turn) -> Result<(), FacetError> {
        Ok(())
    }

    /// Runs when it no longer wraps the actor: it was detached, or the actor has failed, ended or left memory. It must not block.
    fn on_detach(&mut self) {}
}

/// One message as facets see it.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// What is asked for: the message's operation, else `op` or `action` of its payload.
    pub operation: &'a str,
    /// The message, with the payload that facets farther outside have made of it.
    pub message: &'a Message,
}

/// What a hook makes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InterceptResult {
    /// Go on.
    Continue,
    /// Before the handler: answer with this; what is further inside does not run. After it: the same as `Replace`.
    Reply(Vec<u8>),
    /// Go on with this payload, or after the handler with this reply.
    Replace(Vec<u8>),
}

/// Why a facet refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FacetError {
    /// In the facet's own words, such as `fraud_detected`. The sender gets `rejected` with them as the message.
    #[error("{0}")]
    Custom(String),
    /// The caller has not said who it is. The sender gets `unauthenticated`.
    #[error("{0}")]
    Unauthenticated(String),
    /// The caller may not do this. The sender gets `permission_denied`.
    #[error("{0}")]
    Denied(String),
    /// Something that the facet needed did not work. The sender gets it as it is.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl From<&str> for FacetError {
    fn from(reason: &str) -> Self {
        Self::Custom(reason.to_owned())
    }
}

impl From<String> for FacetError {
    fn from(reason: String) -> Self {
        Self::Custom(reason)
    }
}

impl From<FacetError> for Failure {
    fn from(error: FacetError) -> Self {
        match error {
            FacetError::Custom(reason) => Self::new(Code::Rejected, reason),
            FacetError::Unauthenticated(reason) => Self::new(Code::Unauthenticated, reason),
            FacetError::Denied(reason) => Self::new(Code::PermissionDenied, reason),
            FacetError::Failed(failure) => failure,
        }
    }
}

/// A facet that an actor is to have.
#[derive(Clone, Debug, PartialEq)]
pub struct FacetSpec {
    /// The name under which it is registered.
    pub name: String,
    /// Its place; `None` for the facet's own.
    pub priority: Option<u32>,
    /// Its configuration; the keys depend on the facet.
    pub config: Map<String, Value>,
}

impl FacetSpec {
    /// A facet at its own place.
    #[must_use]
    pub fn new(name: &str, config: Map<String, Value>) -> Self {
        Self { name: name.to_owned(), priority: None, config }
    }
}
