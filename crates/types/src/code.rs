//! The one table of error codes.

use std::fmt;
use std::str::FromStr;

/// What kind of error a client sees: it decides the HTTP status class and whether a retry can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorType {
    /// The request is wrong; sending it again will not help.
    Validation,
    /// A quota is used up.
    ServiceQuotaExceeded,
    /// The caller may not do this.
    AccessDenied,
    /// There is no such thing.
    ResourceNotFound,
    /// The request contradicts the present state.
    Conflict,
    /// Too much at once; try again later.
    Throttling,
    /// The fault is on the node or in the actor's code.
    InternalServer,
    /// The credential is missing or wrong.
    Unauthenticated,
    /// Not ready; try again later.
    Unavailable,
    /// The deadline passed.
    DeadlineExceeded,
}

impl ErrorType {
    /// The name in an error body's `code`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Validation => "ValidationException",
            Self::ServiceQuotaExceeded => "ServiceQuotaExceededException",
            Self::AccessDenied => "AccessDeniedException",
            Self::ResourceNotFound => "ResourceNotFoundException",
            Self::Conflict => "ConflictException",
            Self::Throttling => "ThrottlingException",
            Self::InternalServer => "InternalServerException",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Unavailable => "UNAVAILABLE",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
        }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $kind:ident, $http:literal, $grpc:literal, $retryable:literal;)*) => {
        /// The reason of an error, finer than its [`ErrorType`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            /// Every code, in the table's order.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];

            /// The code's name: `reason` in an error body, `code` in a guest.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What a client sees it as.
            #[must_use]
            pub fn error_type(self) -> ErrorType {
                match self { $(Self::$variant => ErrorType::$kind,)* }
            }

            /// The HTTP status.
            #[must_use]
            pub fn http_status(self) -> u16 {
                match self { $(Self::$variant => $http,)* }
            }

            /// The gRPC status number.
            #[must_use]
            pub fn grpc_status(self) -> i32 {
                match self { $(Self::$variant => $grpc,)* }
            }

            /// Whether the same request may succeed later.
            #[must_use]
            pub fn retryable(self) -> bool {
                match self { $(Self::$variant => $retryable,)* }
            }
        }

        impl FromStr for Code {
            type Err = ();

            fn from_str(name: &str) -> Result<Self, ()> {
                match name { $($name => Ok(Self::$variant),)* _ => Err(()) }
            }
        }
    };
}

codes! {
    /// A field, an argument or a body is wrong or missing.
    InvalidArgument = "invalid_argument", Validation, 400, 3, false;
    /// What was deployed is not a component that this node can run.
    InvalidComponent = "invalid_component", Validation, 400, 3, false;
    /// A configuration has an unknown key, a wrong type or a value out of range.
    InvalidConfig = "invalid_config", Validation, 400, 3, false;
    /// The path exists, but not with this HTTP method.
    MethodNotAllowed = "method_not_allowed", Validation, 405, 12, false;
    /// A body, a message or a reply is larger than the limit.
    PayloadTooLarge = "payload_too_large", Validation, 413, 11, false;
    /// The credential is missing, unknown or expired.
    Unauthenticated = "unauthenticated", Unauthenticated, 401, 16, false;
    /// The caller is known but may not do this.
    PermissionDenied = "permission_denied", AccessDenied, 403, 7, false;
    /// There is no such path, application or actor type, or the actor has ended and does not come back by itself.
    NotFound = "not_found", ResourceNotFound, 404, 5, false;
    /// The actor has no handler for the operation.
    UnknownOperation = "unknown_operation", ResourceNotFound, 404, 5, false;
    /// The request contradicts what is there: a name in use, an idempotency key used with another body.
    Conflict = "conflict", Conflict, 409, 10, false;
    /// The request would wait for itself: an actor asked one that is already waiting for it.
    Deadlock = "deadlock", Conflict, 409, 9, false;
    /// A facet refused the message; the message is its reason.
    Rejected = "rejected", Conflict, 409, 9, false;
    /// A mailbox, a queue or the instance pool is full.
    Overloaded = "overloaded", Throttling, 429, 8, true;
    /// What was asked for is more than the tenant or the namespace may have.
    QuotaExceeded = "quota_exceeded", ServiceQuotaExceeded, 402, 8, false;
    /// The deadline passed before the reply came; the operation may have happened.
    DeadlineExceeded = "deadline_exceeded", DeadlineExceeded, 504, 4, true;
    /// The node or the actor is starting, restarting after failures, or shutting down.
    Unavailable = "unavailable", Unavailable, 503, 14, true;
    /// The disk or the database has no room; nothing of the request was kept.
    StorageFull = "storage_full", Unavailable, 503, 14, true;
    /// The store failed; nothing of the request was kept.
    StorageFailed = "storage_failed", InternalServer, 500, 13, true;
    /// Another activation of the actor took over; this one cannot write any more.
    Fenced = "fenced", Unavailable, 503, 14, true;
    /// The actor's code failed; its turn was rolled back and it restarts.
    HandlerFailed = "handler_failed", InternalServer, 500, 13, true;
    /// The actor went over its limit of memory, CPU time or time; its turn was rolled back and it restarts.
    LimitExceeded = "limit_exceeded", InternalServer, 500, 13, false;
    /// What a durable actor's code does is not what its journal says that it did; the history is left as it was.
    NonDeterministic = "non_deterministic", InternalServer, 500, 13, false;
    /// It was cancelled or terminated before it was done.
    Cancelled = "cancelled", Conflict, 409, 1, false;
    /// The run of a workflow was not done by its deadline.
    TimedOut = "timed_out", DeadlineExceeded, 504, 4, false;
    /// The node has a fault.
    Internal = "internal", InternalServer, 500, 13, true;
}

impl Code {
    /// Whether it is the news that ends a wait of a run: the run is to clean up and end.
    #[must_use]
    pub fn ends_run(self) -> bool {
        matches!(self, Self::Cancelled | Self::TimedOut)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_found_by_its_name() {
        for code in Code::ALL {
            assert_eq!(code.name().parse(), Ok(*code));
            assert!((400..600).contains(&code.http_status()), "{code}");
        }
        assert_eq!("nonsense".parse::<Code>(), Err(()));
    }
}
