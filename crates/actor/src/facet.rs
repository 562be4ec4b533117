//! Facets: what wraps an actor's handling of messages without its code knowing.

use async_trait::async_trait;
use bytes::Bytes;
use plexspaces_types::{ActorId, Code, Failure, Message, Payload};

use crate::{Fault, Instance, Reply, Turn};

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

    /// Runs after the handler, before what it did is committed. An error fails the turn: it is rolled back and the actor restarts.
    async fn after_method(&mut self, _method: &str, _payload: &[u8], _reply: &[u8]) -> Result<InterceptResult, FacetError> {
        Ok(InterceptResult::Continue)
    }

    /// Hears of a message that was rejected further inside or whose handler failed.
    async fn on_error(&mut self, _method: &str, _payload: &[u8], _failure: &Failure) {}

    /// Runs when it begins to wrap an actor, whose `init` has run. An error keeps the actor from starting.
    async fn on_attach(&mut self, _actor: &ActorId) -> Result<(), FacetError> {
        Ok(())
    }
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

impl From<FacetError> for Failure {
    fn from(error: FacetError) -> Self {
        let code = match error {
            FacetError::Custom(_) => Code::InvalidArgument,
            FacetError::Denied(_) => Code::PermissionDenied,
        };
        Self::new(code, error.to_string())
    }
}

/// An actor's code with facets around it.
pub struct Faceted {
    inner: Box<dyn Instance>,
    /// The outermost first.
    facets: Vec<Box<dyn Facet>>,
}

impl Faceted {
    /// Wraps an actor. Facets of the same priority keep their order. Without facets there is nothing around the actor.
    pub async fn wrap(id: &ActorId, inner: Box<dyn Instance>, mut facets: Vec<Box<dyn Facet>>) -> Result<Box<dyn Instance>, Fault> {
        if facets.is_empty() {
            return Ok(inner);
        }
        facets.sort_by_key(|facet| std::cmp::Reverse(facet.priority()));
        for facet in &mut facets {
            facet.on_attach(id).await.map_err(failed)?;
        }
        Ok(Box::new(Self { inner, facets }))
    }

    /// Goes through the facets from the outside in and back. The second value is how many of them the message has passed.
    async fn pass(&mut self, message: &mut Message, turn: Turn, want_state: bool) -> (Result<(Reply, Turn), Fault>, usize) {
        let mut passed = 0;
        let mut early = None;
        for facet in &mut self.facets {
            match facet.before_method(&message.operation, message.payload.as_bytes()).await {
                Ok(InterceptResult::Continue) => {}
                Ok(InterceptResult::Replace(payload)) => message.payload = replaced(&message.payload, payload),
                Ok(InterceptResult::Reply(reply)) => {
                    early = Some(replaced(&message.payload, reply));
                    break;
                }
                Err(error) => return (Err(Fault::Rejected(error.into())), passed),
            }
            passed += 1;
        }
        let handled = match early {
            Some(payload) => Ok((Reply { payload, state: None }, turn)),
            None => self.inner.handle(message, turn, want_state).await,
        };
        let (mut reply, turn) = match handled {
            Ok(handled) => handled,
            Err(fault) => return (Err(fault), passed),
        };
        for facet in self.facets.iter_mut().take(passed).rev() {
            match facet.after_method(&message.operation, message.payload.as_bytes(), reply.payload.as_bytes()).await {
                Ok(InterceptResult::Continue) => {}
                Ok(InterceptResult::Reply(other) | InterceptResult::Replace(other)) => reply.payload = replaced(&reply.payload, other),
                Err(error) => return (Err(failed(error)), passed),
            }
        }
        (Ok((reply, turn)), passed)
    }
}

#[async_trait]
impl Instance for Faceted {
    async fn handle(&mut self, message: &Message, turn: Turn, want_state: bool) -> Result<(Reply, Turn), Fault> {
        let mut message = message.clone();
        if message.operation.is_empty() {
            message.operation = named(&message.payload);
        }
        let (outcome, passed) = self.pass(&mut message, turn, want_state).await;
        if let Err(Fault::Rejected(failure) | Fault::Crashed { failure, .. }) = &outcome {
            for facet in self.facets.iter_mut().take(passed).rev() {
                facet.on_error(&message.operation, message.payload.as_bytes(), failure).await;
            }
        }
        outcome
    }

    async fn snapshot(&mut self) -> Result<Payload, Fault> {
        self.inner.snapshot().await
    }

    async fn restore(&mut self, state: &Payload) -> Result<(), Fault> {
        self.inner.restore(state).await
    }

    fn memory_bytes(&self) -> usize {
        self.inner.memory_bytes()
    }

    fn wants_replacement(&self) -> bool {
        self.inner.wants_replacement()
    }
}

/// The operation that only the payload names.
fn named(payload: &Payload) -> String {
    #[derive(Default, serde::Deserialize)]
    struct Operation {
        op: Option<String>,
        action: Option<String>,
    }
    let operation: Operation = serde_json::from_slice(payload.as_bytes()).unwrap_or_default();
    operation.op.or(operation.action).unwrap_or_default()
}

fn failed(error: FacetError) -> Fault {
    Fault::Crashed { failure: error.into(), trace: String::new() }
}

/// What a facet gives in place of a payload: text where the payload was text, if it is any.
fn replaced(before: &Payload, bytes: Vec<u8>) -> Payload {
    match before {
        Payload::Json(_) => String::from_utf8(bytes).map_or_else(|error| Payload::Bytes(error.into_bytes().into()), Payload::Json),
        Payload::Bytes(_) => Payload::Bytes(Bytes::from(bytes)),
    }
}
