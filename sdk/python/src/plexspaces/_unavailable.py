"""The names of the SDK that this version does not serve. They exist so that a program that uses one is told which, instead of failing
on a missing attribute."""

from __future__ import annotations

from typing import Any, NoReturn

from .errors import NotAvailableError

METHODS = (
    "ts_write",
    "ts_read",
    "ts_take",
    "ts_read_all",
    "ts_write_once",
    "lock_acquire",
    "lock_release",
    "lock_renew",
    "channel_publish",
    "channel_subscribe",
    "create_shard_group",
    "scatter_gather",
    "broadcast_shard_group",
    "barrier_shard_group",
    "reduce_shard_group",
    "all_reduce_shard_group",
    "allreduce_shard_group",
    "bulk_update_shard_group",
    "map_shard_group",
    "pool_checkout",
    "pool_checkin",
    "pool_stats",
    "application_metrics_add",
    "blob_put",
    "blob_get",
    "blob_delete",
    "blob_list",
    "blob_presign",
    "registry_register",
    "registry_lookup",
    "registry_unregister",
)


class Call:
    """A function that is not served: calling it says so."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotAvailableError(self._name)

    def __repr__(self) -> str:
        return f"<{self._name}: not available>"


class Methods:
    """Gives every name of ``METHODS`` to the host object, and no other."""

    def __getattr__(self, name: str) -> Call:
        if name in METHODS:
            return Call(f"host.{name}")
        raise AttributeError(f"host has no {name!r}")


class Namespace:
    """A part of the host API that is not served as a whole."""

    def __init__(self, name: str, *methods: str) -> None:
        self._name = name
        self._methods = methods

    def __getattr__(self, name: str) -> Call:
        if name in self._methods:
            return Call(f"host.{self._name}.{name}")
        raise AttributeError(f"host.{self._name} has no {name!r}")


ts = Namespace("ts", "write", "read", "take", "read_all", "write_once")
process_groups = Namespace("process_groups", "join", "leave", "members", "get_members", "publish", "broadcast")
channel = Namespace("channel", "send", "receive", "ack", "nack", "publish", "subscribe")
shared_kv = Namespace("shared_kv", "get", "put", "delete", "list")
