"""The tuple space in memory."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..errors import ConflictError, InvalidArgumentError
from .service import Service, expiry, is_live, page, soonest


class Tuple(NamedTuple):
    """A tuple and the number by which the older one is told."""

    number: int
    elements: list[Any]
    expires_ms: int | None


class Tuples(Service):
    """One space: a list in order. It is for tests, where there is not much in it."""

    looks = frozenset({"read", "read_all", "count"})
    waits = {"read": "tuple", "take": "tuple"}
    operations = frozenset(
        "write write_once replace read take read_all take_all count confirm release subscribe unsubscribe".split()
    )

    def __init__(self, name: str, tell: Any) -> None:
        super().__init__(name, tell)
        self._tuples: list[Tuple] = []
        self._numbers = 0
        self._leased: dict[str, tuple[Tuple, int]] = {}
        self._subscriptions: dict[str, tuple[list[Any], str]] = {}

    def due_ms(self) -> int | None:
        return soonest(*(end for _, end in self._leased.values()))

    def happen(self) -> None:
        for lease in [lease for lease, (_, end) in self._leased.items() if end <= self.now_ms]:
            self.release(lease)
        self._tuples = [t for t in self._tuples if is_live(t.expires_ms, self.now_ms)]

    def write(self, tuple: list[Any], ttl_ms: int | None = None) -> Any:
        expires_ms = expiry(self.now_ms, ttl_ms)
        self._numbers += 1
        self._tuples.append(Tuple(self._numbers, tuple, expires_ms))
        for subscription, (pattern, actor) in self._subscriptions.items():
            if means(pattern, tuple):
                self.tell(actor, "tuple_written", {"tuple": tuple, "subscription": subscription})
        return {}

    def write_once(self, pattern: list[Any], tuple: list[Any], ttl_ms: int | None = None) -> Any:
        found = self._find(pattern)
        if found:
            return {"written": False, "existing": found[0].elements}
        self.write(tuple, ttl_ms)
        return {"written": True, "existing": None}

    def replace(self, pattern: list[Any], tuple: list[Any], ttl_ms: int | None = None) -> Any:
        found = self._find(pattern)
        if found:
            self._tuples.remove(found[0])
            self.write(tuple, ttl_ms)
        return {"tuple": found[0].elements if found else None}

    def read(self, pattern: list[Any], after: int | None = None) -> Any:
        found = [t for t in self._find(pattern) if after is None or t.number > after]
        return {"tuple": found[0].elements, "position": found[0].number} if found else {"tuple": None}

    def take(self, pattern: list[Any], lease_ms: int | None = None) -> Any:
        end = expiry(self.now_ms, lease_ms, "lease_ms")
        found = self._find(pattern)
        if not found:
            return {"tuple": None}
        self._tuples.remove(found[0])
        if end is None:
            return {"tuple": found[0].elements}
        self._numbers += 1
        lease = f"lease-{self._numbers}"
        self._leased[lease] = (found[0], end)
        return {"tuple": found[0].elements, "lease": lease}

    def read_all(self, pattern: list[Any], limit: int | None = None, after: int | None = None) -> Any:
        found, after = page(self._find(pattern), lambda t: t.number, after, limit)
        return {"tuples": [t.elements for t in found], "next": after}

    def take_all(self, pattern: list[Any], limit: int | None = None, after: int | None = None) -> Any:
        found, after = page(self._find(pattern), lambda t: t.number, after, limit)
        for taken in found:
            self._tuples.remove(taken)
        return {"tuples": [t.elements for t in found], "next": after}

    def count(self, pattern: list[Any]) -> Any:
        return {"count": len(self._find(pattern))}

    def confirm(self, lease: str) -> Any:
        self._end(lease)
        return {}

    def release(self, lease: str) -> Any:
        self._tuples.append(self._end(lease))
        self._tuples.sort(key=lambda t: t.number)
        return {}

    def subscribe(self, pattern: list[Any]) -> Any:
        means(pattern, [])
        known = [name for name, (wanted, actor) in self._subscriptions.items() if wanted == pattern and actor == self.caller]
        if known:
            return {"subscription": known[0]}
        self._numbers += 1
        subscription = f"subscription-{self._numbers}"
        self._subscriptions[subscription] = (pattern, self.caller)
        return {"subscription": subscription}

    def unsubscribe(self, subscription: str) -> Any:
        if self._subscriptions.get(subscription, ([], ""))[1] == self.caller:
            del self._subscriptions[subscription]
        return {}

    def _find(self, pattern: list[Any]) -> list[Tuple]:
        means(pattern, [])
        return [t for t in self._tuples if means(pattern, t.elements)]

    def _end(self, lease: str) -> Tuple:
        if lease not in self._leased:
            raise ConflictError(f"the lease {lease!r} is over or was never given; the tuple may be another's now")
        return self._leased.pop(lease)[0]


def means(pattern: list[Any], elements: list[Any]) -> bool:
    """Whether a pattern means a tuple. Raises ``InvalidArgumentError`` for a condition that there is not."""
    if len(pattern) != len(elements):
        for place, wanted in enumerate(pattern):
            fits(wanted, None, place)
        return False
    return all([fits(wanted, element, place) for place, (wanted, element) in enumerate(zip(pattern, elements))])


def fits(wanted: Any, element: Any, place: int) -> bool:
    """Whether an element is meant by its place in a pattern."""
    if wanted is None:
        return True
    if isinstance(wanted, dict) and any(key.startswith("$") for key in wanted):
        return all([_holds(name, value, element, place) for name, value in wanted.items()])
    return equal(wanted, element)


def _holds(name: str, value: Any, element: Any, place: int) -> bool:
    if name in ("$gt", "$gte", "$lt", "$lte"):
        if _kind(value) not in ("number", "string"):
            raise InvalidArgumentError(f"pattern[{place}]: {name} takes a number or a string, found {value!r}")
        if _kind(value) != _kind(element):
            return False
        return bool({"$gt": element > value, "$gte": element >= value, "$lt": element < value, "$lte": element <= value}[name])
    if name == "$eq" or name == "$ne":
        return equal(value, element) == (name == "$eq")
    if name == "$in" and isinstance(value, list):
        return any(equal(one, element) for one in value)
    if name == "$prefix" and isinstance(value, str):
        return isinstance(element, str) and element.startswith(value)
    if name == "$type" and value in (*_KINDS.values(), "integer"):
        return (_kind(element) == "number" and element == int(element)) if value == "integer" else _kind(element) == value
    raise InvalidArgumentError(f"pattern[{place}]: there is no condition {name} with {value!r}")


_KINDS = {type(None): "null", bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}


def _kind(value: Any) -> str:
    return _KINDS[type(value)]


def equal(one: Any, other: Any) -> bool:
    """Whether two values are the same in JSON: numbers by value, objects in any order. In Python ``True`` is 1."""
    if _kind(one) != _kind(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    return bool(one == other)
