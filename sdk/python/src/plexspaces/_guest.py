"""The component's side of the contract in `wit/`: what the node calls. Nothing that happens in here may trap, so everything is caught."""

from __future__ import annotations

import traceback
from types import ModuleType
from typing import Any, ClassVar

from componentize_py_types import Err
from wit_world.exports.guest import Failure, FailureKind
from wit_world.imports import context, key_value, logging, messaging
from wit_world.imports.types import Payload_Bytes, Payload_Json

from plexspaces import __version__, _host
from plexspaces._actor import ActorSpec, operation_of
from plexspaces._json import dumps, loads, printable
from plexspaces._registry import ActorType, describe, types_of
from plexspaces.errors import ArgumentError, UnknownOperationError, from_host

_LEVELS = {level.name.lower(): level for level in logging.Level}


class Node:
    """The backend of `host` that reaches the node."""

    def actor_id(self) -> str:
        return str(context.actor_id())

    def now_ms(self) -> int:
        return int(context.now_ms())

    def ask(self, target: str, operation: str, payload: Any, timeout_ms: int) -> Any:
        return _unpack(_call(messaging.ask, target, operation, _pack(payload, "the payload"), min(timeout_ms, 0xFFFFFFFF)))

    def tell(self, target: str, operation: str, payload: Any) -> None:
        _call(messaging.tell, target, operation, _pack(payload, "the payload"))

    def kv_get(self, key: str) -> Any:
        return _call(key_value.get, key)

    def kv_put(self, key: str, value: str, ttl_ms: int | None) -> None:
        _call(key_value.put, key, value, ttl_ms)

    def kv_delete(self, key: str) -> Any:
        return _call(key_value.delete, key)

    def kv_cas(self, key: str, expected: str | None, value: str) -> Any:
        return _call(key_value.compare_and_set, key, expected, value)

    def kv_list(self, prefix: str, after: str | None, limit: int) -> Any:
        return _call(key_value.list_keys, prefix, after, limit)

    def log(self, level: str, message: str) -> None:
        logging.log(_LEVELS[level], printable(message))


class Guest:
    """The export `guest`. A component's entry module makes a subclass with `entry`."""

    # Each call from the node makes a new object of the class; what lasts is the class's.
    entry: ClassVar[ModuleType]
    types: ClassVar[dict[str, ActorType]]
    description: ClassVar[str]
    spec: ClassVar[ActorSpec]
    actor: ClassVar[Any]
    actor_id: ClassVar[str]

    def __init_subclass__(cls) -> None:
        """Do at build time what need not be done for every actor."""
        cls.types = types_of(cls.entry)
        cls.description = dumps(describe(cls.entry, __version__), "the description")

    def describe(self) -> str:
        return self.description

    def init(self, actor_type: str, config: str) -> None:
        try:
            _host.use(Node())
            kind = self.types.get(actor_type)
            if kind is None:
                raise ArgumentError(f"unknown actor type {actor_type!r}, expected one of {', '.join(self.types)}", field="type")
            settings = loads(config)
            live = type(self)
            live.spec, live.actor_id = kind.spec, settings.get("actor_id", "")
            live.actor = kind.spec.cls()
            live.actor.actor_id = live.actor_id
            if kind.spec.init is not None:
                kind.spec.init(live.actor, settings)
        except BaseException as error:
            raise _failed(error) from None

    def handle(self, message: Any) -> Any:
        try:
            given = message.payload
            payload = given.value if given.__class__ is Payload_Bytes else loads(given.value)
            if payload.__class__ is not dict and payload.__class__ is not bytes:
                payload = {"value": payload}
            handler = self.spec.handler_for(operation_of(message.operation, payload))
            arguments = handler.bind(payload, message.sender)
        except (ArgumentError, UnknownOperationError) as error:
            raise _rejected(error) from None
        except BaseException as error:
            raise _failed(error) from None
        try:
            reply = handler.function(self.actor, **arguments)
            if reply.__class__ is bytes:
                return Payload_Bytes(reply)
            return Payload_Json(dumps(reply if handler.kind == "call" else None, "the reply"))
        except BaseException as error:
            raise _failed(error) from None

    def snapshot(self) -> Any:
        try:
            actor = self.actor
            return Payload_Json(dumps({name: getattr(actor, name) for name in self.spec.fields}, "the state"))
        except BaseException as error:
            raise _failed(error) from None

    def restore(self, state: Any) -> None:
        try:
            stored = loads(state.value)
            for name in self.spec.fields:
                if name in stored:
                    setattr(self.actor, name, stored[name])
            self.actor.actor_id = self.actor_id
        except BaseException as error:
            raise _failed(error) from None


def _pack(value: Any, what: str) -> Any:
    return Payload_Bytes(value) if isinstance(value, bytes) else Payload_Json(dumps(value, what))


def _unpack(payload: Any) -> Any:
    return payload.value if isinstance(payload, Payload_Bytes) else loads(payload.value)


def _call(function: Any, *arguments: Any) -> Any:
    try:
        return function(*(printable(a) if isinstance(a, str) else a for a in arguments))
    except Err as error:
        value: Any = error.value
        raise from_host(value.code, value.message, value.retryable) from None


def _rejected(error: ArgumentError | UnknownOperationError) -> Err[Any]:
    field = error.field if isinstance(error, ArgumentError) else None
    return Err(Failure(FailureKind.REJECTED, error.code, printable(error.message), field, ""))


def _failed(error: BaseException) -> Err[Any]:
    try:
        message = printable(f"{type(error).__name__}: {error}")[:2000]
        trace = printable("".join(traceback.format_exception(error)))[-20000:]
    except BaseException:
        # The exception's own text fails, or there is no room left to print it.
        message, trace = type(error).__name__, ""
    return Err(Failure(FailureKind.FAILED, "handler_failed", message, None, trace))
