"""What turns a Python class into an actor type. The decorators only read the class and note what they found on it; the class stays an
ordinary one that can be subclassed and tested by itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar, cast, overload

from ._binding import Binding
from ._state import FSM_STATE, StateField, declare_fsm_state, fsm_field
from ._workflow import KINDS, MIGRATE, QUERY, RUN, SIGNAL

C = TypeVar("C", bound=type)
F = TypeVar("F", bound=Callable[..., Any])
Behavior = Literal["GenServer", "GenEvent", "GenFSM", "Workflow"]

_MARKS = "__plexspaces_operations__"
_INIT = "__plexspaces_init__"
_MODEL = "__plexspaces_model__"


def handler(operation: str, kind: str | None = None, *, mode: str | None = None) -> Callable[[F], F]:
    """Makes a method answer messages of the operation; ``"*"`` takes what no other handler takes.

    ``kind`` (or ``mode``) is ``"call"``, or ``"cast"`` for a handler whose return value nobody waits for. Without one a handler is a call,
    in an ``@event_actor`` a cast that still answers whoever asks.
    """
    kind = kind if mode is None else mode
    if not isinstance(operation, str):
        raise TypeError('@handler takes the operation\'s name: @handler("increment")')
    if not operation:
        raise ValueError("@handler: the operation's name is empty")
    if kind not in (None, "call", "cast"):
        raise ValueError(f'@handler({operation!r}): the kind must be "call" or "cast", not {kind!r}')
    return lambda function: _mark(function, operation, kind, f"@handler({operation!r})")


def run_handler(function: F) -> F:
    """Makes a method the run of a ``@workflow_actor``: the operation ``workflow_run``, also ``run`` and ``start`` where no handler has
    these names. Its only parameter receives the payload."""
    return _mark(function, RUN, "run", "@run_handler")


def signal_handler(name: str) -> Callable[[F], F]:
    """Makes a method take a signal of a ``@workflow_actor``: the operation ``workflow_signal:NAME``. Nobody gets what it returns."""
    return _named("signal", SIGNAL, name)


def query_handler(name: str) -> Callable[[F], F]:
    """Makes a method answer a query of a ``@workflow_actor``: the operation ``workflow_query:NAME``. What it changes in the state is put
    back."""
    return _named("query", QUERY, name)


def migrate_handler(function: F) -> F:
    """Makes a method take over the state that another version of the class has kept: its only parameter receives that as a dict, and it
    returns the state as this version wants it. It is called before the state is laid over the object, and must not call the host.

    It runs whenever the component has changed, also where the state has not: it should leave alone what it knows.
    """
    return _mark(function, MIGRATE, "call", "@migrate_handler")


def _named(kind: str, operation: str, name: Any) -> Callable[[F], F]:
    what = f"@{kind}_handler"
    if not isinstance(name, str):
        raise TypeError(f'{what} takes the {kind}\'s name: {what}("status")')
    if not name:
        raise ValueError(f"{what}: the {kind}'s name is empty")
    return lambda function: _mark(function, f"{operation}:{name}", kind, f"{what}({name!r})")


def _mark(function: F, operation: str, kind: str | None, what: str) -> F:
    _check_function(function, what)
    marks = dict(getattr(function, _MARKS, ()))
    setattr(function, _MARKS, tuple({**marks, operation: kind}.items()))
    return function


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
    """One handler of an actor type. ``kind`` is what it is meant for; whether it ``answers`` decides what happens to its return value."""

    __slots__ = ("answers", "binding", "function", "kind", "method", "operation")

    def __init__(self, operation: str, kind: str | None, behavior: Behavior, method: str, function: Callable[..., Any]) -> None:
        self.operation = operation
        self.kind = kind or ("cast" if behavior == "GenEvent" else "call")
        self.answers = kind not in ("cast", "signal")
        self.method = method
        self.function = function
        try:
            self.binding = Binding(function, operation in ("*", MIGRATE), self.kind)
            if operation == MIGRATE and not self.binding.takes_whole_payload:
                raise TypeError("it must take the old state and nothing else")
        except TypeError as error:
            raise TypeError(f"handler {operation!r} ({function.__qualname__}): {error}") from None


class Model:
    """What the decorators know about one actor class."""

    __slots__ = ("behavior", "cls", "facets", "fields", "fsm", "init_method", "init_takes_config", "operations")

    def __init__(self, cls: type, behavior: Behavior, facets: tuple[str, ...]) -> None:
        self.cls = cls
        self.behavior = behavior
        self.facets = facets
        self.fields: tuple[str, ...] = _fields(cls)
        self.fsm = fsm_field(cls) if behavior == "GenFSM" else None
        self.operations: dict[str, Operation] = _operations(cls, behavior)
        self.init_method, self.init_takes_config = _init(cls)
        _check_constructor(cls)


def model_of(cls: type) -> Model | None:
    """The model of a decorated class, or of a class that inherits from one; ``None`` for any other class."""
    own = cls.__dict__.get(_MODEL)
    if own is None:
        inherited: Model | None = getattr(cls, _MODEL, None)
        if inherited is None:
            return None
        own = Model(cls, inherited.behavior, inherited.facets)
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
    return _actor("@actor", "GenServer", cls, facets)


gen_server_actor = actor


@overload
def event_actor(cls: C) -> C: ...
@overload
def event_actor(*, facets: Iterable[str] | None = None) -> Callable[[C], C]: ...
def event_actor(cls: C | None = None, *, facets: Iterable[str] | None = None) -> C | Callable[[C], C]:
    """Makes a class an actor type that takes events (GenEvent): its handlers are casts unless they say ``"call"``."""
    return _actor("@event_actor", "GenEvent", cls, facets)


@overload
def fsm_actor(cls: C) -> C: ...
@overload
def fsm_actor(
    *, states: Iterable[str] | None = None, initial: str | None = None, facets: Iterable[str] | None = None
) -> Callable[[C], C]: ...
def fsm_actor(
    cls: C | None = None,
    *,
    states: Iterable[str] | None = None,
    initial: str | None = None,
    facets: Iterable[str] | None = None,
) -> C | Callable[[C], C]:
    """Makes a class a finite state machine (GenFSM).

    Its persisted attribute ``fsm_state`` begins as ``initial``, or else as the first of ``states``. Assigning a state that is not declared
    raises ``ValueError``, which fails the turn; which of the declared states may follow which is for the handlers to decide. The operation
    ``fsm_state`` answers ``{"state", "states"}`` unless the class has a handler of that name.
    """
    names = None if states is None else _state_names(states)
    if initial is not None and (not isinstance(initial, str) or not initial):
        raise TypeError(f"@fsm_actor: initial must be the name of a state, not {initial!r}")

    def prepare(target: type) -> None:
        declare_fsm_state(target, names, initial)
        if FSM_STATE not in _operations(target, "GenFSM"):
            setattr(target, "_plexspaces_fsm_state", _mark(_present_state, FSM_STATE, "call", "@fsm_actor"))

    return _actor("@fsm_actor", "GenFSM", cls, facets, prepare)


@overload
def workflow_actor(cls: C) -> C: ...
@overload
def workflow_actor(*, facets: Iterable[str] | None = None) -> Callable[[C], C]: ...
def workflow_actor(cls: C | None = None, *, facets: Iterable[str] | None = None) -> C | Callable[[C], C]:
    """Makes a class a workflow: ``@run_handler`` marks its run, ``@signal_handler`` and ``@query_handler`` what reaches it meanwhile."""
    return _actor("@workflow_actor", "Workflow", cls, facets)


def _actor(
    what: str, behavior: Behavior, cls: C | None, facets: Iterable[str] | None, prepare: Callable[[type], None] | None = None
) -> C | Callable[[C], C]:
    if cls is not None and not isinstance(cls, type):
        raise TypeError(f"{what} takes keyword arguments only: {what}(facets=[...])")
    names = _facet_names(facets)

    def decorate(target: C) -> C:
        if not isinstance(target, type):
            raise TypeError(f"{what} must stand above a class, not above a {type(target).__name__}")
        if "actor_id" not in target.__dict__ and not hasattr(target, "actor_id"):
            setattr(target, "actor_id", "")
        if prepare is not None:
            prepare(target)
        base: Model | None = getattr(target, _MODEL, None)
        inherited = base.facets if base is not None else ()
        setattr(target, _MODEL, Model(target, behavior, inherited if names is None else names))
        return target

    return decorate if cls is None else decorate(cls)


def _present_state(self: Any) -> dict[str, Any]:
    """The present state, and the states that there are."""
    field = fsm_field(type(self))
    return {"state": self.fsm_state, "states": list(field.states) if field is not None else []}


def _state_names(states: Iterable[str]) -> tuple[str, ...]:
    names = () if isinstance(states, str) else tuple(states)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise TypeError('@fsm_actor: states must be a list of names: states=["open", "closed"]')
    return tuple(dict.fromkeys(names))


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


def _operations(cls: type, behavior: Behavior) -> dict[str, Operation]:
    """The handlers of a class and its bases. A message goes to the method of that name in the most derived class, so that overriding a
    handler needs no second decorator."""
    found: dict[str, tuple[str, str | None]] = {}
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
        if kind in KINDS and behavior != "Workflow":
            raise TypeError(f"{cls.__name__}.{method} is a @{kind}_handler, which only a @workflow_actor has")
        operations[operation] = Operation(operation, kind, behavior, method, function)
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
