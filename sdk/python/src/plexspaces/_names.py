"""The registry: names of actors and of things outside, with labels by which they are found."""

from __future__ import annotations

from typing import Any

from . import _service
from ._arguments import filled, lifetime, optional
from .errors import InvalidArgumentError


class Names:
    """The functions of ``host`` for the registry. An entry is a dict with ``name``, ``target``, ``labels``, ``metadata``, ``healthy`` and
    ``expires_ms``."""

    def registry_register(
        self, name: str, target: str | None = None, labels: dict[str, str] | None = None, metadata: Any = None, ttl_ms: int | None = None
    ) -> None:
        """Registers this actor, or another target, under a name. Without ``registry_renew`` the entry ends after ``ttl_ms``. Raises
        ``ConflictError`` when the name is another target's."""
        arguments = {"target": optional(target, "target"), "labels": _labels(labels), "metadata": metadata, "ttl_ms": lifetime(ttl_ms)}
        self._ask("register", name=filled(name, "name"), **arguments)

    def registry_renew(self, name: str, ttl_ms: int | None = None, healthy: bool = True) -> bool:
        """Begins an entry's time anew and says how its target is; false when there is no such entry."""
        if not isinstance(healthy, bool):
            raise InvalidArgumentError(f"healthy must be a bool, not {type(healthy).__name__}")
        return bool(self._ask("renew", name=filled(name, "name"), ttl_ms=lifetime(ttl_ms), healthy=healthy).get("renewed"))

    def registry_unregister(self, name: str) -> bool:
        """Removes an entry; true when there was one."""
        return bool(self._ask("unregister", name=filled(name, "name")).get("unregistered"))

    def registry_lookup(self, name: str) -> dict[str, Any] | None:
        """The entry of a name, or ``None``."""
        entry: dict[str, Any] | None = self._ask("lookup", name=filled(name, "name")).get("entry")
        return entry

    def registry_find(self, labels: dict[str, str] | None = None, healthy: bool | None = None) -> list[dict[str, Any]]:
        """The entries that have all of these labels, and if ``healthy`` is given are so."""
        if healthy is not None and not isinstance(healthy, bool):
            raise InvalidArgumentError(f"healthy must be a bool, not {type(healthy).__name__}")
        arguments = {"labels": _labels(labels), "healthy": healthy}
        return _service.pages("registry_find", "registry", "find", arguments, "entries")

    def _ask(self, operation: str, **arguments: Any) -> dict[str, Any]:
        return _service.ask(f"registry_{operation}", "registry", operation, arguments)


def _labels(labels: Any) -> dict[str, str] | None:
    if labels is None:
        return None
    if not isinstance(labels, dict) or not all(isinstance(x, str) for pair in labels.items() for x in pair):
        raise InvalidArgumentError("labels must be a dict of strings")
    return labels
