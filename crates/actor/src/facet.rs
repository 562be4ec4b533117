//! Facets: what wraps an actor's handling of messages without its code knowing.

use async_trait::async_trait;
use plexspaces_types::{ActorId, Failure};

/// A capability that wraps an actor. Each actor has its own; before a message the one with the highest priority runs first, after it last.
#[async_trait]
pub trait Facet: Send + Sync + 'static {
    /// The name under which it is registered.
    fn name(&self) -> &str;

    /// Its place: a higher one is farther outside. 200 is after security and before what persists.
    fn priority(&self) -> u32 {
        200
    }

    /// Runs before the handler. An error rejects the message: the handler does not run, and the sender gets the error.
    async fn before_method(&mut self, _method: &str, _payload: &[u8]) -> Result<InterceptResult, FacetError> {
        Ok(InterceptResult::Continue)
    }

    /// Runs after the handler, before what it did is committed. An error fails the turn.
    async fn after_method(&mut self, _method: &str, _payload: &[u8], _reply: &[u8]) -> Result<InterceptResult, FacetError> {
        Ok(InterceptResult::Continue)
    }

    /// Hears of a message that was rejected further inside or whose handler failed.
    async fn on_error(&mut self, _method: &str, _payload: &[u8], _failure: &Failure) {}

    /// Runs when it begins to wrap an actor.
    async fn on_attach(&mut self, _actor: &ActorId) -> Result<(), FacetError> {
        Ok(())
    }

    /// Runs when it no longer does.
    async fn on_detach(&mut self) {}
}

/// What a hook makes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InterceptResult {
    /// Go on.
    Continue,
    /// Answer with this; what is further inside does not run.
    Reply(Vec<u8>),
    /// Go on with this payload, or after the handler with this reply.
    Replace(Vec<u8>),
}

/// Why a facet refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FacetError {
    /// In the facet's own words, such as `fraud_detected`.
    #[error("{0}")]
    Custom(String),
    /// The caller may not do this.
    #[error("{0}")]
    Denied(String),
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
