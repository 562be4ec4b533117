"""``host.kv``, pairs of one actor, and ``host.shared_kv``, pairs of a namespace."""

from __future__ import annotations

from typing import Any

from . import _service
from ._arguments import MAX_TIME, filled, lifetime, milliseconds, text, value_text
from ._backend import current


class KeyValue:
    """``host.kv``: pairs that are private to this actor. In a durable actor they commit with the turn."""

    def get(self, key: str) -> str | None:
        """The value, or ``None`` when there is none."""
        return current("kv_get").kv_get(text(key, "key"))

    def put(self, key: str, value: Any, ttl_ms: int | None = None) -> None:
        """Writes a pair. A value that is no string is kept as its JSON text. ``ttl_ms`` limits its life."""
        life = None if ttl_ms is None else milliseconds(ttl_ms, "ttl_ms")
        current("kv_put").kv_put(text(key, "key"), value_text(value), life)

    def delete(self, key: str) -> bool:
        """Removes a pair; true when it was there."""
        return current("kv_delete").kv_delete(text(key, "key"))

    def exists(self, key: str) -> bool:
        """Whether there is a value."""
        return current("kv_exists").kv_get(text(key, "key")) is not None

    def list(self, prefix: str = "") -> list[str]:
        """The keys that begin with ``prefix``, in byte order."""
        backend, keys = current("kv_list"), []
        page = backend.kv_list(text(prefix, "prefix"), None, _service.PAGE)
        while page:
            keys += page
            page = backend.kv_list(prefix, page[-1], _service.PAGE) if len(page) == _service.PAGE else []
        return keys

    def cas(self, key: str, expected: Any, value: Any) -> bool:
        """Writes ``value`` if the present value is ``expected`` (``None``: there is none); true when it was written."""
        wanted = None if expected is None else value_text(expected)
        return current("kv_cas").kv_cas(text(key, "key"), wanted, value_text(value))


class SharedKeyValue:
    """``host.shared_kv``: pairs that all actors of the namespace share. Keys are not empty; values are as in ``host.kv``."""

    def get(self, key: str) -> str | None:
        """The value, or ``None`` when there is none."""
        value: str | None = self._ask("get", key).get("value")
        return value

    def put(self, key: str, value: Any, ttl_ms: int | None = None) -> None:
        """Writes a pair. ``ttl_ms`` limits its life. In a durable actor it is written when the turn has committed."""
        self._ask("put", key, value=value_text(value), ttl_ms=lifetime(ttl_ms))

    def delete(self, key: str) -> bool:
        """Removes a pair; true when it was there."""
        return bool(self._ask("delete", key).get("deleted"))

    def exists(self, key: str) -> bool:
        """Whether there is a value."""
        return self.get(key) is not None

    def watch(self, prefix: str = "", after: int | None = None, timeout_ms: int = 0) -> dict[str, Any]:
        """What has changed under ``prefix`` since the version ``after``, without it from now on: a dict with ``changes``, the ``version``
        for the next ``after``, and ``reset``. Waits up to ``timeout_ms`` milliseconds for a change.

        Each pair that has changed is there once, as it is now: ``key``, ``value`` (``None``: it is gone) and ``version``. When ``reset`` is
        true, ``after`` was too long ago: ``changes`` are all pairs that there are.
        """
        since = None if after is None else milliseconds(after, "after", MAX_TIME)
        arguments = {"prefix": text(prefix, "prefix"), "after": since, "timeout_ms": timeout_ms}
        told = {"changes": [], "version": after, "reset": False, **_service.ask("shared_kv.watch", "kv", "watch", arguments)}
        rest = told.pop("next", None)
        if rest is not None:
            wanted = {"prefix": arguments["prefix"]}
            told["changes"] += _service.pages("shared_kv.watch", "kv", "list", wanted, "pairs", after=rest)
        return told

    def list(self, prefix: str = "") -> list[str]:
        """The keys that begin with ``prefix``, in byte order."""
        pairs = _service.pages("shared_kv.list", "kv", "list", {"prefix": text(prefix, "prefix")}, "pairs")
        return [pair["key"] for pair in pairs]

    def cas(self, key: str, expected: Any, value: Any, ttl_ms: int | None = None) -> bool:
        """Writes ``value`` if the present value is ``expected`` (``None``: there is none); true when it was written."""
        wanted = None if expected is None else value_text(expected)
        return bool(self._ask("cas", key, expected=wanted, value=value_text(value), ttl_ms=lifetime(ttl_ms)).get("swapped"))

    def _ask(self, operation: str, key: str, **arguments: Any) -> dict[str, Any]:
        return _service.ask(f"shared_kv.{operation}", "kv", operation, {"key": filled(key, "key"), **arguments})
