"""From a message's payload to a handler's arguments. The signature is read once, when the class is decorated; a message costs a few
dictionary look-ups."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

ROUTING_KEYS = ("op", "action")
SENDER_PARAMETERS = ("from_actor", "sender")
_WHOLE_PAYLOAD_NAMES = frozenset({"payload", "data", "request", "input_data", "message", "msg"})
_DICT_ANNOTATIONS = frozenset({"dict", "Dict", "Mapping", "MutableMapping"})
# What a run's only parameter may be annotated with to receive a field and not the payload.
_OTHER_ANNOTATIONS = frozenset({"str", "int", "float", "bool", "bytes", "list", "List", "tuple", "Tuple", "Sequence", "Iterable"})


class ArgumentError(Exception):
    """A payload that does not fit the handler's parameters; ``field`` is the parameter at fault, if it is one."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


def takes_dict(annotation: Any) -> bool:
    """Whether an annotation says that a JSON object is expected. Annotations may be text, and may name what is not defined yet."""
    return _name(annotation) in _DICT_ANNOTATIONS


def _name(annotation: Any) -> str:
    """The first name in an annotation: ``dict`` of ``Optional[dict[str, int]]`` and of ``dict | None``."""
    if annotation is inspect.Parameter.empty:
        return ""
    if not isinstance(annotation, str):
        annotation = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    text: str = annotation.replace("typing.", "").replace("collections.abc.", "").removeprefix("Optional[")
    return text.replace("|", "[").replace("]", "[").split("[")[0].strip()


class Binding:
    """How one handler takes its payload. ``kind`` is what the handler is: workflows have rules of their own."""

    __slots__ = (
        "_dict_only", "_exact", "_fills", "_kind", "_names", "_required", "_sender", "_single", "_whole", "_wildcard", "parameters",
    )

    def __init__(self, function: Callable[..., Any], wildcard: bool, kind: str = "call") -> None:
        """Reads the signature of an unbound method; raises ``TypeError`` if messages cannot be bound to it."""
        parameters = list(inspect.signature(function).parameters.values())
        if not parameters or parameters[0].kind in (parameters[0].KEYWORD_ONLY, parameters[0].VAR_KEYWORD):
            raise TypeError("it needs a first parameter 'self'")
        parameters = parameters[1:]
        for parameter in parameters:
            if parameter.kind is parameter.POSITIONAL_ONLY:
                raise TypeError(f"parameter {parameter.name!r} is positional-only, but payloads are bound by name")
        named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        self.parameters = [p for p in named if p.name not in SENDER_PARAMETERS]
        self._wildcard = wildcard
        self._names = frozenset(p.name for p in named)
        self._sender = tuple(p.name for p in named if p.name in SENDER_PARAMETERS)
        self._exact = not any(p.kind is p.VAR_KEYWORD for p in parameters)
        routing = (*ROUTING_KEYS, "msg_type") if wildcard else ()
        free = [p for p in self.parameters if p.name not in routing]
        self._required = tuple(p.name for p in free if p.default is p.empty)
        # The one parameter that a payload may fill as a whole.
        candidates = [p for p in free if p.default is p.empty] or free
        only = candidates[0] if len(candidates) == 1 else None
        self._single = only.name if only else None
        self._dict_only = only is not None and takes_dict(only.annotation)
        self._kind = kind
        if kind == "run":
            whole = only is not None and len(free) == 1 and self._exact and _name(only.annotation) not in _OTHER_ANNOTATIONS
        else:
            whole = only is not None and (wildcard or (only.default is only.empty and _is_whole(only)))
        self._whole = self._single if whole else None
        # The parameters of which a signal's or a query's payload fills one as a whole.
        self._fills = tuple(p.name for p in free if _is_whole(p)) if kind in ("signal", "query") else ()

    @property
    def takes_whole_payload(self) -> bool:
        """Whether a payload without the parameter's own name is passed as a whole."""
        return self._whole is not None

    def bind(self, payload: Any, operation: str, sender: str) -> dict[str, Any]:
        """The keyword arguments for a payload, or an ``ArgumentError``."""
        if type(payload) is not dict:
            return self._bind_other(payload, operation, sender)
        names = self._names
        arguments: dict[str, Any]
        if self._kind == "run" and self._whole is not None:
            arguments = {self._whole: self._input(_unrouted(payload))}
        elif self._wildcard:
            arguments = self._bind_wildcard(payload, operation)
        elif self._exact:
            arguments = {key: value for key, value in payload.items() if key in names}
        else:
            arguments = {key: value for key, value in payload.items() if key in names or key not in ROUTING_KEYS}
            arguments.pop("self", None)
        for name in self._sender:
            arguments.setdefault(name, sender)
        if self._fills:
            unfilled = [name for name in self._fills if name not in arguments]
            if len(unfilled) == 1:
                arguments[unfilled[0]] = _unrouted(payload)
        for name in self._required:
            if name not in arguments:
                if name != self._whole:
                    raise ArgumentError(f"{operation}: field {name!r} is missing", name)
                arguments[name] = _unrouted(payload)
        return arguments

    def _input(self, payload: dict[str, Any]) -> dict[str, Any]:
        """What a run gets: the payload, or what the payload wraps under the parameter's name and nothing beside it."""
        inner = payload.get(self._whole or "")
        return inner if len(payload) == 1 and isinstance(inner, dict) else payload

    def _bind_wildcard(self, payload: dict[str, Any], operation: str) -> dict[str, Any]:
        names = self._names
        arguments = {k: v for k, v in payload.items() if (k in names or not self._exact) and k != "self"}
        if self._whole is not None:
            # Whoever takes everything wants to see it as it came, whatever its fields are called.
            arguments[self._whole] = payload
        for name in (*ROUTING_KEYS, "msg_type"):
            if name in names:
                arguments.setdefault(name, operation)
        return arguments

    def _bind_other(self, payload: Any, operation: str, sender: str) -> dict[str, Any]:
        """A payload that is no object comes from another actor: it goes to the only parameter there is."""
        if payload is None:
            return self.bind({}, operation, sender)
        if self._kind in ("signal", "query") and not self.parameters:
            return dict.fromkeys(self._sender, sender)
        if self._single is None or self._dict_only:
            kind = "bytes" if isinstance(payload, bytes) else f"a JSON {type(payload).__name__}"
            raise ArgumentError(f"{operation}: the payload must be a JSON object, but it is {kind}")
        arguments = {self._single: payload, **dict.fromkeys(self._sender, sender)}
        if self._wildcard:
            arguments.update((n, operation) for n in (*ROUTING_KEYS, "msg_type") if n in self._names)
        return arguments


def _is_whole(parameter: inspect.Parameter) -> bool:
    """Whether a parameter's annotation or name says that it takes a whole payload."""
    return takes_dict(parameter.annotation) or parameter.name in _WHOLE_PAYLOAD_NAMES


def _unrouted(payload: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in payload.items() if key not in ROUTING_KEYS}
