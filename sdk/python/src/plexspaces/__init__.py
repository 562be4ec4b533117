"""Write actors in Python; PlexSpaces runs them durably, supervised and sandboxed."""

from plexspaces._actor import actor, gen_server_actor, handler, init_handler
from plexspaces._host import host
from plexspaces._later import event_actor, fsm_actor, query_handler, run_handler, signal_handler, workflow_actor
from plexspaces._state import state
from plexspaces.errors import (
    ActorNotFoundError,
    ArgumentError,
    AskTimeoutError,
    ConflictError,
    DeadlockError,
    DefinitionError,
    HandlerFailedError,
    NotAvailableError,
    OverloadedError,
    PlexSpacesError,
    UnavailableError,
    UnknownOperationError,
)

__version__ = "0.1.0"


def actor_application_id(actor_id: str) -> str:
    """Return the namespace of the application that an actor belongs to; "" when the text is no full actor id."""
    namespace, _, rest = actor_id.partition("/")
    return namespace if "/" in rest else ""


__all__ = [
    "ActorNotFoundError",
    "ArgumentError",
    "AskTimeoutError",
    "ConflictError",
    "DeadlockError",
    "DefinitionError",
    "HandlerFailedError",
    "NotAvailableError",
    "OverloadedError",
    "PlexSpacesError",
    "UnavailableError",
    "UnknownOperationError",
    "actor",
    "actor_application_id",
    "event_actor",
    "fsm_actor",
    "gen_server_actor",
    "handler",
    "host",
    "init_handler",
    "query_handler",
    "run_handler",
    "signal_handler",
    "state",
    "workflow_actor",
]
