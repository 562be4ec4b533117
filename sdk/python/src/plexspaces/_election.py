"""Leader election: of several candidates one leads for as long as it renews its lease."""

from __future__ import annotations

from typing import Any

from . import _service
from ._arguments import MAX_TIME, filled, milliseconds
from ._backend import current


class Election:
    """This actor's part in an election. The leader is who holds the lock of the election's name; ``token`` is the version of that lock, which only
    grows: what the leader guards refuses smaller ones than it has seen, so that a former leader which does not know yet can do no harm.

    An actor that comes to life anew with the same identity and campaigns while its lease lasts leads on, with the same token.
    """

    def __init__(self, name: str, lease_ms: int = 30_000) -> None:
        self.name = filled(name, "name")
        self.lease_ms = milliseconds(lease_ms, "lease_ms", MAX_TIME, least=1)
        self._token = ""
        self._until_ms = 0

    @property
    def is_leader(self) -> bool:
        """Whether this actor leads, as far as it knows: its lease is not over."""
        return bool(self._token) and int(current("is_leader").now_ms()) < self._until_ms

    @property
    def token(self) -> str:
        """The fencing token, a decimal number; ``""`` while this actor does not lead."""
        return self._token if self.is_leader else ""

    def campaign(self, timeout_ms: int = 0) -> bool:
        """Tries to lead, waiting up to ``timeout_ms`` milliseconds for those before it; begins the lease anew where it leads already. Whether it
        leads."""
        backend = current("campaign")
        arguments = {"key": self.name, "ttl_ms": self.lease_ms, "holder": backend.actor_id(), "timeout_ms": timeout_ms}
        reply = _service.ask("campaign", "locks", "acquire", arguments)
        self._token = reply.get("version") or ""
        self._until_ms = int(reply.get("expires_ms") or 0) if self._token else 0
        return bool(self._token)

    def renew(self) -> bool:
        """Begins the lease anew, and does not try to lead where this actor does not. Whether it leads."""
        if not self._token:
            return False
        # The lease begins after this, so this actor does not believe longer than others that it leads.
        asked_ms = int(current("renew").now_ms())
        arguments = {"key": self.name, "version": self._token, "ttl_ms": self.lease_ms}
        if _service.ask("renew", "locks", "renew", arguments).get("renewed"):
            self._until_ms = asked_ms + self.lease_ms
            return True
        self._token, self._until_ms = "", 0
        return False

    def resign(self) -> bool:
        """Leads no longer, so that another can at once. Whether it has led until now."""
        token, self._token, self._until_ms = self._token, "", 0
        if not token:
            return False
        held = {"key": self.name, "version": token}
        return bool(_service.ask("resign", "locks", "release", held).get("released"))

    def leader(self) -> str | None:
        """The printed identity of the actor that leads; ``None`` where nobody does."""
        lock: dict[str, Any] = _service.ask("leader", "locks", "get", {"key": self.name}).get("lock") or {}
        return lock.get("holder")
