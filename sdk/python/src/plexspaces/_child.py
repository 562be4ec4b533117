"""Workflows that a workflow starts."""

from __future__ import annotations

from typing import Any

from . import _course
from ._arguments import milliseconds
from ._backend import current
from ._workflow import CANCEL
from .errors import AskTimeoutError, ConflictError, error_from


class Child:
    """A run that ``host.start_workflow`` has started. It goes on by itself; when its parent is cancelled, it is cancelled too."""

    __slots__ = ("actor_id", "workflow_id")

    def __init__(self, actor_id: str, workflow_id: str) -> None:
        self.actor_id = actor_id
        self.workflow_id = workflow_id

    def result(self, timeout_ms: int | None = None) -> Any:
        """Waits for the run's end and returns its result, be it after days: the parent leaves memory meanwhile. Signals are handled while
        it waits.

        Raises what the run failed with, ``ConflictError`` when it was cancelled, ``AskTimeoutError`` when it was timed out or ``timeout_ms``
        milliseconds have passed, and ``WorkflowCancelled`` when the parent is cancelled.
        """
        course = _course.present()
        if course is None:
            raise ConflictError("Child.result() is for workflows: a run hears of the end of what it has started")
        limit = None if timeout_ms is None else milliseconds(timeout_ms, "timeout_ms", _course.FOREVER_MS)
        until = int(current("result").now_ms()) + (_course.FOREVER_MS if limit is None else limit)
        while True:
            ended = course.ended.get(self.actor_id)
            if ended is not None:
                error = ended.get("error")
                if error is not None:
                    raise error_from(error["code"], error["message"], error["retryable"])
                return ended.get("result")
            if _course.slept("result", until):
                if limit is not None:
                    raise AskTimeoutError(f"the run of {self.actor_id} did not end in {limit} ms; it goes on")
                until += _course.FOREVER_MS

    def cancel(self) -> None:
        """Cancels the run: its next wait raises ``WorkflowCancelled``, and it can undo what it did. Nothing happens to one that has ended."""
        current("cancel").tell(self.actor_id, CANCEL, "{}")
