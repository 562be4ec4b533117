"""The exceptions of the SDK: one class per error code of the node, so that actors can catch exactly what they can handle."""

from __future__ import annotations

from typing import ClassVar


class PlexSpacesError(Exception):
    """Anything that a host function refuses.

    ``code`` is one of the node's error codes, ``message`` is for people, ``retryable`` says whether the same call may succeed later.
    """

    default_code: ClassVar[str] = "internal"
    default_retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, code: str | None = None, retryable: bool | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = self.default_code if code is None else code
        self.retryable = self.default_retryable if retryable is None else retryable

    def __str__(self) -> str:
        return f"{self.message} ({self.code})"


class InvalidArgumentError(PlexSpacesError, ValueError):
    """An argument is wrong or missing."""

    default_code = "invalid_argument"


class UnknownOperationError(PlexSpacesError):
    """The asked actor has no handler for the operation."""

    default_code = "unknown_operation"


class ActorNotFoundError(PlexSpacesError):
    """Nothing answers to the target's name."""

    default_code = "not_found"


class ConflictError(PlexSpacesError):
    """The request contradicts what is there."""

    default_code = "conflict"


class DeadlockError(PlexSpacesError):
    """The asked actor is itself waiting for the asking one."""

    default_code = "deadlock"


class OverloadedError(PlexSpacesError):
    """A mailbox or a queue is full."""

    default_code = "overloaded"
    default_retryable = True


class AskTimeoutError(PlexSpacesError, TimeoutError):
    """No reply came in time; the operation may have happened all the same."""

    default_code = "deadline_exceeded"
    default_retryable = True


class UnavailableError(PlexSpacesError):
    """The target is starting, restarting after failures, or shutting down."""

    default_code = "unavailable"
    default_retryable = True


class HandlerFailedError(PlexSpacesError):
    """The asked actor's code failed; its turn was rolled back."""

    default_code = "handler_failed"
    default_retryable = True


class LimitExceededError(PlexSpacesError):
    """The asked actor went over its limit of memory or time."""

    default_code = "limit_exceeded"


class PermissionDeniedError(PlexSpacesError):
    """The actor may not do this."""

    default_code = "permission_denied"


class PayloadTooLargeError(PlexSpacesError):
    """A message, a reply or a value is larger than the node allows."""

    default_code = "payload_too_large"


class StorageFullError(PlexSpacesError):
    """The node's store has no room; nothing was kept."""

    default_code = "storage_full"
    default_retryable = True


class StorageFailedError(PlexSpacesError):
    """The node's store failed; nothing was kept."""

    default_code = "storage_failed"
    default_retryable = True


class WorkflowCancelled(PlexSpacesError):
    """The workflow's run was cancelled. The wait that was under way, or else the next one, raises it once; waits after it work as usual, so
    that the run can undo what it has done."""

    default_code = "cancelled"


class WorkflowTimedOut(WorkflowCancelled):
    """The workflow's run was not done by its deadline. It is raised as ``WorkflowCancelled`` is, once, and is caught by what catches that."""

    default_code = "timed_out"


class NonDeterministicError(PlexSpacesError):
    """A turn that is run again did not do what it had done. Its history is left as it was."""

    default_code = "non_deterministic"


class InternalError(PlexSpacesError):
    """The node has a fault."""

    default_code = "internal"
    default_retryable = True


class OutsideActorError(PlexSpacesError, RuntimeError):
    """A host function was called where no actor runs: at module level while a component is built, or in a test without a harness."""

    default_code = "outside_actor"


class NotAvailableError(PlexSpacesError, NotImplementedError):
    """A name of the SDK that this version of PlexSpaces does not serve."""

    default_code = "not_available"

    def __init__(self, function: str) -> None:
        super().__init__(f"{function} is not available in this version of PlexSpaces")
        self.function = function


_BY_CODE: dict[str, type[PlexSpacesError]] = {
    kind.default_code: kind
    for kind in (
        InvalidArgumentError,
        UnknownOperationError,
        ActorNotFoundError,
        ConflictError,
        DeadlockError,
        OverloadedError,
        AskTimeoutError,
        UnavailableError,
        HandlerFailedError,
        LimitExceededError,
        PermissionDeniedError,
        PayloadTooLargeError,
        StorageFullError,
        StorageFailedError,
        WorkflowCancelled,
        WorkflowTimedOut,
        NonDeterministicError,
        InternalError,
    )
}


def error_from(code: str, message: str, retryable: bool) -> PlexSpacesError:
    """The exception for an error of the host; a code without a class of its own stays readable in ``code``."""
    return _BY_CODE.get(code, PlexSpacesError)(message, code=code, retryable=retryable)
