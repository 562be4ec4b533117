"""Locks in memory."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..errors import InvalidArgumentError
from .service import Service, expiry, is_live, page, soonest


class Lock(NamedTuple):
    """A lock that is held."""

    key: str
    holder: str
    version: int
    expires_ms: int

    def shown(self) -> dict[str, Any]:
        return {**self._asdict(), "version": str(self.version)}


class Locks(Service):
    """The locks of a namespace."""

    looks = frozenset({"get", "list"})
    waits = {"acquire": "version"}
    operations = frozenset({"acquire", "renew", "release", "get", "list"})

    def __init__(self, name: str, tell: Any) -> None:
        super().__init__(name, tell)
        self._held: dict[str, Lock] = {}
        self._version = 0
        self._requests = 0

    def due_ms(self) -> int | None:
        return soonest(*(lock.expires_ms for lock in self._held.values()))

    def happen(self) -> None:
        self._held = {key: lock for key, lock in self._held.items() if is_live(lock.expires_ms, self.now_ms)}

    def acquire(self, key: str, ttl_ms: int, holder: str | None = None) -> Any:
        end = self._end(ttl_ms)
        self._requests += 1
        holder = holder or f"{self.caller}#{self._requests}"
        held = self._held.get(key)
        if held is not None and held.holder != holder:
            return {"version": None, "holder": held.holder, "expires_ms": held.expires_ms}
        if held is None:
            self._version += 1
        lock = Lock(key, holder, self._version if held is None else held.version, end)
        self._held[key] = lock
        return {"version": str(lock.version), "holder": holder, "expires_ms": end}

    def renew(self, key: str, version: str, ttl_ms: int) -> Any:
        end, held = self._end(ttl_ms), self._mine(key, version)
        if held is not None:
            self._held[key] = held._replace(expires_ms=end)
        return {"renewed": held is not None}

    def release(self, key: str, version: str) -> Any:
        mine = self._mine(key, version) is not None
        if mine:
            del self._held[key]
        return {"released": mine}

    def get(self, key: str) -> Any:
        held = self._held.get(key)
        return {"lock": None if held is None else held.shown()}

    def list(self, prefix: str = "", after: str | None = None, limit: int | None = None) -> Any:
        found = sorted(lock for key, lock in self._held.items() if key.startswith(prefix))
        found, after = page(found, lambda lock: lock.key, after, limit)
        return {"locks": [lock.shown() for lock in found], "next": after}

    def _mine(self, key: str, version: str) -> Lock | None:
        held = self._held.get(key)
        return held if held is not None and str(held.version) == version else None

    def _end(self, ttl_ms: int) -> int:
        end = expiry(self.now_ms, ttl_ms)
        if end is None:
            raise InvalidArgumentError("ttl_ms is missing")
        return end
