//! What all services do with a request's payload.

use plexspaces_types::{Code, Failure, Payload};
use serde::de::DeserializeOwned;

/// The longest that a request may wait inside a service: a day.
const LONGEST_WAIT_MS: u64 = 24 * 60 * 60 * 1000;

/// Reads the arguments of an operation.
pub(crate) fn arguments<T: DeserializeOwned>(payload: &Payload) -> Result<T, Failure> {
    let Payload::Json(text) = payload else {
        return Err(Failure::new(Code::InvalidArgument, "expected a JSON object, found bytes"));
    };
    serde_json::from_str(text).map_err(|error| {
        // The position is one in text that the caller has not seen.
        let message = error.to_string();
        let message = message.split_once(" at line ").map_or(message.as_str(), |(reason, _)| reason);
        Failure::new(Code::InvalidArgument, message)
    })
}

/// When a request that may wait stops waiting.
pub(crate) fn until(now_ms: u64, timeout_ms: u64) -> Result<u64, Failure> {
    if timeout_ms > LONGEST_WAIT_MS {
        let message = format!("timeout_ms is {timeout_ms}, expected at most {LONGEST_WAIT_MS} (a day)");
        return Err(Failure::invalid("timeout_ms", message));
    }
    Ok(now_ms.saturating_add(timeout_ms))
}

/// The end of a life that is given in milliseconds.
pub(crate) fn expiry(now_ms: u64, field: &'static str, ttl_ms: Option<u64>) -> Result<Option<u64>, Failure> {
    match ttl_ms {
        Some(0) => Err(Failure::invalid(field, format!("{field} is 0, expected at least 1"))),
        ttl_ms => Ok(ttl_ms.map(|ttl| now_ms.saturating_add(ttl))),
    }
}

pub(crate) fn unknown(service: &str, operation: &str) -> Failure {
    Failure::new(Code::UnknownOperation, format!("{service} have no operation {operation:?}"))
}

/// A row that cannot be read.
pub(crate) fn unreadable(row: &str) -> Failure {
    Failure::new(Code::StorageFailed, format!("a stored {row} cannot be read"))
}
