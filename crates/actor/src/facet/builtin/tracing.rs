//! `tracing`: a span for each message, under the trace that the message belongs to.

use std::time::Instant;

use async_trait::async_trait;
use plexspaces_types::{ActorId, Failure};
use serde_json::{Map, Value};
use tracing::Span;
use tracing::field::Empty;

use crate::{Call, Facet, FacetError, FacetSettings, InterceptResult, Turn};

#[derive(Default)]
struct Tracing {
    /// The message that is being handled, and since when.
    open: Option<(Span, Instant)>,
    actor: Option<ActorId>,
}

pub(super) fn make(config: &Map<String, Value>) -> Result<Box<dyn Facet>, String> {
    FacetSettings::new(config).finish()?;
    Ok(Box::new(Tracing::default()))
}

impl Tracing {
    fn close(&mut self, outcome: &str) {
        let Some((span, begun)) = self.open.take() else { return };
        span.record("outcome", outcome);
        let took_us = u64::try_from(crate::now().duration_since(begun).as_micros()).unwrap_or(u64::MAX);
        tracing::info!(target: "plexspaces::trace", parent: &span, outcome, took_us, "a message was handled");
    }
}

#[async_trait]
impl Facet for Tracing {
    fn name(&self) -> &str {
        "tracing"
    }

    fn priority(&self) -> u32 {
        750
    }

    async fn on_attach(&mut self, actor: &ActorId) -> Result<(), FacetError> {
        self.actor = Some(actor.clone());
        Ok(())
    }

    async fn before(&mut self, call: &Call<'_>, turn: &mut Turn) -> Result<InterceptResult, FacetError> {
        let (actor_id, trace) = (turn.actor_id(), turn.context().trace);
        let (trace_id, parent_span_id) = (trace.trace_id_text(), format!("{:016x}", trace.span_id));
        let span = tracing::info_span!(
            target: "plexspaces::trace",
            "message",
            %actor_id,
            tenant = %actor_id.tenant,
            operation = call.operation,
            trace_id,
            parent_span_id,
            outcome = Empty
        );
        self.open = Some((span, crate::now()));
        Ok(InterceptResult::Continue)
    }

    async fn after(&mut self, _call: &Call<'_>, _reply: &[u8], _turn: &mut Turn) -> Result<InterceptResult, FacetError> {
        self.close("handled");
        Ok(InterceptResult::Continue)
    }

    async fn on_error(&mut self, _method: &str, _payload: &[u8], failure: &Failure) {
        self.close(failure.code.name());
    }
}
