//! Workflows that a workflow starts: how they are started, and how their parent hears of their end.

use std::borrow::Cow;

use plexspaces_types::{ActorId, Code, Failure, Message, Payload};
use serde_json::{Value, json};

use crate::inbox::RUN;

/// The operation that starts a run under its id, and is answered as soon as the run is certain to be carried out.
pub(crate) const START: &str = "workflow_start";

/// The entry of a run's journal that says by when it is to be done. Nobody can send it.
pub(crate) const DEADLINE: &str = "workflow_deadline";

/// The entry that says that this time has passed.
pub(crate) const TIMED_OUT: &str = "workflow_timed_out";

/// The longest time that a run may be given: ten years.
const LONGEST_RUN_MS: u64 = 10 * 365 * 24 * 60 * 60 * 1000;

/// The signal by which whoever started a run hears of its end.
pub(crate) const ENDED: &str = "workflow_signal:__ENDED__";

/// Under which the result of a run is kept whose request has no name: that of a request cannot be this.
pub(crate) const LATEST: &str = "\u{1}run";

/// The name of a request to start a run: the same id is the same run.
pub(crate) fn start_key(id: &ActorId) -> String {
    format!("workflow:{}", id.key)
}

/// The operation of an actor's request, and how long the run may take that it starts: `workflow_start:60000` gives it a minute.
pub(crate) fn start_of(operation: &str) -> Result<(&str, Option<u64>), Failure> {
    let Some(time) = operation.strip_prefix(START).and_then(|rest| rest.strip_prefix(':')) else { return Ok((operation, None)) };
    let wrong = || Failure::invalid("operation", format!("expected {START}:MILLISECONDS, found {operation:?}"));
    check_run_timeout(time.parse().map_err(|_| wrong())?).map(|time| (START, Some(time)))
}

/// How long a run may take, if that is a time.
pub(crate) fn check_run_timeout(run_timeout_ms: u64) -> Result<u64, Failure> {
    match run_timeout_ms {
        1..=LONGEST_RUN_MS => Ok(run_timeout_ms),
        other => Err(Failure::invalid(
            "run_timeout_ms",
            format!("the time of a run is {other} ms, expected 1 to {LONGEST_RUN_MS} ms (ten years)"),
        )),
    }
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
            let code = of_another(failure.code);
            // To ask again does not help: it has ended.
            let retryable = failure.code.retryable();
            ("error", json!({"code": code.name(), "message": failure.message, "retryable": retryable}))
        }
    };
    Payload::from_value(&json!({"id": id.to_string(), "ended": true, what: value}))
}

/// What another run failed with, for whoever waits for that: its end is not one's own.
pub(crate) fn of_another(code: Code) -> Code {
    match code {
        Code::Cancelled => Code::Conflict,
        Code::TimedOut => Code::DeadlineExceeded,
        other => other,
    }
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
