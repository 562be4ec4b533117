"""Durable actors in Python for the PlexSpaces application server.

    from plexspaces import actor, handler, state

    @actor
    class Counter:
        count: int = state(default=0)

        @handler("increment")
        def increment(self, amount: int = 1) -> dict:
            self.count += amount
            return {"count": self.count}
"""

from ._decorators import (
    actor,
    event_actor,
    fsm_actor,
    gen_server_actor,
    handler,
    init_handler,
    migrate_handler,
    query_handler,
    run_handler,
    signal_handler,
    workflow_actor,
)
from ._state import state
from ._version import __version__
from .errors import (
    ActorNotFoundError,
    AskTimeoutError,
    ConflictError,
    DeadlockError,
    HandlerFailedError,
    InternalError,
    InvalidArgumentError,
    LimitExceededError,
    NonDeterministicError,
    NotAvailableError,
    OutsideActorError,
    OverloadedError,
    PayloadTooLargeError,
    PermissionDeniedError,
    PlexSpacesError,
    StorageFailedError,
    StorageFullError,
    UnavailableError,
    UnknownOperationError,
    WorkflowCancelled,
    WorkflowTimedOut,
)
from ._child import Child
from ._election import Election
from ._host import Host, host
from ._saga import Saga


def actor_application_id(actor_id: str) -> str:
    """The namespace of an actor's printed identity ``namespace/type/key``; ``""`` if it has none."""
    parts = actor_id.split("/")
    return parts[0] if len(parts) == 3 and all(parts) else ""


__all__ = [
    "ActorNotFoundError",
    "AskTimeoutError",
    "Child",
    "Election",
    "ConflictError",
    "DeadlockError",
    "HandlerFailedError",
    "Host",
    "InternalError",
    "InvalidArgumentError",
    "LimitExceededError",
    "NonDeterministicError",
    "NotAvailableError",
    "OutsideActorError",
    "OverloadedError",
    "PayloadTooLargeError",
    "PermissionDeniedError",
    "PlexSpacesError",
    "Saga",
    "StorageFailedError",
    "StorageFullError",
    "UnavailableError",
    "UnknownOperationError",
    "WorkflowCancelled",
    "WorkflowTimedOut",
    "__version__",
    "actor",
    "actor_application_id",
    "event_actor",
    "fsm_actor",
    "gen_server_actor",
    "handler",
    "host",
    "init_handler",
    "migrate_handler",
    "query_handler",
    "run_handler",
    "signal_handler",
    "state",
    "workflow_actor",
]
