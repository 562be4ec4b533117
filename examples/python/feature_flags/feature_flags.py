"""Switches that all actors see at once: shared pairs, changed with compare-and-set."""

import json
import zlib

from plexspaces import actor, handler, host

FLAGS = "flag/"


@actor(facets=["durability"])
class Flags:
    """Where an operator changes flags."""

    @handler("set")
    def set(self, flag: str, percent: int, expected: int | None = None) -> dict:
        """Switches a flag on for a part of the users. With `expected`, only if that is the present part."""
        if not 0 <= percent <= 100:
            return {"error": "percent must be from 0 to 100"}
        if expected is None:
            host.shared_kv.put(FLAGS + flag, percent)
        elif not host.shared_kv.cas(FLAGS + flag, expected, percent):
            return {"error": f"{flag} has been changed meanwhile"}
        return {"flag": flag, "percent": percent}

    @handler("remove")
    def remove(self, flag: str) -> dict:
        """Removes a flag; it is off for all."""
        return {"removed": host.shared_kv.delete(FLAGS + flag)}

    @handler("list")
    def list(self) -> dict:
        """All flags."""
        keys = host.shared_kv.list(FLAGS)
        return {"flags": {key.removeprefix(FLAGS): json.loads(host.shared_kv.get(key) or "0") for key in keys}}

    @handler("changes")
    def changes(self, after: int | None = None, timeout_ms: int = 0) -> dict:
        """What has changed since a version. It waits for a change, so that whoever asks again and again misses none."""
        return host.shared_kv.watch(FLAGS, after, timeout_ms)


@actor
class Checkout:
    """A service that behaves as the flags say."""

    @handler("pay")
    def pay(self, user: str) -> dict:
        """Pays in the new way or in the old."""
        return {"user": user, "way": "new" if is_on("new_checkout", user) else "old"}


def is_on(flag: str, user: str) -> bool:
    """Whether a flag is on for a user. The same users stay in when its part grows."""
    percent = int(host.shared_kv.get(FLAGS + flag) or 0)
    return zlib.crc32(f"{flag}:{user}".encode()) % 100 < percent


ACTOR_REGISTRY = {"flags": Flags, "checkout": Checkout}
