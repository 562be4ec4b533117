"""From a payload to a handler's arguments. The handler's signature is read once, when its class is decorated."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_origin

from plexspaces.errors import ArgumentError, DefinitionError

ROUTING = ("op", "action")
_SENDER = ("from_actor", "sender")
_WHOLE = ("payload", "data", "request", "input_data", "message", "msg")
_TYPES = {int: "integer", float: "number", str: "string", bool: "boolean", list: "array", tuple: "array", dict: "object"}
_NAMES = {kind.__name__: schema for kind, schema in _TYPES.items()}

Bind = Callable[[Any, str], dict[str, Any]]


def compile_binding(operation: str, function: Callable[..., Any]) -> Bind:
    """Return the function that makes keyword arguments of a payload and a sender."""
    parameters = _parameters(function)
    named = [p for p in parameters if p.kind is not p.VAR_KEYWORD]
    rest = len(named) != len(parameters)
    required = [p.name for p in named if p.default is p.empty and p.name not in _SENDER]
    wildcard = operation == "*"
    whole = None
    if len(required) == 1:
        parameter = next(p for p in named if p.name == required[0])
        if wildcard or parameter.name in _WHOLE or _is_dict(parameter.annotation):
            whole = parameter.name
    names = [p.name for p in named]
    known = set(names)
    senders = [name for name in names if name in _SENDER]

    def bind(payload: Any, sender: str) -> dict[str, Any]:
        if payload.__class__ is not dict:
            return bind_bytes(payload, sender)
        arguments = {name: payload[name] for name in names if name in payload}
        for name in required:
            if name not in arguments:
                if name != whole:
                    raise ArgumentError(f"operation {operation!r} needs the argument {name!r}", field=name)
                arguments[name] = payload if wildcard else {k: v for k, v in payload.items() if k not in ROUTING}
        for name in senders:
            if name not in arguments:
                arguments[name] = sender
        if rest:
            arguments.update((k, v) for k, v in payload.items() if k not in known and k not in ROUTING)
        return arguments

    def bind_bytes(payload: Any, sender: str) -> dict[str, Any]:
        if len(required) > 1 or not names:
            raise ArgumentError(f"operation {operation!r} takes a JSON object, found {len(payload)} bytes")
        arguments = {required[0] if required else names[0]: payload}
        for name in senders:
            arguments.setdefault(name, sender)
        return arguments

    return bind


def schema_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return a JSON Schema of the payload object that a handler takes."""
    properties: dict[str, Any] = {}
    required: list[str] = []
    for parameter in _parameters(function):
        if parameter.kind is parameter.VAR_KEYWORD or parameter.name in _SENDER:
            continue
        described: dict[str, Any] = {}
        kind = _schema_type(parameter.annotation)
        if kind is not None:
            described["type"] = kind
        if parameter.default is parameter.empty:
            required.append(parameter.name)
        elif parameter.default is None or isinstance(parameter.default, (bool, int, float, str)):
            described["default"] = parameter.default
        properties[parameter.name] = described
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    return schema


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters:
        raise DefinitionError(f"{function.__qualname__} takes no self")
    for parameter in parameters[1:]:
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            raise DefinitionError(f"{function.__qualname__}: {parameter} cannot be bound by name")
    return parameters[1:]


def _is_dict(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return annotation.removeprefix("typing.").lower().startswith("dict")
    return annotation is dict or get_origin(annotation) is dict


def _schema_type(annotation: Any) -> str | None:
    if isinstance(annotation, str):
        return _NAMES.get(annotation.removeprefix("typing.").partition("[")[0].lower())
    kind = get_origin(annotation) or annotation
    return _TYPES.get(kind) if isinstance(kind, type) else None
