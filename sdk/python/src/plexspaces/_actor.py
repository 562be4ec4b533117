"""The decorators that make actors of classes, and what is known of a class that has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar, overload

from plexspaces._binding import ROUTING, Bind, compile_binding, schema_of
from plexspaces._state import fields_of
from plexspaces.errors import DefinitionError, UnknownOperationError

C = TypeVar("C", bound=type)
F = TypeVar("F", bound=Callable[..., Any])

_HANDLERS = "__plexspaces_handlers__"
_INIT = "__plexspaces_init__"
_FACETS = "__plexspaces_facets__"
_SPEC = "__plexspaces_spec__"


class Handler(NamedTuple):
    """One operation of a class."""

    operation: str
    kind: str
    function: Callable[..., Any]
    bind: Bind


class ActorSpec:
    """What the SDK knows of an actor class."""

    def __init__(self, cls: type) -> None:
        """Read the class; raises `DefinitionError` for what cannot work."""
        self.cls = cls
        self.fields = fields_of(cls)
        self.facets: list[dict[str, Any]] = getattr(cls, _FACETS)
        self.init = _init_of(cls)
        self.handlers = {h.operation: h for h in _handlers_of(cls)}
        self.wildcard = self.handlers.get("*")
        if not self.handlers:
            raise DefinitionError(f"class {cls.__name__} has no handler: mark a method with @handler(\"name\")")

    def handler_for(self, operation: str) -> Handler:
        """Return the handler of an operation, or the wildcard."""
        found = self.handlers.get(operation) or self.wildcard
        if found is None:
            known = ", ".join(sorted(self.handlers))
            what = f"unknown operation {operation!r}" if operation else "the message names no operation (op or action)"
            raise UnknownOperationError(f"{what}; {self.cls.__name__} has: {known}")
        return found

    def describe(self, name: str, aliases: Iterable[str]) -> dict[str, Any]:
        """Return the type's part of what the component says of itself."""
        handlers = [
            {
                "operation": h.operation,
                "kind": h.kind,
                "doc": _summary(h.function),
                "parameters": schema_of(h.function),
            }
            for h in sorted(self.handlers.values(), key=lambda h: h.operation)
        ]
        return {
            "type": name,
            "aliases": sorted(aliases),
            "class": self.cls.__name__,
            "behavior": "GenServer",
            "doc": _summary(self.cls),
            "facets": self.facets,
            "handlers": handlers,
        }


def operation_of(operation: str, payload: Any) -> str:
    """Return the operation of a message: what its sender said, else what its payload says."""
    if operation or payload.__class__ is not dict:
        return operation
    for key in ROUTING:
        value = payload.get(key)
        if isinstance(value, str) and value:
            return value
    return ""


@overload
def actor(cls: C) -> C: ...


@overload
def actor(*, facets: Iterable[str | Mapping[str, Any]] = ()) -> Callable[[C], C]: ...


def actor(cls: C | None = None, *, facets: Iterable[str | Mapping[str, Any]] = ()) -> C | Callable[[C], C]:
    """Make a class an actor (a GenServer). `facets` are names such as "durability"; the class itself is returned."""
    if cls is not None:
        return _decorate(cls, ())
    given = tuple(facets)
    return lambda cls: _decorate(cls, given)


gen_server_actor = actor


def handler(operation: str, kind: str = "call", *, mode: str | None = None) -> Callable[[F], F]:
    """Make a method handle an operation; "*" takes what no other handler takes. A "cast" has no reply."""
    kind = mode or kind
    if not isinstance(operation, str) or not operation:
        raise DefinitionError(f"@handler takes the name of an operation, found {operation!r}")
    if kind not in ("call", "cast"):
        raise DefinitionError(f"@handler({operation!r}): kind is {kind!r}, expected 'call' or 'cast'")

    def mark(function: F) -> F:
        marks = [*getattr(function, _HANDLERS, ()), (operation, kind)]
        setattr(function, _HANDLERS, marks)
        return function

    return mark


def init_handler(function: F) -> F:
    """Make a method run when the actor starts, before its stored state is laid over and before any message."""
    setattr(function, _INIT, True)
    return function


def spec_of(cls: type) -> ActorSpec:
    """Return what is known of an actor class; an undecorated subclass of one is an actor as well."""
    spec = vars(cls).get(_SPEC)
    if spec is None:
        spec = ActorSpec(cls)
        setattr(cls, _SPEC, spec)
    assert isinstance(spec, ActorSpec)
    return spec


def is_actor(value: object) -> bool:
    """Tell whether a value is a class with an actor decorator."""
    return isinstance(value, type) and _FACETS in vars(value)


def _decorate(cls: C, facets: tuple[str | Mapping[str, Any], ...]) -> C:
    if not isinstance(cls, type):
        raise DefinitionError(f"@actor decorates a class, found {cls!r}")
    if isinstance(facets, str) or not all(isinstance(facet, (str, Mapping)) for facet in facets):
        raise DefinitionError(f"class {cls.__name__}: facets is a list of names such as [\"durability\"]")
    described = [{"type": f, "config": {}} if isinstance(f, str) else {"type": f["type"], "config": dict(f.get("config", {}))} for f in facets]
    setattr(cls, _FACETS, described)
    if not hasattr(cls, "actor_id"):
        setattr(cls, "actor_id", "")
    setattr(cls, _SPEC, ActorSpec(cls))
    return cls


def _handlers_of(cls: type) -> list[Handler]:
    found: dict[str, tuple[str, str]] = {}
    for base in reversed(cls.__mro__):
        own: dict[str, str] = {}
        for name, value in vars(base).items():
            for operation, kind in getattr(value, _HANDLERS, ()):
                if operation in own:
                    raise DefinitionError(f"class {base.__name__} has two handlers for operation {operation!r}: {own[operation]} and {name}")
                own[operation] = name
                found[operation] = (name, kind)
    handlers = []
    for operation, (name, kind) in found.items():
        # A subclass may redefine the method without marking it again.
        function = getattr(cls, name)
        handlers.append(Handler(operation, kind, function, compile_binding(operation, function)))
    return handlers


def _init_of(cls: type) -> Callable[..., Any] | None:
    names = {name for base in cls.__mro__ for name, value in vars(base).items() if getattr(value, _INIT, False)}
    own = [name for name in names if getattr(vars(cls).get(name), _INIT, False)]
    if len(own) > 1:
        raise DefinitionError(f"class {cls.__name__} has two init handlers: {' and '.join(sorted(own))}")
    chosen = own or sorted(names)
    return getattr(cls, chosen[0]) if chosen else None


def _summary(thing: Any) -> str:
    return (thing.__doc__ or "").strip().partition("\n")[0]
