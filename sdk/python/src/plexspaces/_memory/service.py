"""What the services in memory have in common."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from keyword import iskeyword
from typing import Any, ClassVar, TypeVar

from ..errors import InvalidArgumentError, UnknownOperationError

_MOST = 1000
# The longest that a request may wait.
_DAY_MS = 24 * 60 * 60 * 1000

T = TypeVar("T")

# Sends a message to an actor.
Tell = Callable[[str, str, Any], None]


class Service:
    """One service of a namespace. Its operations are the methods that ``operations`` lists; their parameters are the arguments.

    ``waits`` says which operations may wait, and which key of a reply then holds what is waited for; ``looks`` which change nothing.
    """

    operations: ClassVar[frozenset[str]]
    looks: ClassVar[frozenset[str]] = frozenset()
    waits: ClassVar[dict[str, str]] = {}

    def __init__(self, name: str, tell: Tell) -> None:
        self.name = name
        self.tell = tell
        # Of the request that is handled.
        self.now_ms = 0
        self.caller = ""

    def due_ms(self) -> int | None:
        """When the next thing happens by itself."""
        return None

    def happen(self) -> None:
        """Does what is due."""

    def handle(self, operation: str, arguments: dict[str, Any], caller: str, wait: Callable[[int], None], now: Callable[[], int]) -> Any:
        """Handles a request. ``wait`` lets the time pass up to a moment."""
        if operation not in self.operations:
            raise UnknownOperationError(f"{self.name} has no operation {operation!r}")
        timeout_ms = arguments.pop("timeout_ms", 0) if operation in self.waits else 0
        if not 0 <= timeout_ms <= _DAY_MS:
            raise InvalidArgumentError(f"timeout_ms is {timeout_ms}, expected at most {_DAY_MS} (a day)")
        # A word of Python such as `from` is no name of a parameter.
        arguments = {f"{key}_" if iskeyword(key) else key: value for key, value in arguments.items()}
        method = getattr(self, operation)
        try:
            bound = inspect.signature(method).bind(**arguments)
        except TypeError as error:
            raise InvalidArgumentError(f"{operation}: {error}") from None
        until = now() + timeout_ms
        while True:
            self.now_ms, self.caller = now(), caller
            self.happen()
            reply = method(*bound.args, **bound.kwargs)
            if not timeout_ms or reply[self.waits[operation]] or now() >= until:
                return reply
            due = self.due_ms()
            wait(until if due is None else min(due, until))


def page(items: Sequence[T], place: Callable[[T], Any], after: Any, limit: int | None) -> tuple[list[T], Any]:
    """A part of a list in order, and the place after which there is more."""
    limit = _MOST if limit is None else limit
    if not 1 <= limit <= _MOST:
        raise InvalidArgumentError(f"limit is {limit}, expected 1 to {_MOST}")
    left = [item for item in items if after is None or place(item) > after]
    return left[:limit], place(left[limit - 1]) if len(left) > limit else None


def expiry(now_ms: int, ttl_ms: int | None, what: str = "ttl_ms") -> int | None:
    """The end of a life."""
    if ttl_ms == 0:
        raise InvalidArgumentError(f"{what} is 0, expected at least 1")
    return None if ttl_ms is None else now_ms + ttl_ms


def is_live(expires_ms: int | None, now_ms: int) -> bool:
    """Whether a life has not ended."""
    return expires_ms is None or now_ms < expires_ms


def soonest(*times: int | None) -> int | None:
    """The first of some times."""
    return min((time for time in times if time is not None), default=None)
