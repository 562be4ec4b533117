"""The registry in memory."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..errors import ConflictError
from .service import Service, expiry, is_live, page


@dataclass
class Entry:
    """What is known under a name."""

    name: str
    target: str
    labels: dict[str, str]
    metadata: Any
    healthy: bool
    expires_ms: int | None


class Registry(Service):
    """The names of a namespace."""

    looks = frozenset({"lookup", "find"})
    operations = frozenset({"register", "renew", "unregister", "lookup", "find"})

    def __init__(self, name: str, tell: Any) -> None:
        super().__init__(name, tell)
        self._entries: dict[str, Entry] = {}

    def happen(self) -> None:
        self._entries = {name: entry for name, entry in self._entries.items() if is_live(entry.expires_ms, self.now_ms)}

    def register(
        self, name: str, target: str | None = None, labels: dict[str, str] | None = None, metadata: Any = None, ttl_ms: int | None = None
    ) -> Any:
        target = target or self.caller
        known = self._entries.get(name)
        if known is not None and known.target != target:
            raise ConflictError(f"the name {name!r} is of {known.target}")
        self._entries[name] = Entry(name, target, labels or {}, metadata, True, expiry(self.now_ms, ttl_ms))
        return {}

    def renew(self, name: str, ttl_ms: int | None = None, healthy: bool = True) -> Any:
        known, expires_ms = self._entries.get(name), expiry(self.now_ms, ttl_ms)
        if known is not None:
            known.healthy, known.expires_ms = healthy, known.expires_ms if expires_ms is None else expires_ms
        return {"renewed": known is not None}

    def unregister(self, name: str) -> Any:
        return {"unregistered": self._entries.pop(name, None) is not None}

    def lookup(self, name: str) -> Any:
        known = self._entries.get(name)
        return {"entry": None if known is None else asdict(known)}

    def find(
        self, labels: dict[str, str] | None = None, healthy: bool | None = None, after: str | None = None, limit: int | None = None
    ) -> Any:
        wanted = (labels or {}).items()
        there = [e for e in self._entries.values() if wanted <= e.labels.items() and healthy in (None, e.healthy)]
        found, after = page(sorted(there, key=lambda e: e.name), lambda e: e.name, after, limit)
        return {"entries": [asdict(entry) for entry in found], "next": after}
