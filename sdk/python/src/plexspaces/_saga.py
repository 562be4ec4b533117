"""Steps that are undone in reverse order when a later one fails."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

from ._backend import current
from ._host import host
from ._json import printable
from ._steps import Policy, attempt
from .errors import InvalidArgumentError, WorkflowCancelled


class Saga:
    """Steps that are undone when a later one fails.

        with Saga() as saga:
            host.ask("hotel", "book", {"trip": trip})
            saga.add(host.ask, "hotel", "cancel", {"trip": trip})
            host.ask("flight", "book", {"trip": trip})

    When the block raises anything, ``WorkflowCancelled`` included, the compensations that were added are called in reverse order, and then
    the exception goes on. Each of them is retried as ``host.retry`` does, with ``attempts`` attempts; one that fails for good does not keep
    the others from being called: it is logged, noted at the exception, and listed in ``failed``.

    Add a compensation before its step where a step may have happened although it raised, for example because it timed out; it must then
    bear that there is nothing to undo.
    """

    def __init__(self, *, attempts: int = 10, initial_ms: int = 100, factor: float = 2.0, max_ms: int = 10_000) -> None:
        self._policy = Policy(attempts, initial_ms, factor, max_ms, 0.25, (Exception,))
        self._compensations: list[tuple[str, Callable[[], Any]]] = []
        self.failed: list[Exception] = []

    def add(self, compensation: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Notes what undoes a step: ``compensation(*args, **kwargs)``."""
        if not callable(compensation):
            raise InvalidArgumentError(f"a compensation must be callable, not {type(compensation).__name__}")
        name = getattr(compensation, "__qualname__", type(compensation).__name__)
        self._compensations.append((name, lambda: compensation(*args, **kwargs)))

    def compensate(self) -> None:
        """Undoes now what was added, in reverse order. Nothing is undone twice."""
        if not self._compensations:
            return
        while self._compensations:
            name, compensation = self._compensations.pop()
            self._undo(name, compensation)
        # What a run that ends with an exception has sent since its last wait does not leave.
        self._undo("host.checkpoint", host.checkpoint)

    def _undo(self, name: str, compensation: Callable[[], Any]) -> None:
        try:
            self._surely(compensation)
        except Exception as error:
            self.failed.append(error)
            current("error").log("error", printable(f"the compensation {name} failed for good: {type(error).__name__}: {error}"))

    def _surely(self, compensation: Callable[[], Any]) -> None:
        cancelled = 0
        while True:
            try:
                attempt(compensation, self._policy, host.sleep)
                return
            except WorkflowCancelled:
                # Who cancels the run wants it to be undone; what was interrupted is done again.
                cancelled += 1
                if cancelled >= self._policy.attempts:
                    raise

    def __enter__(self) -> Saga:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            return
        self.compensate()
        for failure in self.failed:
            error.add_note(f"a compensation failed: {type(failure).__name__}: {failure}")
