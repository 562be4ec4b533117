"""One live actor: its object and the order in which it is made, restored and spoken to. It knows nothing of WebAssembly, so that the
test harness runs exactly what the node runs."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from . import _course, _workflow
from ._backend import current
from ._binding import ArgumentError
from ._decorators import Model, Operation
from ._json import NotJson, decode, encode, printable


class Refusal(Exception):
    """A message that was refused before any code of the actor's author ran."""

    def __init__(self, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field


class Instance:
    """An actor object with what the node needs of it."""

    __slots__ = ("_actor", "_actor_id", "_model")

    def __init__(self, model: Model, actor_id: str, config: dict[str, Any]) -> None:
        """Makes the object and runs its init handler."""
        self._model = model
        self._actor_id = actor_id
        self._actor = model.cls()
        self._actor.actor_id = actor_id
        if model.init_method is not None:
            run = getattr(self._actor, model.init_method)
            if model.init_takes_config:
                run(config)
            else:
                run()

    @property
    def actor(self) -> Any:
        """The author's object."""
        return self._actor

    def handle(self, operation: str, payload: Any, sender: str) -> Any:
        """Runs the operation's handler and returns its reply. Raises ``Refusal`` before the handler runs, or what the handler raises."""
        if not operation and isinstance(payload, dict):
            operation = str(payload.get("op") or payload.get("action") or "")
        found, rest = self._find(operation, payload)
        if found is None:
            if self._model.behavior == "Workflow" and _workflow.lacks_name(operation, payload):
                raise Refusal("invalid_argument", f"{operation}: field 'name' is missing", "name")
            known = ", ".join(sorted(self._model.operations)) or "none"
            raise Refusal("unknown_operation", f"unknown operation {operation!r}; known operations: {known}")
        try:
            arguments = found.binding.bind(rest, operation, sender)
        except ArgumentError as error:
            raise Refusal("invalid_argument", str(error), error.field) from None
        method = getattr(self._actor, found.method)
        if operation == _workflow.MIGRATE:
            return _migrated(method(**arguments), found.method)
        if self._model.behavior == "Workflow":
            reply = self._follow(found, method, arguments)
        else:
            reply = method(**arguments)
        return reply if found.answers else None

    def hears(self, operation: str) -> bool:
        """Whether there is a handler."""
        return self._find(operation, {})[0] is not None

    def looks(self, operation: str, payload: Any) -> bool:
        """Whether a query answers the operation: it may change nothing."""
        if not operation and isinstance(payload, dict):
            operation = str(payload.get("op") or payload.get("action") or "")
        found = self._find(operation, payload)[0]
        return found is not None and found.kind == "query"

    def _find(self, operation: str, payload: Any) -> tuple[Operation | None, Any]:
        """The handler for an operation, and what the handler gets of the payload."""
        operations = self._model.operations
        found = operations.get(operation)
        if found is None and self._model.behavior == "Workflow":
            found, payload = _workflow.find(operations, operation, payload)
        return found or operations.get("*"), payload

    def _follow(self, found: Operation, method: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        """Runs a handler of a workflow, to which signals may come where it waits."""
        looks = found.kind == "query"
        course = _course.Course(self.snapshot, self._signalled, looks)
        _course.enter(course)
        try:
            reply = self._unchanged(method, arguments) if looks else method(**arguments)
            course.end()
            course.drop(self._has_handler)
            return reply
        finally:
            _course.enter(None)

    def _signalled(self, signal: _course.Signal) -> None:
        """Runs the handler of a signal that came in the middle of a turn."""
        found = self._model.operations.get(signal.operation) or self._model.operations.get("*")
        if found is None:
            return
        try:
            arguments = found.binding.bind(signal.payload, signal.operation, "")
        except ArgumentError as error:
            # Its sender was told that it would be heard, and the run is not to blame.
            current("warn").log("warn", printable(f"the signal {signal.name!r} was dropped: {error}"))
            return
        getattr(self._actor, found.method)(**arguments)

    def _has_handler(self, signal: _course.Signal) -> bool:
        return signal.operation in self._model.operations or "*" in self._model.operations

    def _unchanged(self, query: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        """Runs a query and puts back what it changes in the state."""
        before = self.snapshot()
        reply = query(**arguments)
        if self.snapshot() != before:
            self.restore(before)
        return reply

    def snapshot(self) -> str:
        """The state fields as JSON text; raises ``NotJson``."""
        actor = self._actor
        return encode({name: getattr(actor, name) for name in self._model.fields}, "state")

    def restore(self, text: str) -> None:
        """Lays an earlier snapshot over the state. Fields that the class no longer has are left out; new ones keep what init gave them."""
        state = decode(text)
        if not isinstance(state, dict):
            raise ValueError(f"a snapshot must be a JSON object, not a {type(state).__name__}")
        for name in self._model.fields:
            if name in state:
                setattr(self._actor, name, state[name])
        self._actor.actor_id = self._actor_id


def _migrated(state: Any, method: str) -> Any:
    if not isinstance(state, dict):
        raise TypeError(f"{method} must return the new state, a dict, not {type(state).__name__}")
    return state


def encode_reply(reply: Any) -> str | bytes:
    """A reply as it leaves the actor; raises ``NotJson``."""
    return bytes(reply) if isinstance(reply, (bytes, bytearray)) else encode(reply, "reply")


def explain(error: BaseException) -> tuple[str, str]:
    """What a caller and what the node's log is told of an exception. It must not fail, whatever the exception does."""
    kind = type(error).__name__
    try:
        text = str(error)
        message = f"{kind}: {text}" if text else kind
    except BaseException:
        message = kind
    if isinstance(error, NotJson):
        message = str(error)
    try:
        trace = "".join(traceback.format_exception(error))
    except BaseException:
        trace = ""
    return printable(message), printable(trace)
