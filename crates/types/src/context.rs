//! What travels with every message and no guest can change.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use rand::Rng as _;

use crate::{ActorId, Name};

/// A W3C trace context: which request this is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace, never 0.
    pub trace_id: u128,
    /// The span that caused this one, never 0.
    pub span_id: u64,
    /// Whether the caller records the trace.
    pub sampled: bool,
}

impl TraceContext {
    /// A new trace.
    #[must_use]
    pub fn generate() -> Self {
        let mut rng = rand::rng();
        Self { trace_id: rng.random_range(1..=u128::MAX), span_id: rng.random_range(1..=u64::MAX), sampled: false }
    }

    /// Reads a `traceparent` header; `None` unless it is well-formed.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.trim().split('-');
        let version = parts.next()?;
        let (trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?);
        let lengths_hold = version.len() == 2 && trace.len() == 32 && span.len() == 16 && flags.len() == 2;
        let later_version = version != "00";
        if !lengths_hold || version == "ff" || (parts.next().is_some() && !later_version) {
            return None;
        }
        let hex = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if ![version, trace, span, flags].into_iter().all(hex) {
            return None;
        }
        let trace_id = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
        let span_id = u64::from_str_radix(span, 16).ok().filter(|id| *id != 0)?;
        let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        Some(Self { trace_id, span_id, sampled })
    }

    /// The trace's id as 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id_text(&self) -> String {
        format!("{:032x}", self.trace_id)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

/// Whose request it is, how long it may take, and who waits for it.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// The tenant, from the credential or from the calling actor.
    pub tenant: Name,
    /// Where bare names are looked up.
    pub namespace: Name,
    /// The trace that this belongs to.
    pub trace: TraceContext,
    /// When the caller stops waiting; `None` for a tell.
    pub deadline: Option<Instant>,
    /// The actors that wait for this request, outermost first.
    pub chain: Arc<[ActorId]>,
    /// Who asked: the credential's subject, or `anonymous`.
    pub principal: Arc<str>,
    /// With the start of a run: by when it is to be done, in milliseconds since the Unix epoch.
    pub run_until_ms: Option<u64>,
}

impl RequestContext {
    /// A request from outside, without deadline.
    #[must_use]
    pub fn external(tenant: Name, namespace: Name, principal: &str) -> Self {
        let (trace, principal) = (TraceContext::generate(), principal.into());
        Self { tenant, namespace, trace, deadline: None, chain: Arc::from([]), principal, run_until_ms: None }
    }

    /// The same request with another deadline.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_as_it_is_printed() {
        let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(TraceContext::parse(header).map(|t| t.to_string()).as_deref(), Some(header));
    }

    #[test]
    fn a_malformed_traceparent_is_refused() {
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert_eq!(TraceContext::parse(bad), None, "{bad:?}");
        }
    }
}
