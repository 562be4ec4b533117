"""The operations of a workflow: one run, signals that reach it from outside, queries that only look at it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

Found = TypeVar("Found")

RUN = "workflow_run"
SIGNAL = "workflow_signal"
QUERY = "workflow_query"
START = "workflow_start"
CANCEL = "workflow_cancel"
# The signal by which a run hears of the end of one that it has started.
ENDED = "workflow_signal:__ENDED__"
# The message that makes a state of this version of one of another.
MIGRATE = "__MIGRATE__"
KINDS = ("run", "signal", "query")
_RUN_TOO = ("run", "start")
# The payload's keys that may name the signal or the query.
_NAMED_BY = {SIGNAL: ("signal", "name"), QUERY: ("query", "name")}


def find(operations: Mapping[str, Found], operation: str, payload: Any) -> tuple[Found | None, Any]:
    """The handler for an operation in one of its other spellings, and the payload without what named the handler."""
    if operation in _RUN_TOO:
        return operations.get(RUN), payload
    if operation in _NAMED_BY and isinstance(payload, dict):
        for key in _NAMED_BY[operation]:
            found = operations.get(f"{operation}:{payload.get(key)}")
            if found is not None:
                return found, {k: value for k, value in payload.items() if k != key}
    return None, payload


def lacks_name(operation: str, payload: Any) -> bool:
    """Whether the payload should name the signal or the query, and does not."""
    return operation in _NAMED_BY and not (isinstance(payload, dict) and any(payload.get(key) for key in _NAMED_BY[operation]))


def name_of(operation: str, payload: Any) -> tuple[str, Any]:
    """The name of a signal or query that only its payload names, and the rest of the payload."""
    if isinstance(payload, dict):
        for key in _NAMED_BY[operation]:
            if isinstance(payload.get(key), str):
                return payload[key], {k: value for k, value in payload.items() if k != key}
    return "", payload
