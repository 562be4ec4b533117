"""Locks: leases with versions that only grow, so that whoever guards a resource can refuse what an earlier holder still sends."""

from __future__ import annotations

import re
from typing import Any, overload

from . import _service
from ._arguments import MAX_TIME, filled, json_text, milliseconds
from ._election import Election
from .errors import InvalidArgumentError

_VERSION = re.compile("[0-9]+")


class Locks:
    """The functions of ``host`` for locks."""

    @overload
    def lock_acquire(self, key: str, ttl_ms: int, /, *, timeout_ms: int = 0) -> str | None: ...
    @overload
    def lock_acquire(self, scope: str, key: str, holder_id: str, lock_name: str, lease_secs: float, wait_secs: float, /) -> str: ...
    def lock_acquire(self, *arguments: Any, timeout_ms: int = 0) -> str | None:
        """Takes a lock for a time, in one of two forms.

        ``lock_acquire(key, ttl_ms)`` returns its version, or ``None`` while anybody has it, be it this actor.

        ``lock_acquire(scope, key, holder_id, lock_name, lease_secs, wait_secs)`` takes times in seconds and returns a JSON text with
        ``version``, ``key``, ``holder`` and ``expires_ms``, or a text that begins with ``ERROR``. A holder that has the lock renews its
        lease. The lock is ``key``; ``lock_name`` says what it is for.
        """
        if len(arguments) == 2:
            key, ttl_ms = arguments
            return self._acquire(key, milliseconds(ttl_ms, "ttl_ms", MAX_TIME, least=1), None, timeout_ms).get("version") or None
        if len(arguments) != 6 or timeout_ms:
            raise InvalidArgumentError(
                "lock_acquire takes (key, ttl_ms, timeout_ms=0) or (scope, key, holder_id, lock_name, lease_secs, wait_secs)"
            )
        scope, key, holder, lock_name, lease, wait = arguments
        _service.check_scope("lock_acquire", scope)
        filled(holder, "holder_id")
        filled(lock_name, "lock_name")
        reply = self._acquire(key, max(1, _seconds(lease, "lease_secs", above=0)), holder, _seconds(wait, "wait_secs"))
        if not reply.get("version"):
            return f"ERROR: the lock {key!r} is held by {reply.get('holder') or 'another'}"
        return json_text({"key": key, "holder": holder, **reply}, "lock")

    def lock_release(self, *arguments: Any) -> bool:
        """Gives a lock back: ``lock_release(key, version)`` or ``lock_release(scope, key, holder_id, version)``. False when it is another's
        by now, or free, and for what is no version: that is no error."""
        holder = None
        if len(arguments) == 4:
            scope, key, holder, version = arguments
            _service.check_scope("lock_release", scope)
            filled(holder, "holder_id")
        elif len(arguments) == 2:
            key, version = arguments
        else:
            raise InvalidArgumentError("lock_release takes (key, version) or (scope, key, holder_id, version)")
        filled(key, "key")
        # What an attempt that failed has returned, or what never was a version: nothing is held under it. It must not raise where a block
        # ends, and hide what the block has raised.
        if not isinstance(version, str) or not _VERSION.fullmatch(version):
            return False
        held = {"key": key, "version": version, "holder": holder}
        return bool(_service.ask("lock_release", "locks", "release", held).get("released"))

    def lock_renew(self, key: str, version: str, ttl_ms: int) -> bool:
        """Begins the lease of a lock anew; false when the lock is another's by now, or free."""
        lease = milliseconds(ttl_ms, "ttl_ms", MAX_TIME, least=1)
        arguments = {"key": filled(key, "key"), "version": filled(version, "version"), "ttl_ms": lease}
        return bool(_service.ask("lock_renew", "locks", "renew", arguments).get("renewed"))

    def election(self, name: str, lease_ms: int = 30_000) -> Election:
        """This actor's part in the election of a leader: see ``Election``."""
        return Election(name, lease_ms)

    def _acquire(self, key: Any, ttl_ms: int, holder: str | None, timeout_ms: int) -> dict[str, Any]:
        arguments = {"key": filled(key, "key"), "ttl_ms": ttl_ms, "holder": holder, "timeout_ms": timeout_ms}
        return _service.ask("lock_acquire", "locks", "acquire", arguments)


def _seconds(value: Any, what: str, above: float = -1) -> int:
    """The milliseconds of a number of seconds."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not above < value < MAX_TIME / 1000:
        raise InvalidArgumentError(f"{what} must be a number of seconds{' above zero' if above == 0 else ''}, not {value!r}")
    return int(value * 1000)
