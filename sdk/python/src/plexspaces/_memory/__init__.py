"""The services that actors share, in memory, for tests: as docs/services.md says, without a store and without waiting."""

from __future__ import annotations

from .channels import Channel
from .groups import Groups
from .kv import Pairs
from .locks import Locks
from .registry import Registry
from .service import Service
from .tuples import Tuples

SERVICES: dict[str, type[Service]] = {
    "tuples": Tuples,
    "locks": Locks,
    "kv": Pairs,
    "groups": Groups,
    "registry": Registry,
    "channels": Channel,
}
