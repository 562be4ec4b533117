"""Runs a turn again in a test, with what the host gave it the first time, and finds what it does otherwise."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .errors import NonDeterministicError

# What leaves no trace in a journal: it may differ.
_UNSEEN = ("log", "publish")


class Call(NamedTuple):
    """A call of the host, what it gave, and the time after it."""

    name: str
    arguments: tuple[Any, ...]
    result: Any
    error: BaseException | None
    clock_ms: int

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(repr, self.arguments))})"


@dataclass
class Recorded:
    """A turn: what it began with, its calls, and how it ended."""

    operation: str
    payload: Any
    sender: str
    state: str
    clock_ms: int
    calls: list[Call] = field(default_factory=list)
    outcome: str = ""
    random_state: Any = field(default_factory=random.getstate)


class Recorder:
    """A backend that writes down what another one is asked and what it gives."""

    def __init__(self, backend: Any, recorded: Recorded) -> None:
        self._backend = backend
        self._recorded = recorded

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method: Callable[..., Any] = getattr(self._backend, name)
        if name in (*_UNSEEN, "now_ms", "actor_id"):
            return method

        def call(*arguments: Any) -> Any:
            result, error = None, None
            try:
                result = method(*arguments)
                return result
            except BaseException as raised:
                error = raised
                raise
            finally:
                kept = list(result) if isinstance(result, list) else result
                self._recorded.calls.append(Call(name, arguments, kept, error, self._backend.clock_ms))

        return call


class Repeater:
    """A backend that gives what was given before, and refuses what was not asked then."""

    def __init__(self, recorded: Recorded, actor_id: str) -> None:
        self._recorded = recorded
        self._actor_id = actor_id
        self._place = 0
        self.clock_ms = recorded.clock_ms
        # The code may catch what it is told of it.
        self.divergence: NonDeterministicError | None = None

    def actor_id(self) -> str:
        """See `Backend`."""
        return self._actor_id

    def now_ms(self) -> float:
        """See `Backend`."""
        return float(self.clock_ms)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if name in _UNSEEN:
                return None
            made = Call(name, arguments, None, None, 0)
            calls = self._recorded.calls
            known = calls[self._place] if self._place < len(calls) else None
            if self.divergence is None and (known is None or known[:2] != made[:2]):
                self.diverges(str(known or "its end"), str(made))
            if self.divergence is not None or known is None:
                raise self.divergence or NonDeterministicError("the turn was stopped")
            self._place += 1
            self.clock_ms = known.clock_ms
            if known.error is not None:
                raise known.error
            return known.result

        return call

    def diverges(self, then: str, now: str) -> None:
        """Notes the first difference."""
        if self.divergence is None:
            self.divergence = NonDeterministicError(f"at call {self._place} the turn did {then}; run again it did {now}")

    def end(self, outcome: str) -> None:
        """The turn is over; raises ``NonDeterministicError`` if it was not the same."""
        calls = self._recorded.calls
        if self._place < len(calls):
            self.diverges(str(calls[self._place]), "its end")
        if outcome != self._recorded.outcome:
            self.diverges(f"end with {self._recorded.outcome}", f"end with {outcome}")
        if self.divergence is not None:
            raise self.divergence
