"""Steps that may fail: attempts with pauses between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from .errors import InvalidArgumentError, PlexSpacesError, WorkflowCancelled

T = TypeVar("T")


class Policy(NamedTuple):
    """How often something is tried, and how long the pauses are."""

    attempts: int
    initial_ms: int
    factor: float
    max_ms: int
    retry_on: tuple[type[Exception], ...]

    def pause_ms(self, failed: int) -> int:
        """The pause after so many failures, from 1."""
        try:
            return int(min(self.max_ms, self.initial_ms * self.factor ** (failed - 1)))
        except OverflowError:
            return self.max_ms


def attempt(call: Callable[[], T], policy: Policy, sleep: Callable[[int], None]) -> T:
    """Calls until it works or must be given up; raises what it was given up for."""
    if isinstance(policy.attempts, bool) or not isinstance(policy.attempts, int) or policy.attempts < 1:
        raise InvalidArgumentError(f"attempts must be a number from 1, not {policy.attempts!r}")
    if isinstance(policy.factor, bool) or not isinstance(policy.factor, (int, float)) or not policy.factor >= 1:
        raise InvalidArgumentError(f"factor must be a number from 1, not {policy.factor!r}")
    failed = 0
    while True:
        try:
            return call()
        except WorkflowCancelled:
            raise
        except policy.retry_on as error:
            failed += 1
            if failed >= policy.attempts or (isinstance(error, PlexSpacesError) and not error.retryable):
                raise
        sleep(policy.pause_ms(failed))
