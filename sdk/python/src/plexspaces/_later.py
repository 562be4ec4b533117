"""Names of the contract that this version of the node cannot run: using one fails at once, and says which one it was."""

from typing import Any, NoReturn

from plexspaces.errors import NotAvailableError


def refuse(name: str) -> NoReturn:
    """Fail for the name."""
    raise NotAvailableError(f"{name} is not available in this version of PlexSpaces")


def event_actor(*_args: Any, **_kwargs: Any) -> Any:
    """Declare a GenEvent actor; not available."""
    refuse("event_actor")


def fsm_actor(*_args: Any, **_kwargs: Any) -> Any:
    """Declare a GenFSM actor; not available."""
    refuse("fsm_actor")


def workflow_actor(*_args: Any, **_kwargs: Any) -> Any:
    """Declare a Workflow actor; not available."""
    refuse("workflow_actor")


def run_handler(*_args: Any, **_kwargs: Any) -> Any:
    """Mark a workflow's run; not available."""
    refuse("run_handler")


def signal_handler(*_args: Any, **_kwargs: Any) -> Any:
    """Mark a workflow's signal handler; not available."""
    refuse("signal_handler")


def query_handler(*_args: Any, **_kwargs: Any) -> Any:
    """Mark a workflow's query handler; not available."""
    refuse("query_handler")
