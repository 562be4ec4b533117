"""``host.ts``: the tuple space, where actors meet by what they write and what they look for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

from . import _service
from ._arguments import filled, json_text, lifetime, text
from ._json import decode
from .errors import InvalidArgumentError

_MAX_ELEMENTS = 64

Elements = Sequence[Any]


class TupleSpace:
    """Tuples are lists, or JSON texts of lists; what is returned is of the same kind as the pattern.

    In a pattern ``None`` means any element, and a dict such as ``{"$gt": 5}`` is a condition: ``$eq``, ``$ne``, ``$gt``, ``$gte``, ``$lt``,
    ``$lte``, ``$in``, ``$prefix``, ``$type``. Of several matches the oldest is meant.
    """

    def write(self, tuple: Elements | str, ttl_ms: int | None = None) -> None:
        """Writes a tuple. ``ttl_ms`` limits its life. In a durable actor it is there when the turn has committed."""
        self._ask("write", {"tuple": _elements(tuple, "tuple"), "ttl_ms": lifetime(ttl_ms)})

    @overload
    def read(self, pattern: str, timeout_ms: int = 0) -> str | None: ...
    @overload
    def read(self, pattern: Elements, timeout_ms: int = 0) -> list[Any] | None: ...
    def read(self, pattern: Elements | str, timeout_ms: int = 0) -> Any:
        """A tuple that the pattern means, or ``None``; it stays. Waits up to ``timeout_ms`` milliseconds for one."""
        reply = self._ask("read", {"pattern": _elements(pattern, "pattern"), "timeout_ms": timeout_ms})
        return _like(pattern, reply.get("tuple"))

    @overload
    def take(self, pattern: str, timeout_ms: int = 0, *, lease_ms: None = None) -> str | None: ...
    @overload
    def take(self, pattern: Elements, timeout_ms: int = 0, *, lease_ms: None = None) -> list[Any] | None: ...
    @overload
    def take(self, pattern: Elements | str, timeout_ms: int = 0, *, lease_ms: int) -> tuple[Any, str | None]: ...
    def take(self, pattern: Elements | str, timeout_ms: int = 0, *, lease_ms: int | None = None) -> Any:
        """Takes out a tuple that the pattern means, or returns ``None``. Waits up to ``timeout_ms`` milliseconds for one.

        With ``lease_ms`` returns the tuple and a lease, or twice ``None``. Unless the lease is confirmed with ``confirm`` in that time, the
        tuple is there again, as old as it was: the work of a worker that died is another's.
        """
        lease = lifetime(lease_ms, "lease_ms")
        reply = self._ask("take", {"pattern": _elements(pattern, "pattern"), "timeout_ms": timeout_ms, "lease_ms": lease})
        taken = _like(pattern, reply.get("tuple"))
        return taken if lease is None else (taken, reply.get("lease"))

    @overload
    def read_all(self, pattern: str) -> str: ...
    @overload
    def read_all(self, pattern: Elements) -> list[list[Any]]: ...
    def read_all(self, pattern: Elements | str) -> Any:
        """All tuples that the pattern means, the oldest first."""
        return self._all("read_all", pattern)

    @overload
    def take_all(self, pattern: str) -> str: ...
    @overload
    def take_all(self, pattern: Elements) -> list[list[Any]]: ...
    def take_all(self, pattern: Elements | str) -> Any:
        """Takes out all tuples that the pattern means, the oldest first."""
        return self._all("take_all", pattern)

    def count(self, pattern: Elements | str) -> int:
        """How many tuples the pattern means."""
        return int(self._ask("count", {"pattern": _elements(pattern, "pattern")}).get("count", 0))

    def write_once(self, pattern: Elements | str, tuple: Elements | str, ttl_ms: int | None = None) -> bool:
        """Writes a tuple unless there is one that the pattern means, in one step; true when it was written."""
        return bool(self._exchange("write_once", pattern, tuple, ttl_ms).get("written"))

    @overload
    def replace(self, pattern: str, tuple: Elements | str, ttl_ms: int | None = None) -> str | None: ...
    @overload
    def replace(self, pattern: Elements, tuple: Elements | str, ttl_ms: int | None = None) -> list[Any] | None: ...
    def replace(self, pattern: Elements | str, tuple: Elements | str, ttl_ms: int | None = None) -> Any:
        """Takes out the tuple that the pattern means and writes another one, in one step. Returns the former; without one it writes nothing
        and returns ``None``."""
        return _like(pattern, self._exchange("replace", pattern, tuple, ttl_ms).get("tuple"))

    def confirm(self, lease: str) -> None:
        """The leased tuple is done with and gone for good. Raises ``ConflictError`` when the lease is over."""
        self._ask("confirm", {"lease": filled(lease, "lease")})

    def release(self, lease: str) -> None:
        """The leased tuple is there again. Raises ``ConflictError`` when the lease is over."""
        self._ask("release", {"lease": filled(lease, "lease")})

    def subscribe(self, pattern: Elements | str) -> str:
        """From now on each tuple that the pattern means comes to this actor as the cast ``tuple_written`` with ``tuple`` and
        ``subscription``; returns the latter."""
        return str(self._ask("subscribe", {"pattern": _elements(pattern, "pattern")}).get("subscription", ""))

    def unsubscribe(self, subscription: str) -> None:
        """Ends a subscription."""
        self._ask("unsubscribe", {"subscription": text(subscription, "subscription")})

    def _exchange(self, operation: str, pattern: Any, tuple: Any, ttl_ms: Any) -> dict[str, Any]:
        arguments = {"pattern": _elements(pattern, "pattern"), "tuple": _elements(tuple, "tuple"), "ttl_ms": lifetime(ttl_ms)}
        return self._ask(operation, arguments)

    def _all(self, operation: str, pattern: Any) -> Any:
        found = _service.pages(f"ts_{operation}", "tuples", operation, {"pattern": _elements(pattern, "pattern")}, "tuples")
        return _like(pattern, found)

    def _ask(self, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return _service.ask(f"ts_{operation}", "tuples", operation, arguments)


def _elements(given: Any, what: str) -> list[Any]:
    elements = given
    if isinstance(given, str):
        try:
            elements = decode(text(given, what))
        except ValueError as error:
            raise InvalidArgumentError(f"{what} is a string that is not JSON: {error}") from None
    if not isinstance(elements, (list, tuple)):
        raise InvalidArgumentError(f"{what} must be a list or the JSON text of one, not {type(elements).__name__}")
    if not 1 <= len(elements) <= _MAX_ELEMENTS:
        raise InvalidArgumentError(f"{what} must have 1 to {_MAX_ELEMENTS} elements, not {len(elements)}")
    return list(elements)


def _like(pattern: Any, found: Any) -> Any:
    """What was found, as the pattern was given."""
    return json_text(found, "tuple") if isinstance(pattern, str) and found is not None else found
