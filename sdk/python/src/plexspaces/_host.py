"""`host`: what an actor can reach. What carries a call out is a backend: the node, or a test."""

from __future__ import annotations

from typing import Any, Protocol

from plexspaces._json import dumps
from plexspaces._later import refuse
from plexspaces.errors import ArgumentError, PlexSpacesError

_LATER = frozenset(
    """
    send_after monitor demonitor link unlink ts_write ts_read ts_take ts_read_all ts_write_once lock_acquire lock_release lock_renew
    channel_publish channel_subscribe http_fetch create_shard_group scatter_gather broadcast_shard_group barrier_shard_group
    reduce_shard_group all_reduce_shard_group allreduce_shard_group bulk_update_shard_group map_shard_group pool_checkout pool_checkin
    pool_stats application_metrics_add blob_put blob_get blob_delete blob_list blob_presign registry_register registry_lookup
    registry_unregister timer_start timer_cancel reminder_register reminder_unregister checkpoint spawn stop
    """.split()
)
_LATER_NAMESPACES = frozenset({"ts", "process_groups", "channel", "shared_kv"})


class Backend(Protocol):
    """What carries out the calls of `host`. Payloads are JSON-compatible values or bytes."""

    def actor_id(self) -> str: ...
    def now_ms(self) -> int: ...
    def ask(self, target: str, operation: str, payload: Any, timeout_ms: int) -> Any: ...
    def tell(self, target: str, operation: str, payload: Any) -> None: ...
    def kv_get(self, key: str) -> str | None: ...
    def kv_put(self, key: str, value: str, ttl_ms: int | None) -> None: ...
    def kv_delete(self, key: str) -> bool: ...
    def kv_cas(self, key: str, expected: str | None, value: str) -> bool: ...
    def kv_list(self, prefix: str, after: str | None, limit: int) -> list[str]: ...
    def log(self, level: str, message: str) -> None: ...


class _NoBackend:
    """Before an actor runs there is nothing to reach."""

    def __getattr__(self, name: str) -> Any:
        def fail(*_args: Any) -> Any:
            raise PlexSpacesError(f"host.{name} needs a running actor: it cannot be used while the module is loaded or without a test harness")

        return fail


class _LaterNamespace:
    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, method: str) -> Any:
        if method.startswith("_"):
            raise AttributeError(method)
        return lambda *_args, **_kwargs: refuse(f"host.{self._name}.{method}")


_PAGE = 1000


class KeyValue:
    """The actor's own pairs, under short names."""

    def __init__(self, owner: Host) -> None:
        """Stand for the host's functions."""
        self.get = owner.kv_get
        self.put = owner.kv_put
        self.delete = owner.kv_delete
        self.exists = owner.kv_exists
        self.list = owner.kv_list
        self.cas = owner.kv_cas


class Host:
    """What an actor can reach. Every call returns when it is done."""

    def __init__(self) -> None:
        """Begin without anything to reach."""
        self._backend: Any = _NoBackend()
        self.kv = KeyValue(self)

    def ask(self, target: str, op: Any, payload: Any = None, timeout_ms: int = 5000) -> Any:
        """Ask another actor and return its reply. The operation may be in the payload: `ask(target, {"op": "get"})`."""
        if not isinstance(op, str):
            # ask(target, payload) and ask(target, payload, timeout_ms)
            if payload is not None:
                timeout_ms = payload
            op, payload = "", op
        if not isinstance(timeout_ms, int) or timeout_ms <= 0:
            raise ArgumentError(f"timeout_ms is {timeout_ms!r}, expected a number of milliseconds from 1", field="timeout_ms")
        return self._backend.ask(_text("target", target), op, {} if payload is None else payload, timeout_ms)

    def tell(self, target: str, op: Any, payload: Any = None) -> None:
        """Send to another actor without waiting for what comes of it."""
        if not isinstance(op, str):
            op, payload = "", op
        self._backend.tell(_text("target", target), op, {} if payload is None else payload)

    send = tell

    def get_actor_id(self) -> str:
        """Return the actor's own id, `namespace/type/key`."""
        actor_id: str = self._backend.actor_id()
        return actor_id

    def now_ms(self) -> int:
        """Return the milliseconds since the Unix epoch."""
        now: int = self._backend.now_ms()
        return now

    def kv_get(self, key: str) -> str | None:
        """Return the value of one of the actor's own keys, or None."""
        value: str | None = self._backend.kv_get(_text("key", key))
        return value

    def kv_put(self, key: str, value: Any, ttl_ms: int | None = None) -> None:
        """Set one of the actor's own keys, for `ttl_ms` milliseconds if given. What is no str is stored as JSON text."""
        self._backend.kv_put(_text("key", key), _value(value), ttl_ms)

    def kv_delete(self, key: str) -> bool:
        """Remove a key; True when it was there."""
        return bool(self._backend.kv_delete(_text("key", key)))

    def kv_exists(self, key: str) -> bool:
        """Tell whether a key is there."""
        return self.kv_get(key) is not None

    def kv_list(self, prefix: str = "") -> list[str]:
        """Return all keys that begin with `prefix`, in order."""
        keys: list[str] = []
        while True:
            page = self._backend.kv_list(prefix, keys[-1] if keys else None, _PAGE)
            keys.extend(page)
            if len(page) < _PAGE:
                return keys

    def kv_cas(self, key: str, expected: Any, value: Any) -> bool:
        """Set a key if its value is `expected` (None: if it is not there); True when it was set."""
        wanted = None if expected is None else _value(expected)
        return bool(self._backend.kv_cas(_text("key", key), wanted, _value(value)))

    def debug(self, msg: str) -> None:
        """Write a line to the node's log."""
        self._backend.log("debug", str(msg))

    def info(self, msg: str) -> None:
        """Write a line to the node's log."""
        self._backend.log("info", str(msg))

    def warn(self, msg: str) -> None:
        """Write a line to the node's log."""
        self._backend.log("warn", str(msg))

    def error(self, msg: str) -> None:
        """Write a line to the node's log."""
        self._backend.log("error", str(msg))

    def __getattr__(self, name: str) -> Any:
        if name in _LATER:
            return lambda *_args, **_kwargs: refuse(f"host.{name}")
        if name in _LATER_NAMESPACES:
            return _LaterNamespace(name)
        raise AttributeError(f"host has no {name!r}")


def _text(field: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ArgumentError(f"{field} is of type {type(value).__name__}, expected str", field=field)
    return value


def _value(value: Any) -> str:
    return value if isinstance(value, str) else dumps(value, "the value")


host = Host()


def use(backend: Backend | None) -> None:
    """Let `host` reach something else."""
    host._backend = _NoBackend() if backend is None else backend
