"""What happens where a workflow waits: its state is shown to queries before, and the signals that came are handled after.

One `Course` is one turn. Everything in it must come out the same when the turn is run again: it depends on what the host gives and on
nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from . import _workflow
from ._backend import current
from ._json import decode
from .errors import WorkflowCancelled

# The longest that one wait may take; whoever waits longer waits again.
FOREVER_MS = 9 * 365 * 24 * 60 * 60 * 1000
# Signals that nobody has waited for yet. A run that only has handlers for its signals must not gather them for ever.
_MOST_KEPT = 1000


class Signal(NamedTuple):
    """A signal that has come."""

    operation: str
    name: str
    payload: Any


class Course:
    """A workflow's turn. ``show`` gives the state as text; ``handle`` runs a signal's handler, if there is one."""

    __slots__ = ("_arrived", "_busy", "_handle", "_looks", "_open", "_show", "_shown", "_waiting", "ended")

    def __init__(self, show: Callable[[], str], handle: Callable[[Signal], None], looks: bool = False) -> None:
        self._show = show
        self._handle = handle
        # A query changes nothing, so that signals that come meanwhile must wait until it is over.
        self._looks = looks
        self._busy = looks
        self._shown: str | None = None
        # Came and was not handled yet.
        self._waiting: list[Signal] = []
        # Came and was not given to `wait_for_signal` yet.
        self._arrived: list[Signal] = []
        # Runs that this one has started, and what those that have ended came to, by their actors.
        self._open: list[str] = []
        self.ended: dict[str, Any] = {}

    @property
    def looks(self) -> bool:
        """Whether it changes nothing."""
        return self._looks

    def started(self, actor_id: str, ended: dict[str, Any] | None) -> None:
        """A run was started, or had ended before."""
        if ended is not None:
            self.ended[actor_id] = ended
        elif actor_id not in self._open:
            self._open.append(actor_id)

    def cancelled(self) -> None:
        """The run is cancelled, and what it has started with it."""
        if not self._open:
            return
        backend = current("tell")
        for actor_id in self._open:
            backend.tell(actor_id, _workflow.CANCEL, "{}")
        self._open.clear()
        # What a run that ends with an exception has sent since its last wait does not leave.
        backend.sleep_until(0)

    def publish(self) -> None:
        """Before a wait: queries see the state as it is now."""
        if self._looks:
            return
        state = self._show()
        if state != self._shown:
            current("publish").publish(state)
            self._shown = state

    def listen(self) -> None:
        """After a wait: handles the signals that came. A handler that itself waits is not interrupted by the next one."""
        for operation, body in current("take_signals").take_signals():
            signal = _signal(operation, body)
            if operation == _workflow.ENDED:
                self.ended[signal.payload["id"]] = signal.payload
                self._open = [actor_id for actor_id in self._open if actor_id != signal.payload["id"]]
                continue
            self._waiting.append(signal)
            self._arrived.append(signal)
        if len(self._arrived) > _MOST_KEPT:
            del self._arrived[:-_MOST_KEPT]
        if self._busy or not self._waiting:
            return
        self._busy = True
        try:
            self._work_off()
        finally:
            self._busy = False

    def take(self, name: str | None) -> Signal | None:
        """The first signal of a name, or of any, that was not taken yet."""
        for place, signal in enumerate(self._arrived):
            if name is None or signal.name == name:
                return self._arrived.pop(place)
        return None

    def end(self) -> None:
        """The turn is over."""
        self._busy = True
        self._work_off()

    def drop(self, has_handler: Callable[[Signal], bool]) -> None:
        """Says which signals were in vain."""
        for signal in self._arrived:
            if not has_handler(signal):
                current("warn").log("warn", f"the signal {signal.name!r} was dropped: it has no handler and nothing waited for it")

    def _work_off(self) -> None:
        while self._waiting:
            self._handle(self._waiting.pop(0))


def _signal(operation: str, body: str | bytes) -> Signal:
    try:
        payload: Any = decode(body) if isinstance(body, str) and body else body or {}
    except ValueError:
        payload = body
    if operation != _workflow.SIGNAL:
        return Signal(operation, operation.partition(":")[2], payload)
    name, payload = _workflow.name_of(operation, payload)
    return Signal(f"{operation}:{name}", name, payload)


T = TypeVar("T")

_present: Course | None = None


def waiting(call: Callable[[], T]) -> T:
    """A call of the host that waits: in a workflow its state is shown before, and the signals that came are handled after."""
    course = _present
    if course is None:
        return call()
    course.publish()
    try:
        return call()
    except WorkflowCancelled:
        course.cancelled()
        raise
    finally:
        course.listen()


def slept(function: str, until_ms: int) -> bool:
    """One wait until a time; false when a signal ended it, which is then handled."""
    backend = current(function)
    return waiting(lambda: backend.sleep_until(until_ms))


def present() -> Course | None:
    """The workflow's turn that is under way."""
    return _present


def enter(course: Course | None) -> Course | None:
    """Makes a turn the one that is under way; returns the one before."""
    global _present
    before, _present = _present, course
    return before
