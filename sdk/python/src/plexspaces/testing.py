"""Runs an actor class in a test, without a node and without WebAssembly: the same code that handles messages in a component, on a host
that lives in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, NamedTuple

from . import _backend
from ._decorators import Model, model_of
from ._instance import Instance, Refusal, encode_reply
from ._json import decode, encode
from .errors import ActorNotFoundError, error_from

Answer = Callable[[Any], Any] | Any


class Sent(NamedTuple):
    """A message that the actor sent."""

    target: str
    operation: str
    payload: Any


class LogLine(NamedTuple):
    """A line that the actor logged."""

    level: str
    message: str


class MemoryHost:
    """The host API in memory: a clock that stands still until told otherwise, a private key-value store, recorded messages."""

    def __init__(self, actor_id: str, now_ms: int = 1_700_000_000_000) -> None:
        self.clock_ms = now_ms
        self.tells: list[Sent] = []
        self.asks: list[Sent] = []
        self.logs: list[LogLine] = []
        self._actor_id = actor_id
        self._answers: dict[tuple[str, str], Answer] = {}
        self._pairs: dict[str, tuple[str, float | None]] = {}

    def answer(self, target: str, operation: str, reply: Answer) -> None:
        """Scripts the reply to ``host.ask(target, operation)``: a value, an exception to raise, or a function of the payload."""
        self._answers[target, operation] = reply

    def actor_id(self) -> str:
        """See `Backend`."""
        return self._actor_id

    def now_ms(self) -> float:
        """See `Backend`."""
        return float(self.clock_ms)

    def ask(self, target: str, operation: str, payload: str | bytes, timeout_ms: int) -> str | bytes:
        """See `Backend`."""
        value = _value(payload)
        self.asks.append(Sent(target, operation, value))
        if (target, operation) not in self._answers:
            raise ActorNotFoundError(f"no answer is scripted for {target!r} {operation!r}: use harness.answer(...)")
        reply = self._answers[target, operation]
        if isinstance(reply, BaseException):
            raise reply
        return encode_reply(reply(value) if callable(reply) else reply)

    def tell(self, target: str, operation: str, payload: str | bytes) -> None:
        """See `Backend`."""
        self.tells.append(Sent(target, operation, _value(payload)))

    def kv_get(self, key: str) -> str | None:
        """See `Backend`."""
        value, end = self._pairs.get(key, (None, None))
        return None if end is not None and end <= self.clock_ms else value

    def kv_put(self, key: str, value: str, ttl_ms: int | None) -> None:
        """See `Backend`."""
        self._pairs[key] = (value, None if ttl_ms is None else self.clock_ms + ttl_ms)

    def kv_delete(self, key: str) -> bool:
        """See `Backend`."""
        there = self.kv_get(key) is not None
        self._pairs.pop(key, None)
        return there

    def kv_cas(self, key: str, expected: str | None, value: str) -> bool:
        """See `Backend`."""
        same = self.kv_get(key) == expected
        if same:
            self.kv_put(key, value, None)
        return same

    def kv_list(self, prefix: str, after: str | None, limit: int) -> list[str]:
        """See `Backend`."""
        keys = sorted((key for key in self._pairs if self.kv_get(key) is not None), key=str.encode)
        return [k for k in keys if k.startswith(prefix) and (after is None or k.encode() > after.encode())][:limit]

    def log(self, level: _backend.Level, message: str) -> None:
        """See `Backend`."""
        self.logs.append(LogLine(level, message))


class ActorHarness:
    """One actor under test.

        harness = ActorHarness(CounterActor)
        assert harness.ask("increment", {"amount": 2}) == {"count": 2}
        harness.restart()
        assert harness.ask("get") == {"count": 2}

    A message that the actor refuses raises the error that its sender would get; an exception of a handler comes out as it is.
    """

    def __init__(
        self,
        cls: type,
        *,
        args: Mapping[str, Any] | None = None,
        key: str | None = None,
        namespace: str = "default",
        config: Mapping[str, Any] | None = None,
    ) -> None:
        model = model_of(cls)
        if model is None:
            raise TypeError(f"{cls.__name__} has no @actor decorator")
        name = cls.__name__.lower()
        self.actor_id = f"{namespace}/{name}/{key or name}"
        self.host = MemoryHost(self.actor_id)
        self._model: Model = model
        self._config = {
            "actor_id": self.actor_id,
            "args": dict(args or {}),
            "namespace": namespace,
            "actor_type": name,
            "name": key or name,
            "role": name,
            **(config or {}),
        }
        self._instance = self._make()

    @property
    def actor(self) -> Any:
        """The present object of the class."""
        return self._instance.actor

    def ask(self, operation: str, payload: Any = None, sender: str = "") -> Any:
        """Sends a request and returns the reply, as it arrives after its way through JSON."""
        return _value(encode_reply(self._handle(operation, payload, sender)))

    def tell(self, operation: str, payload: Any = None, sender: str = "") -> None:
        """Sends a message whose outcome nobody waits for."""
        self._handle(operation, payload, sender)

    def snapshot(self) -> dict[str, Any]:
        """The actor's state, as it would be stored."""
        state: dict[str, Any] = decode(self._instance.snapshot())
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Lays a state over the actor's."""
        self._instance.restore(encode(dict(state), "state"))

    def restart(self) -> None:
        """Does what happens after a crash: a new object, its init handler, then the state of the old one."""
        state = self._instance.snapshot()
        self._instance = self._make()
        self._instance.restore(state)

    def answer(self, target: str, operation: str, reply: Answer) -> None:
        """Scripts the reply to ``host.ask(target, operation)``: a value, an exception to raise, or a function of the payload."""
        self.host.answer(target, operation, reply)

    def advance(self, milliseconds: int) -> None:
        """Moves the actor's clock."""
        self.host.clock_ms += milliseconds

    def _make(self) -> Instance:
        with _Bound(self.host):
            # A copy: an init handler may change what it is given, and the next one must not see that.
            return Instance(self._model, self.actor_id, json.loads(json.dumps(self._config)))

    def _handle(self, operation: str, payload: Any, sender: str) -> Any:
        body = payload if isinstance(payload, bytes) else decode(encode({} if payload is None else payload, "payload"))
        with _Bound(self.host):
            try:
                return self._instance.handle(operation, body, sender)
            except Refusal as refusal:
                raise error_from(refusal.code, refusal.message, False) from None


class _Bound:
    """Makes host calls go to one harness while its actor runs, so that several can be used side by side."""

    def __init__(self, host: MemoryHost) -> None:
        self._host = host
        self._before: _backend.Backend | None = None

    def __enter__(self) -> None:
        self._before = _backend.use(self._host)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        _backend.use(self._before)


def _value(body: str | bytes) -> Any:
    return decode(body) if isinstance(body, str) else body
