"""Persisted attributes of an actor class."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")

FSM_STATE = "fsm_state"
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
        value = instance.__dict__[self.name] = self.fresh()
        return value

    def fresh(self) -> Any:
        """What a new instance starts with."""
        return self._factory() if self._factory is not None else copy.deepcopy(self._default)


class FsmField(StateField):
    """The present state of a finite state machine: it takes no state that is not declared. Without declared states it takes all."""

    __slots__ = ("initial", "states")

    def __init__(self, states: tuple[str, ...], initial: str) -> None:
        super().__init__(initial, None)
        self.name = FSM_STATE
        self.states = states
        self.initial = initial

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else instance.__dict__.setdefault(self.name, self.initial)

    def __set__(self, instance: Any, value: Any) -> None:
        if self.states and value not in self.states:
            raise ValueError(f"{FSM_STATE} of {type(instance).__name__} must be {_either(self.states)}, not {value!r}")
        instance.__dict__[self.name] = value


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


def declare_fsm_state(cls: type, states: tuple[str, ...] | None, initial: str | None) -> None:
    """Gives a class its field ``fsm_state``. What is ``None`` comes from the field that the class has or inherits; the initial state is
    else the first one."""
    found = inspect.getattr_static(cls, FSM_STATE, "")
    if states is None:
        states = found.states if isinstance(found, FsmField) else ()
    if initial is None:
        declared = found.fresh() if isinstance(found, StateField) else found
        initial = declared if isinstance(declared, str) and declared else next(iter(states), "")
    if states and initial not in states:
        raise ValueError(f"@fsm_actor: the initial state of {cls.__name__} must be {_either(states)}, not {initial!r}")
    setattr(cls, FSM_STATE, FsmField(states, initial))


def fsm_field(cls: type) -> FsmField | None:
    """The class's field ``fsm_state``, if it is a state machine's."""
    found = inspect.getattr_static(cls, FSM_STATE, None)
    return found if isinstance(found, FsmField) else None


def _either(states: tuple[str, ...]) -> str:
    return " or ".join(filter(None, (", ".join(map(repr, states[:-1])), repr(states[-1]))))
