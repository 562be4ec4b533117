"""Shared key-value pairs in memory."""

from __future__ import annotations

from typing import Any, NamedTuple

from .service import Service, expiry, is_live, page, soonest


class Pair(NamedTuple):
    """A pair, or with no value the mark of one that was removed."""

    key: str
    value: str | None
    version: int
    expires_ms: int | None = None

    def shown(self) -> dict[str, Any]:
        return {"key": self.key, "value": self.value, "version": None if self.value is None else self.version}


class Pairs(Service):
    """The pairs of a namespace. Each change is kept, the last one of each key once."""

    looks = frozenset({"get", "list"})
    waits = {"watch": "changes"}
    operations = frozenset({"get", "put", "delete", "cas", "list", "watch"})

    def __init__(self, name: str, tell: Any) -> None:
        super().__init__(name, tell)
        self._pairs: dict[str, Pair] = {}
        self._version = 0

    def due_ms(self) -> int | None:
        return soonest(*(pair.expires_ms for pair in self._pairs.values()))

    def happen(self) -> None:
        over = [pair.key for pair in self._pairs.values() if not is_live(pair.expires_ms, self.now_ms)]
        for key in over:
            self._set(key, None)

    def get(self, key: str) -> Any:
        pair = self._pairs.get(key)
        if pair is None or pair.value is None:
            return {"value": None, "version": None}
        return {"value": pair.value, "version": pair.version}

    def put(self, key: str, value: str, ttl_ms: int | None = None) -> Any:
        self._set(key, value, expiry(self.now_ms, ttl_ms))
        return {}

    def delete(self, key: str) -> Any:
        there = self.get(key)["value"] is not None
        if there:
            self._set(key, None)
        return {"deleted": there}

    def cas(self, key: str, value: str, expected: str | None = None, ttl_ms: int | None = None) -> Any:
        expires_ms = expiry(self.now_ms, ttl_ms)
        same = self.get(key)["value"] == expected
        if same:
            self._set(key, value, expires_ms)
        return {"swapped": same, **self.get(key)}

    def watch(self, prefix: str = "", after: int | None = None) -> Any:
        if after is None:
            # From now on: what a watcher that waits sees can only be what happens while it waits.
            after = self._version
        changed = sorted((p for p in self._pairs.values() if p.key.startswith(prefix) and p.version > after), key=lambda p: p.key)
        return {"changes": [pair.shown() for pair in changed], "version": self._version, "reset": False}

    def list(self, prefix: str = "", after: str | None = None, limit: int | None = None) -> Any:
        there = (pair for pair in self._pairs.values() if pair.key.startswith(prefix) and pair.value is not None)
        found, after = page(sorted(there, key=lambda pair: pair.key.encode()), lambda pair: pair.key, after, limit)
        return {"pairs": [pair.shown() for pair in found], "next": after}

    def _set(self, key: str, value: str | None, expires_ms: int | None = None) -> None:
        self._version += 1
        self._pairs[key] = Pair(key, value, self._version, expires_ms)
