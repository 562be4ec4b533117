"""The component's exports. Only here does the SDK touch the generated bindings.

Whatever escapes an export traps and kills the instance, so each one catches everything, ``SystemExit`` and ``RecursionError`` included.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.guest import Failure, FailureKind, Message, MessageKind, Reply
from wit_world.imports import blobs, context, durability, http, key_value, lifecycle, logging, messaging, services, timers
from wit_world.imports.types import Error, Payload, Payload_Bytes, Payload_Json

from . import _backend, _image
from ._decorators import actor, handler, init_handler, model_of, query_handler, run_handler, signal_handler, workflow_actor
from ._host import host
from ._instance import Instance, Refusal, encode_reply, explain
from ._json import decode, printable
from ._random import begin_turn, install
from ._registry import Registry
from ._saga import Saga
from ._state import state
from .errors import WorkflowCancelled, error_from

T = TypeVar("T")

install()
_registry = Registry({})
_description = _registry.describe()
_instance: Instance | None = None


def load(module: ModuleType) -> None:
    """Takes the actor types from the application's entry module. It runs once, while the component is built, and last: the memory that it
    leaves behind is the one that every actor begins with."""
    global _registry, _description
    _registry = Registry.of_module(module)
    _description = _registry.describe()
    _warm_up()
    _image.seal()


class Guest(exports.Guest):
    """The interface `guest` of the world `actor`."""

    def describe(self) -> str:
        return _description

    def init(self, actor_type: str, config: str) -> None:
        try:
            _init(actor_type, config)
        except BaseException as error:
            raise _failure(error) from None

    def handle(self, message: Message, want_state: bool) -> Reply:
        try:
            payload = _decode(message.payload)
            instance = _live()
            begin_turn()
            reply = _encode(encode_reply(instance.handle(message.operation, payload, message.sender)))
            return Reply(reply, Payload_Json(instance.snapshot()) if want_state else None)
        except BaseException as error:
            raise _failure(error) from None

    def snapshot(self) -> Payload:
        try:
            return Payload_Json(_live().snapshot())
        except BaseException as error:
            raise _failure(error) from None

    def restore(self, state: Payload) -> None:
        try:
            if not isinstance(state, Payload_Json):
                raise ValueError("a snapshot must be JSON, not bytes")
            _live().restore(state.value)
        except BaseException as error:
            raise _failure(error) from None


# CPython adapts code to what it works on within a few dozen runs.
_WARM = 100


class _Sample:
    """An actor that goes every way that a message can go."""

    count: int = state(default=0)
    items: dict[str, Any] = state(default_factory=dict)

    @init_handler
    def setup(self, config: dict[str, Any]) -> None:
        self.count = len(config)

    @handler("add")
    def add(self, amount: int, text: str = "") -> dict[str, Any]:
        self.count += amount
        self.items[text] = [amount, text, None, True, 1.5]
        return {"count": self.count, "items": self.items}


class _Flow:
    """A workflow that waits in every way."""

    count: int = state(default=0)

    @run_handler
    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        with Saga() as saga:
            saga.add(host.tell, "t", "undo")
            self.count += 1
            reply: dict[str, Any] = host.retry(host.ask, "t", "do", request)
            host.sleep(1)
            self.count += 1
            host.wait_for_signal("go", timeout_ms=1)
            host.checkpoint()
        return reply

    @signal_handler("go")
    def go(self, n: int) -> None:
        self.count += n

    @query_handler("count")
    def look(self) -> int:
        return self.count


def _warm_up() -> None:
    """Runs what every actor runs. CPython writes into code what it learns from running it, and fills its caches: done here, all actors
    share the result, and none of them needs memory of its own for it."""
    global _registry, _instance
    sample, flow = model_of(actor(_Sample)), model_of(workflow_actor(_Flow))
    if sample is None or flow is None:
        return
    registry, _registry = _registry, Registry({"sample": sample, "flow": flow})
    guest = Guest()
    try:
        # What most actors do comes last: CPython adapts to what it has seen of late.
        for _ in range(_WARM):
            guest.init("flow", '{"actor_id":"n/flow/k","args":{"role":"flow"}}')
            _backend.use(_Rehearsal())
            guest.handle(Message("workflow_run", MessageKind.CAST, Payload_Json('{"n":1}'), ""), True)
            guest.handle(Message("workflow_query:count", MessageKind.CALL, Payload_Json("{}"), ""), False)
        for n in range(_WARM):
            guest.init("sample", '{"actor_id":"n/sample/k","args":{"role":"sample"},"labels":{},"name":"k","role":"sample"}')
            for text in (f'{{"amount":{n},"text":"ü"}}', '{"amount":1}'):
                guest.handle(Message("add", MessageKind.CALL, Payload_Json(text), "n/t/k"), True)
                guest.handle(Message("add", MessageKind.CALL, Payload_Json(text), ""), False)
            guest.restore(guest.snapshot())
            try:
                guest.handle(Message("none", MessageKind.CALL, Payload_Json("{}"), ""), True)
            except Err:
                pass
    finally:
        _registry, _instance = registry, None
        _backend.use(None)


def _init(actor_type: str, text: str) -> None:
    global _instance
    try:
        config = decode(text)
    except ValueError as error:
        raise Refusal("invalid_argument", f"the configuration is not JSON: {error}", "config") from None
    if not isinstance(config, dict):
        raise Refusal("invalid_argument", "the configuration must be a JSON object", "config")
    model = _registry.find(actor_type, config)
    if model is None:
        known = ", ".join(sorted(_registry.types)) or "none"
        raise Refusal("invalid_argument", f"unknown actor type {actor_type!r}; known types: {known}", "actor-type")
    _backend.use(_Imports())
    begin_turn()
    if "actor_id" not in config:
        config["actor_id"] = context.actor_id()
    if not isinstance(config.get("args"), dict):
        config["args"] = {}
    _instance = Instance(model, config["actor_id"], config)


def _live() -> Instance:
    if _instance is None:
        raise RuntimeError("the actor was not initialised")
    return _instance


def _decode(payload: Payload) -> object:
    if isinstance(payload, Payload_Bytes):
        return payload.value
    try:
        return decode(payload.value)
    except ValueError as error:
        raise Refusal("invalid_argument", f"the payload is not JSON: {error}") from None


def _encode(body: str | bytes) -> Payload:
    return Payload_Json(body) if isinstance(body, str) else Payload_Bytes(body)


def _failure(error: BaseException) -> Err[Failure]:
    if isinstance(error, Refusal):
        field = None if error.field is None else printable(error.field)
        return Err(Failure(FailureKind.REJECTED, error.code, printable(error.message), field, ""))
    message, trace = explain(error)
    code = error.default_code if isinstance(error, WorkflowCancelled) else "handler_failed"
    return Err(Failure(FailureKind.FAILED, code, message, None, trace))


class _Imports:
    """The host API on the component's imports."""

    def actor_id(self) -> str:
        return _served(context.actor_id)

    def now_ms(self) -> float:
        return _served(context.now_ms)

    def ask(self, target: str, operation: str, payload: str | bytes, timeout_ms: int) -> str | bytes:
        return _served(lambda: messaging.ask(target, operation, _encode(payload), timeout_ms)).value

    def tell(self, target: str, operation: str, payload: str | bytes) -> None:
        _served(lambda: messaging.tell(target, operation, _encode(payload)))

    def kv_get(self, key: str) -> str | None:
        return _served(lambda: key_value.get(key))

    def kv_put(self, key: str, value: str, ttl_ms: int | None) -> None:
        _served(lambda: key_value.put(key, value, ttl_ms))

    def kv_delete(self, key: str) -> bool:
        return _served(lambda: key_value.delete(key))

    def kv_cas(self, key: str, expected: str | None, value: str) -> bool:
        return _served(lambda: key_value.compare_and_set(key, expected, value))

    def kv_list(self, prefix: str, after: str | None, limit: int) -> list[str]:
        return _served(lambda: key_value.list_keys(prefix, after, limit))

    def log(self, level: _backend.Level, message: str) -> None:
        _served(lambda: logging.log(_LEVELS[level], message))

    def monitor(self, target: str) -> str:
        return _served(lambda: lifecycle.monitor(target))

    def demonitor(self, monitor_ref: str) -> None:
        _served(lambda: lifecycle.demonitor(monitor_ref))

    def link(self, peer: str) -> None:
        _served(lambda: lifecycle.link(peer))

    def unlink(self, peer: str) -> None:
        _served(lambda: lifecycle.unlink(peer))

    def spawn(self, actor_type: str, name: str, args: str) -> str:
        return _served(lambda: lifecycle.spawn(actor_type, name, args))

    def stop(self, target: str) -> bool:
        return _served(lambda: lifecycle.stop(target))

    def timer_start(self, name: str | None, schedule: _backend.Schedule, operation: str, payload: str | bytes, durable: bool) -> str:
        return _served(lambda: timers.start(name, _schedule(schedule), operation, _encode(payload), durable))

    def timer_cancel(self, timer_id: str, durable: bool) -> bool:
        return _served(lambda: timers.cancel(timer_id, durable))

    def http_fetch(self, link: str, request: _backend.HttpRequest) -> _backend.HttpResponse:
        body = request.body
        lowered = None if body is None else http.Body_Text(body) if isinstance(body, str) else http.Body_Bytes(body)
        asked = http.Request(request.method, request.path, request.headers, lowered, request.timeout_ms, request.idempotency_key)
        response = _served(lambda: http.fetch(link, asked))
        return _backend.HttpResponse(response.status, response.headers, response.body.value)

    def sleep_until(self, until_ms: int) -> bool:
        return _served(lambda: durability.sleep_until(until_ms))

    def take_signals(self) -> list[tuple[str, str | bytes]]:
        return [(signal.operation, signal.payload.value) for signal in _served(durability.take_signals)]

    def publish(self, state: str) -> None:
        _served(lambda: durability.publish(Payload_Json(state)))

    def blob_put(self, name: str, content_type: str, content: str | bytes) -> _backend.BlobInfo:
        lowered = blobs.Content_Text(content) if isinstance(content, str) else blobs.Content_Bytes(content)
        return _blob(_served(lambda: blobs.put(name, content_type, lowered)))

    def blob_get(self, name: str, offset: int, length: int | None) -> tuple[_backend.BlobInfo, str | bytes]:
        info, content = _served(lambda: blobs.get(name, offset, length))
        return _blob(info), content.value

    def blob_head(self, name: str) -> _backend.BlobInfo:
        return _blob(_served(lambda: blobs.head(name)))

    def blob_delete(self, name: str) -> bool:
        return _served(lambda: blobs.delete(name))

    def blob_presign(self, name: str, method: str, expires_secs: int) -> str:
        return _served(lambda: blobs.presign(name, method, expires_secs))

    def blob_list(self, prefix: str, after: str | None, limit: int) -> list[_backend.BlobInfo]:
        return [_blob(info) for info in _served(lambda: blobs.list_blobs(prefix, after, limit))]

    def request(self, service: str, name: str, operation: str, arguments: str) -> str:
        return _served(lambda: services.request(service, name, operation, arguments))

    def fresh_id(self) -> str:
        # The host's random numbers: in a durable actor they are the same when a turn is run again.
        return os.urandom(16).hex()


def _blob(info: blobs.Info) -> _backend.BlobInfo:
    return _backend.BlobInfo(info.name, info.size, info.sha256, info.content_type, int(info.created_ms))


class _Rehearsal(_Imports):
    """The same while the component is built, where there is no host: a signal ends the first wait."""

    def __init__(self) -> None:
        self._signals: list[tuple[str, str | bytes]] = [("workflow_signal:go", '{"n":1}')]

    def now_ms(self) -> float:
        return _served(lambda: 1.0)

    def ask(self, target: str, operation: str, payload: str | bytes, timeout_ms: int) -> str | bytes:
        return _served(lambda: _encode(payload)).value

    def tell(self, target: str, operation: str, payload: str | bytes) -> None:
        _served(lambda: _encode(payload))

    def sleep_until(self, until_ms: int) -> bool:
        return _served(lambda: True)

    def take_signals(self) -> list[tuple[str, str | bytes]]:
        signals, self._signals = self._signals, []
        return _served(lambda: signals)

    def publish(self, state: str) -> None:
        _served(lambda: Payload_Json(state))


def _schedule(schedule: _backend.Schedule) -> timers.Schedule:
    if isinstance(schedule.value, str):
        return timers.Schedule_Cron(schedule.value)
    return timers.Schedule_After(schedule.value) if schedule.kind == "after" else timers.Schedule_Every(schedule.value)


_LEVELS: dict[_backend.Level, logging.Level] = {
    "debug": logging.Level.DEBUG,
    "info": logging.Level.INFO,
    "warn": logging.Level.WARN,
    "error": logging.Level.ERROR,
}


_LIMIT = sys.getrecursionlimit()
# Frames that the bindings need to carry a call out and its result back.
_HEADROOM = 100


def _served(call: Callable[[], T]) -> T:
    # The bindings abort the instance when they meet the recursion limit, so that an actor's own recursion must not leave them too little.
    sys.setrecursionlimit(_LIMIT + _HEADROOM)
    try:
        return call()
    except Err as failure:
        error: Error = failure.value
        raise error_from(error.code, error.message, error.retryable) from None
    finally:
        try:
            sys.setrecursionlimit(_LIMIT)
        except RecursionError:
            # The caller stands at the limit; Python's own words for that here speak of setting it.
            raise RecursionError("maximum recursion depth exceeded in a host call") from None
