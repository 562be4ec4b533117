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
    # Whether the holder has named itself, and may acquire the lock again.
    named: bool

    def shown(self) -> dict[str, Any]:
        return {"key": self.key, "holder": self.holder, "version": str(self.version), "expires_ms": self.expires_ms}


class Locks(Service):
    """The locks of a namespace."""

    looks = frozenset({"get", "list"})
    waits = {"acquire": "version"}
    operations = frozenset({"acquire", "renew", "release", "get", "list"})

    def __init__(self, name: str, tell: Any) -> None:
        super().__init__(name, tell)
        self._held: dict[str, Lock] = {}
        self._version = 0

    def due_ms(self) -> int | None:
        return soonest(*(lock.expires_ms for lock in self._held.values()))

    def happen(self) -> None:
        self._held = {key: lock for key, lock in self._held.items() if is_live(lock.expires_ms, self.now_ms)}

    def acquire(self, key: str, ttl_ms: int, holder: str | None = None) -> Any:
        end, held = self._end(ttl_ms), self._held.get(key)
        if held is None:
            self._version += 1
            held = Lock(key, holder or self.caller, self._version, end, bool(holder))
        elif not held.named or held.holder != holder:
            return {"version": None, "holder": held.holder, "expires_ms": held.expires_ms}
        self._held[key] = held._replace(expires_ms=end)
        return {"version": str(held.version), "holder": held.holder, "expires_ms": end}

    def renew(self, key: str, version: str, ttl_ms: int) -> Any:
        end, held = self._end(ttl_ms), self._mine(key, version)
        if held is not None:
            self._held[key] = held._replace(expires_ms=end)
        return {"renewed": held is not None}

    def release(self, key: str, version: str, holder: str | None = None) -> Any:
        held = self._mine(key, version)
        mine = held is not None and holder in (None, held.holder)
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
        if not version.isdecimal():
            raise InvalidArgumentError(f"{version!r} is not a version of a lock: those are decimal numbers in strings")
        held = self._held.get(key)
        return held if held is not None and str(held.version) == version else None

    def _end(self, ttl_ms: int) -> int:
        end = expiry(self.now_ms, ttl_ms)
        if end is None:
            raise InvalidArgumentError("ttl_ms is missing")
        return end
