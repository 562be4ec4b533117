"""What turns a Python class into an actor type. The decorators only read the class and note what they found on it; the class stays an
ordinary one that can be subclassed and tested by itself."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast, overload

from ._binding import Binding

T = TypeVar("T")
C = TypeVar("C", bound=type)
F = TypeVar("F", bound=Callable[..., Any])

_MARKS = "__plexspaces_operations__"
_INIT = "__plexspaces_init__"
_MODEL = "__plexspaces_model__"
_NOTHING: Any = object()


class StateField:
    """A persisted attribute. Reading it for the first time gives the instance a value of its own."""

    __slots__ = ("_default", "_factory", "name")

    def __init__(self, default: Any, factory: Callable[[], Any] | None) -> None:
        self._default = default
        self._factory = factory
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        # Having no __set__, the field steps aside for the instance's own attribute from here on.
        value = self._factory() if self._factory is not None else copy.deepcopy(self._default)
        instance.__dict__[self.name] = value
        return value


@overload
def state(default: T) -> T: ...
@overload
def state(*, default_factory: Callable[[], T]) -> T: ...
def state(default: Any = _NOTHING, *, default_factory: Callable[[], Any] | None = None) -> Any:
    """Declares a class attribute as part of the actor's persisted state: ``count: int = state(default=0)``.

    Every instance starts with its own copy of ``default``, or with what ``default_factory`` returns.
    """
    if (default is _NOTHING) == (default_factory is None):
        raise TypeError("state() takes either default or default_factory")
    if default_factory is not None and not callable(default_factory):
        raise TypeError(f"default_factory must be callable, not {type(default_factory).__name__}")
    return StateField(default, default_factory)


def handler(operation: str, kind: str = "call", *, mode: str | None = None) -> Callable[[F], F]:
    """Makes a method answer messages of the operation; ``"*"`` takes what no other handler takes.

    ``kind`` (or ``mode``) is ``"call"``, or ``"cast"`` for a handler whose return value nobody waits for.
    """
    kind = kind if mode is None else mode
    if not isinstance(operation, str):
        raise TypeError('@handler takes the operation\'s name: @handler("increment")')
    if not operation:
        raise ValueError("@handler: the operation's name is empty")
    if kind not in ("call", "cast"):
        raise ValueError(f'@handler({operation!r}): the kind must be "call" or "cast", not {kind!r}')

    def mark(function: F) -> F:
        _check_function(function, f"@handler({operation!r})")
        marks = dict(getattr(function, _MARKS, ()))
        setattr(function, _MARKS, tuple({**marks, operation: kind}.items()))
        return function

    return mark


def init_handler(function: F) -> F:
    """Makes a method run at every activation, with the actor's configuration, before restored state is laid over."""
    _check_function(function, "@init_handler")
    setattr(function, _INIT, True)
    return function


def _check_function(function: Any, what: str) -> None:
    if not inspect.isfunction(function):
        raise TypeError(f"{what} must stand directly above a method, not above a {type(function).__name__}")
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{what}: {function.__qualname__} must be an ordinary method, neither async nor a generator")


class Operation:
    """One handler of an actor type."""

    __slots__ = ("binding", "function", "kind", "method", "operation")

    def __init__(self, operation: str, kind: str, method: str, function: Callable[..., Any]) -> None:
        self.operation = operation
        self.kind = kind
        self.method = method
        self.function = function
        try:
            self.binding = Binding(function, operation == "*")
        except TypeError as error:
            raise TypeError(f"handler {operation!r} ({function.__qualname__}): {error}") from None


class Model:
    """What the decorators know about one actor class."""

    __slots__ = ("cls", "facets", "fields", "init_method", "init_takes_config", "operations")

    def __init__(self, cls: type, facets: tuple[str, ...]) -> None:
        self.cls = cls
        self.facets = facets
        self.fields: tuple[str, ...] = _fields(cls)
        self.operations: dict[str, Operation] = _operations(cls)
        self.init_method, self.init_takes_config = _init(cls)
        _check_constructor(cls)


def model_of(cls: type) -> Model | None:
    """The model of a decorated class, or of a class that inherits from one; ``None`` for any other class."""
    own = cls.__dict__.get(_MODEL)
    if own is None:
        inherited: Model | None = getattr(cls, _MODEL, None)
        if inherited is None:
            return None
        own = Model(cls, inherited.facets)
        setattr(cls, _MODEL, own)
    return cast(Model, own)


def is_decorated(value: Any) -> bool:
    """Whether a value is a class with a decorator of its own."""
    return isinstance(value, type) and _MODEL in value.__dict__


@overload
def actor(cls: C) -> C: ...
@overload
def actor(*, facets: Iterable[str] | None = None) -> Callable[[C], C]: ...
def actor(cls: C | None = None, *, facets: Iterable[str] | None = None) -> C | Callable[[C], C]:
    """Makes a class an actor type that answers requests (GenServer). It returns the same class.

    ``facets`` names what the node adds to every actor of the type, such as ``"durability"``. A subclass inherits the facets of its base
    unless it names its own.
    """
    if cls is not None and not isinstance(cls, type):
        raise TypeError("@actor takes keyword arguments only: @actor(facets=[...])")
    names = _facet_names(facets)

    def decorate(target: C) -> C:
        if not isinstance(target, type):
            raise TypeError(f"@actor must stand above a class, not above a {type(target).__name__}")
        if "actor_id" not in target.__dict__ and not hasattr(target, "actor_id"):
            setattr(target, "actor_id", "")
        base: Model | None = getattr(target, _MODEL, None)
        inherited = base.facets if base is not None else ()
        setattr(target, _MODEL, Model(target, inherited if names is None else names))
        return target

    return decorate if cls is None else decorate(cls)


gen_server_actor = actor


def _facet_names(facets: Iterable[str] | None) -> tuple[str, ...] | None:
    if facets is None:
        return None
    if isinstance(facets, str) or not all(isinstance(name, str) and name for name in facets):
        raise TypeError('facets must be a list of names: facets=["durability"]')
    return tuple(dict.fromkeys(facets))


def _fields(cls: type) -> tuple[str, ...]:
    names = dict.fromkeys(
        name for base in reversed(cls.__mro__) for name, value in base.__dict__.items() if isinstance(value, StateField)
    )
    # A subclass may turn an inherited field back into a plain attribute.
    return tuple(name for name in names if isinstance(inspect.getattr_static(cls, name), StateField))


def _operations(cls: type) -> dict[str, Operation]:
    """The handlers of a class and its bases. A message goes to the method of that name in the most derived class, so that overriding a
    handler needs no second decorator."""
    found: dict[str, tuple[str, str]] = {}
    for base in reversed(cls.__mro__):
        here: dict[str, str] = {}
        for name, value in base.__dict__.items():
            for operation, kind in getattr(value, _MARKS, ()) if inspect.isfunction(value) else ():
                if operation in here:
                    raise TypeError(f"{base.__name__}: {here[operation]} and {name} both handle {operation!r}")
                here[operation] = name
                found[operation] = (name, kind)
    operations = {}
    for operation, (method, kind) in found.items():
        function = inspect.getattr_static(cls, method)
        if not inspect.isfunction(function):
            raise TypeError(f"{cls.__name__}.{method} handles {operation!r} in a base class, but here it is no method")
        operations[operation] = Operation(operation, kind, method, function)
    return operations


def _init(cls: type) -> tuple[str | None, bool]:
    for base in cls.__mro__:
        names = [name for name, value in base.__dict__.items() if getattr(value, _INIT, False) and inspect.isfunction(value)]
        if len(names) > 1:
            raise TypeError(f"{base.__name__}: {names[0]} and {names[1]} are both @init_handler")
        if names:
            function = inspect.getattr_static(cls, names[0])
            parameters = [p for p in inspect.signature(function).parameters.values() if p.kind is not p.VAR_KEYWORD]
            required = [p for p in parameters[1:] if p.default is p.empty and p.kind is not p.VAR_POSITIONAL]
            if len(required) > 1:
                raise TypeError(f"{function.__qualname__}: an @init_handler takes the configuration and nothing else")
            return names[0], len(parameters) > 1
    return None, False


def _check_constructor(cls: type) -> None:
    constructor = getattr(cls, "__init__")
    if not inspect.isfunction(constructor):
        return
    for parameter in list(inspect.signature(constructor).parameters.values())[1:]:
        if parameter.default is parameter.empty and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(f"{cls.__name__}.__init__ must work without arguments; what an actor needs comes to its @init_handler")
