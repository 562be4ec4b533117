//! What DynamoDB's errors mean to the caller.

use std::sync::Arc;

use plexspaces_aws::{Answer, Refusal};
use plexspaces_store::Error;
use serde_json::Value;

/// Where the store is. It is for the log and for errors that operators see; what clients see does not name it.
#[derive(Clone, Debug)]
pub(super) struct Place(Arc<str>);

/// What came of a request that was not done.
#[derive(Debug)]
pub(super) enum Fault {
    /// A condition did not hold.
    Condition {
        /// It was sent before, and may have met itself.
        again: bool,
    },
    /// There is no such table.
    NoTable,
    /// Nothing was done, and nothing will be.
    Refused(Error),
    /// There was no connection.
    Unreachable(String),
    /// It may be done if it is sent again.
    Passing {
        /// Why it was not.
        what: String,
        /// It may have been done.
        sent: bool,
    },
}

impl Place {
    pub(super) fn new(shown: &str) -> Self {
        Self(shown.into())
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }

    /// There is no answer.
    pub(super) fn unanswered(&self, fault: plexspaces_aws::Fault) -> Fault {
        use plexspaces_aws::Fault as Of;
        match fault {
            // It may last, so that it is told at once.
            Of::NoKeys(what) | Of::Unreachable(what) => Fault::Unreachable(what),
            Of::Unsigned(what) => Fault::Refused(self.failed(&what)),
            Of::Untrusted(what) => Fault::Refused(self.failed(&format!("no encrypted connection: {what}"))),
            Of::Lost(what) => Fault::Passing { what, sent: true },
        }
    }

    /// An answer that is no success.
    pub(super) fn fault(&self, answer: &Answer) -> Fault {
        let (Refusal { kind, message, body }, status) = (answer.refusal(), answer.status);
        let what = format!("{kind} {message}").trim().to_owned();
        match kind.as_str() {
            // The second is what a table gives that is there already.
            "ConditionalCheckFailedException" | "ResourceInUseException" => Fault::Condition { again: false },
            "TransactionCanceledException" => self.cancelled(&body, &what),
            "ResourceNotFoundException" => Fault::NoTable,
            "ProvisionedThroughputExceededException"
            | "ThrottlingException"
            | "RequestLimitExceeded"
            | "LimitExceededException"
            | "TransactionConflictException"
            | "TransactionInProgressException" => Fault::Passing { what, sent: false },
            _ if status >= 500 => Fault::Passing { what: format!("status {status} {what}").trim().to_owned(), sent: true },
            _ => Fault::Refused(self.failed(&format!("it refuses a request: {what}"))),
        }
    }

    /// Why a transaction was not done: a condition stands over what is passing.
    fn cancelled(&self, body: &Value, what: &str) -> Fault {
        let reasons = body.get("CancellationReasons").and_then(Value::as_array);
        let codes: Vec<&str> = reasons.into_iter().flatten().filter_map(|reason| reason.get("Code")?.as_str()).collect();
        let passing = ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"];
        if codes.contains(&"ConditionalCheckFailed") {
            Fault::Condition { again: false }
        } else if codes.iter().any(|code| passing.contains(code)) {
            Fault::Passing { what: what.to_owned(), sent: false }
        } else {
            Fault::Refused(self.failed(&format!("it refuses a change: {what}")))
        }
    }

    /// The service does not do what it should.
    pub(super) fn failed(&self, what: &str) -> Error {
        tracing::error!(store = self.name(), what, "the store failed");
        Error::Failed(format!("{}: {what}", self.name()))
    }

    /// The table holds something else.
    pub(super) fn foreign(&self, found: &str) -> Error {
        let remedy = "configure another table, or use the plexspaces that wrote it";
        Error::Corrupt(format!("{} is not a store of this plexspaces: {found}; {remedy}", self.name()))
    }

    /// It is not known what became of a change.
    pub(super) fn unknown(&self, what: &str) -> Error {
        tracing::warn!(store = self.name(), what, "the outcome of commits is unknown");
        Error::Unknown(what.to_owned())
    }
}

impl Fault {
    /// The same as an error, where no condition was asked for.
    pub(super) fn into_error(self, place: &Place) -> Error {
        match self {
            Self::Condition { .. } => place.failed("a condition did not hold that was not asked for"),
            Self::NoTable => place.failed("the table is gone"),
            Self::Refused(error) => error,
            Self::Unreachable(what) => Error::Unavailable(format!("the database cannot be reached: {what}")),
            Self::Passing { what, .. } => Error::Unavailable(format!("the database does not answer: {what}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let place = Place::new("dynamodb://eu-west-1/table");
        let fault = |status, body: &str| place.fault(&Answer { status, body: body.as_bytes().to_vec().into() });
        let cancelled = |codes: &str| format!(r#"{{"__type":"x#TransactionCanceledException","CancellationReasons":[{codes}]}}"#);
        assert!(matches!(fault(400, &cancelled(r#"{"Code":"None"},{"Code":"ConditionalCheckFailed"}"#)), Fault::Condition { .. }));
        assert!(matches!(fault(400, &cancelled(r#"{"Code":"TransactionConflict"}"#)), Fault::Passing { sent: false, .. }));
        assert!(matches!(fault(400, &cancelled(r#"{"Code":"ValidationError"}"#)), Fault::Refused(Error::Failed(_))));
        assert!(matches!(fault(400, r#"{"__type":"x#ThrottlingException","message":"slow"}"#), Fault::Passing { sent: false, .. }));
        assert!(matches!(fault(500, "no JSON"), Fault::Passing { sent: true, .. }));
        let refused = fault(400, r#"{"__type":"com.amazon#AccessDeniedException","Message":"not yours"}"#);
        assert!(matches!(refused, Fault::Refused(Error::Failed(text)) if text.contains("AccessDeniedException not yours")));
    }
}
