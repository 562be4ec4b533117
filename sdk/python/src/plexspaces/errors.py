"""The exceptions of the SDK. Each has the code under which the node knows it."""


class PlexSpacesError(Exception):
    """An error with a code of the node's table, a message, and whether trying again may help."""

    code = "internal"
    retryable = False

    def __init__(self, message: str, code: str | None = None, retryable: bool | None = None) -> None:
        """Keep the class's code and retryability unless others are given."""
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        if retryable is not None:
            self.retryable = retryable


class ArgumentError(PlexSpacesError):
    """An argument of an operation is missing or cannot be used; `field` names it."""

    code = "invalid_argument"

    def __init__(self, message: str, field: str | None = None, code: str | None = None, retryable: bool | None = None) -> None:
        """Name the field if one is to blame."""
        super().__init__(message, code, retryable)
        self.field = field


class UnknownOperationError(PlexSpacesError):
    """The actor has no handler for the operation."""

    code = "unknown_operation"


class ActorNotFoundError(PlexSpacesError):
    """There is no actor of that name."""

    code = "not_found"


class ConflictError(PlexSpacesError):
    """The request contradicts what is there."""

    code = "conflict"


class DeadlockError(PlexSpacesError):
    """The request would wait for itself."""

    code = "deadlock"


class OverloadedError(PlexSpacesError):
    """A mailbox or the node is full."""

    code = "overloaded"
    retryable = True


class AskTimeoutError(PlexSpacesError):
    """No reply came before the deadline; the operation may have happened."""

    code = "deadline_exceeded"
    retryable = True


class UnavailableError(PlexSpacesError):
    """The actor or the node cannot answer at present."""

    code = "unavailable"
    retryable = True


class HandlerFailedError(PlexSpacesError):
    """The other actor's code failed."""

    code = "handler_failed"
    retryable = True


class NotAvailableError(PlexSpacesError, NotImplementedError):
    """The name is part of the SDK's contract, but this version of the node cannot do it."""

    code = "not_available"


class DefinitionError(PlexSpacesError):
    """A class, a handler or a registry is written in a way that cannot work."""

    code = "invalid_component"


class PayloadError(PlexSpacesError):
    """A value cannot be sent or stored because it is not JSON-compatible."""

    code = "handler_failed"


_BY_CODE: dict[str, type[PlexSpacesError]] = {
    kind.code: kind
    for kind in (
        ArgumentError,
        UnknownOperationError,
        ActorNotFoundError,
        ConflictError,
        DeadlockError,
        OverloadedError,
        AskTimeoutError,
        UnavailableError,
        HandlerFailedError,
    )
}


def from_host(code: str, message: str, retryable: bool) -> PlexSpacesError:
    """Make the exception for an error that the node returned."""
    return _BY_CODE.get(code, PlexSpacesError)(message, code=code, retryable=retryable)
