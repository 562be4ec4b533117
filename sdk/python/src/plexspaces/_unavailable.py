"""The names of the SDK that this version does not serve. They exist so that a program that uses one is told which, instead of failing
on a missing attribute."""

from __future__ import annotations

from typing import Any, NoReturn

from .errors import NotAvailableError

METHODS = (
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
