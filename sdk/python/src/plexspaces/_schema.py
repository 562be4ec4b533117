"""JSON Schemas of handlers' payloads, read from their signatures, so that people and tools see what an actor takes."""

from __future__ import annotations

import inspect
import json
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Union

from ._binding import ROUTING_KEYS, Binding

_SIMPLE: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    dict: {"type": "object"},
    list: {"type": "array"},
    tuple: {"type": "array"},
}


def parameters(function: Callable[..., Any], binding: Binding) -> dict[str, Any]:
    """The schema of the payload object that a handler takes."""
    try:
        hints = typing.get_type_hints(function)
    except Exception:  # an annotation may name anything; a handler works without its types being known
        hints = {}
    properties: dict[str, Any] = {}
    required: list[str] = []
    for parameter in binding.parameters:
        if parameter.name in ROUTING_KEYS:
            continue
        schema = of_type(hints.get(parameter.name, Any))
        if parameter.default is inspect.Parameter.empty:
            required.append(parameter.name)
        elif _is_json(parameter.default):
            schema = {**schema, "default": parameter.default}
        properties[parameter.name] = schema
    whole: dict[str, Any] = {"type": "object"}
    if binding.takes_whole_payload:
        return whole
    whole["properties"] = properties
    if required:
        whole["required"] = required
    return whole


def of_type(hint: Any) -> dict[str, Any]:
    """The schema of one annotation; the empty schema, which allows everything, for what JSON Schema cannot say."""
    if hint in _SIMPLE_KEYS:
        return dict(_SIMPLE[hint])
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return {"anyOf": [of_type(argument) for argument in arguments]}
    if origin is Literal:
        return {"enum": list(arguments)} if _is_json(list(arguments)) else {}
    if origin in (list, Sequence) and arguments:
        return {"type": "array", **_part("items", arguments[0])}
    if origin in (tuple, list):
        return {"type": "array"}
    if origin in (dict, Mapping) and len(arguments) == 2:
        return {"type": "object", **_part("additionalProperties", arguments[1])}
    return {}


class _Keys:
    """Membership by identity: annotations need not be hashable."""

    def __contains__(self, hint: Any) -> bool:
        return any(hint is known for known in _SIMPLE)


_SIMPLE_KEYS = _Keys()


def _part(name: str, hint: Any) -> dict[str, Any]:
    schema = of_type(hint)
    return {name: schema} if schema else {}


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return True
