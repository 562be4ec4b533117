//! Workflows that a workflow starts: how they are started, and how their parent hears of their end.

use std::borrow::Cow;

use plexspaces_types::{ActorId, Code, Failure, Message, Payload};
use serde_json::{Value, json};

use crate::inbox::RUN;

/// The operation that starts a run under its id, and is answered as soon as the run is certain to be carried out.
pub(crate) const START: &str = "workflow_start";

/// The signal by which whoever started a run hears of its end.
pub(crate) const ENDED: &str = "workflow_signal:__ENDED__";

/// Under which the result of a run is kept whose request has no name: that of a request cannot be this.
pub(crate) const LATEST: &str = "\u{1}run";

/// The name of a request to start a run: the same id is the same run.
pub(crate) fn start_key(id: &ActorId) -> String {
    format!("workflow:{}", id.key)
}

/// A message as the code is told it: a start is a run.
pub(crate) fn told(message: &Message) -> Cow<'_, Message> {
    if message.operation != START {
        return Cow::Borrowed(message);
    }
    Cow::Owned(Message { operation: RUN.to_owned(), ..message.clone() })
}

/// The answer to a start: the run goes on.
pub(crate) fn started(id: &ActorId) -> Payload {
    Payload::from_value(&json!({"id": id.to_string(), "ended": false}))
}

/// What there is to say of a run that has ended: the answer to a later start, and what its parent hears.
pub(crate) fn ended(id: &ActorId, outcome: Result<&Payload, &Failure>) -> Payload {
    let bytes = |_| Failure::new(Code::Conflict, "its result is bytes, expected JSON");
    let result = outcome.map_err(Clone::clone).and_then(|result| serde_json::from_slice::<Value>(result.as_bytes()).map_err(bytes));
    let (what, value) = match result {
        Ok(result) => ("result", result),
        Err(failure) => {
            // Its cancellation is not that of whoever hears of it.
            let code = if failure.code == Code::Cancelled { Code::Conflict } else { failure.code };
            ("error", json!({"code": code.name(), "message": failure.message, "retryable": code.retryable()}))
        }
    };
    Payload::from_value(&json!({"id": id.to_string(), "ended": true, what: value}))
}

/// A failure as a stored answer keeps it.
pub(crate) fn keep(failure: &Failure) -> Payload {
    Payload::from_value(&json!([failure.code.name(), failure.message]))
}

/// What [`keep`] has kept.
pub(crate) fn kept(payload: &Payload) -> Failure {
    let (code, message): (String, String) = serde_json::from_slice(payload.as_bytes()).unwrap_or_default();
    Failure::new(code.parse().unwrap_or(Code::Internal), message)
}
