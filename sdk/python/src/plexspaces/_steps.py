"""Steps that may fail: attempts with pauses between them."""

from __future__ import annotations

from binascii import crc32
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from ._backend import current
from .errors import InvalidArgumentError, PlexSpacesError, WorkflowCancelled

T = TypeVar("T")


class Policy(NamedTuple):
    """How often something is tried, and how long the pauses are."""

    attempts: int
    initial_ms: int
    factor: float
    max_ms: int
    jitter: float
    retry_on: tuple[type[Exception], ...]
    no_retry_on: tuple[type[Exception], ...] = ()

    def pause_ms(self, failed: int) -> int:
        """The pause after so many failures, from 1."""
        try:
            pause = min(self.max_ms, self.initial_ms * self.factor ** (failed - 1))
        except OverflowError:
            pause = self.max_ms
        return int(pause * (1 + self.jitter * _between(failed)))


def _between(failed: int) -> float:
    """A number from -1 to 1 that differs between actors and is the same when a turn is run again. The module `random` would cost every actor
    memory and time."""
    backend = current("retry")
    return crc32(f"{backend.actor_id()} {backend.now_ms()} {failed}".encode()) / 2**31 - 1


def attempt(call: Callable[[], T], policy: Policy, sleep: Callable[[int], None]) -> T:
    """Calls until it works or must be given up; raises what it was given up for."""
    if isinstance(policy.attempts, bool) or not isinstance(policy.attempts, int) or policy.attempts < 1:
        raise InvalidArgumentError(f"attempts must be a number from 1, not {policy.attempts!r}")
    if isinstance(policy.factor, bool) or not isinstance(policy.factor, (int, float)) or not policy.factor >= 1:
        raise InvalidArgumentError(f"factor must be a number from 1, not {policy.factor!r}")
    if isinstance(policy.jitter, bool) or not isinstance(policy.jitter, (int, float)) or not 0 <= policy.jitter <= 1:
        raise InvalidArgumentError(f"jitter must be a number from 0 to 1, not {policy.jitter!r}")
    failed = 0
    while True:
        try:
            return call()
        except WorkflowCancelled:
            raise
        except policy.no_retry_on:
            raise
        except policy.retry_on as error:
            failed += 1
            if failed >= policy.attempts or (isinstance(error, PlexSpacesError) and not error.retryable):
                raise
        sleep(policy.pause_ms(failed))
