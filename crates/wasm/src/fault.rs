//! Turns what ended a guest into a [`Fault`]: a limit, a trap, garbage, or a failure that the guest reports itself.

use plexspaces_actor::Fault;
use plexspaces_types::{Code, Failure, Payload};
use serde::de::IgnoredAny;
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};

use crate::bindings::exports::plexspaces::actor::guest;
use crate::limiter::Exceeded;

/// Why an instance could not be made. Nothing of the author's code has run if the pool was exhausted.
pub(crate) fn of_instantiation(error: &wasmtime::Error, instances: u32) -> Fault {
    if error.is::<PoolConcurrencyLimitError>() {
        return Fault::Rejected(Failure::new(Code::Overloaded, format!("the node's instance limit of {instances} is reached")));
    }
    if !error.is::<WasmBacktrace>() && !error.is::<Exceeded>() {
        tracing::warn!("an instance cannot be made, is vm.max_map_count too low for {instances} of them? {error:#}");
        let message = format!("the system has no room for another instance: {}", error.root_cause());
        return Fault::Rejected(Failure::new(Code::Overloaded, message));
    }
    of_call(error)
}

/// Why a call of a guest ended without an answer.
pub(crate) fn of_call(error: &wasmtime::Error) -> Fault {
    let backtrace = error.downcast_ref::<WasmBacktrace>().map(ToString::to_string).unwrap_or_default();
    let (code, message) = if let Some(exceeded) = error.downcast_ref::<Exceeded>() {
        (Code::LimitExceeded, exceeded.to_string())
    } else if let Some(trap) = error.downcast_ref::<Trap>() {
        match trap {
            Trap::StackOverflow => (Code::LimitExceeded, "the actor recursed too deeply".to_owned()),
            Trap::UnreachableCodeReached => (Code::HandlerFailed, "the actor's code trapped: unreachable instruction".to_owned()),
            other => {
                let text = other.to_string();
                (Code::HandlerFailed, format!("the actor's code trapped: {}", text.strip_prefix("wasm trap: ").unwrap_or(&text)))
            }
        }
    } else {
        (Code::HandlerFailed, format!("the actor's code broke the contract: {}", error.root_cause()))
    };
    Fault::Crashed { failure: Failure::new(code, message), trace: backtrace }
}

/// A failure that the guest reports.
pub(crate) fn of_guest(failure: guest::Failure) -> Fault {
    let guest::Failure { kind, code, message, field, trace } = failure;
    match kind {
        guest::FailureKind::Rejected => match code.parse() {
            Ok(code @ (Code::InvalidArgument | Code::UnknownOperation | Code::HandlerFailed)) => {
                Fault::Rejected(Failure { field, ..Failure::new(code, message) })
            }
            // The others say what only the node can know.
            _ => {
                let code: String = code.chars().take(64).collect();
                let message = format!(
                    "the actor's code broke the contract: it refused a message with the code {code:?}, expected invalid_argument or \
                     unknown_operation: {message}"
                );
                Fault::Crashed { failure: Failure::new(Code::HandlerFailed, message), trace }
            }
        },
        guest::FailureKind::Failed => {
            let code = code.parse().ok().filter(|code: &Code| code.ends_run()).unwrap_or(Code::HandlerFailed);
            let mut failure = Failure::new(code, message);
            failure.field = field;
            Fault::Crashed { failure, trace }
        }
    }
}

/// Holds what a guest returned against what it may return; `what` names it.
pub(crate) fn check(what: &str, payload: &Payload, limit: usize) -> Result<(), Fault> {
    let crashed = |code, message| Err(Fault::Crashed { failure: Failure::new(code, message), trace: String::new() });
    if payload.len() > limit {
        let message = format!("the actor's {what} is {} bytes, more than the limit of {limit} bytes", payload.len());
        return crashed(Code::PayloadTooLarge, message);
    }
    match payload {
        Payload::Json(text) => match serde_json::from_str::<IgnoredAny>(text) {
            Ok(IgnoredAny) => Ok(()),
            Err(error) => crashed(Code::HandlerFailed, format!("the actor's {what} is not the JSON text that it is said to be: {error}")),
        },
        Payload::Bytes(_) => Ok(()),
    }
}
