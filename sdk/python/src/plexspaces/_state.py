"""State fields: class attributes whose values are an instance's own and are stored."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar, overload

from plexspaces.errors import DefinitionError

T = TypeVar("T")
_NOTHING: Any = object()


class StateField:
    """A descriptor without `__set__`: once an instance has its value, reading it costs what a plain attribute costs."""

    def __init__(self, default: Any, factory: Callable[[], Any] | None) -> None:
        self._default = default
        self._factory = factory
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        value = self._factory() if self._factory is not None else copy.deepcopy(self._default)
        instance.__dict__[self.name] = value
        return value


@overload
def state(default: T) -> T: ...


@overload
def state(*, default_factory: Callable[[], T]) -> T: ...


def state(default: Any = _NOTHING, *, default_factory: Callable[[], Any] | None = None) -> Any:
    """Declare a state field. Each instance starts with its own copy of `default`, or with what `default_factory` makes."""
    if (default is _NOTHING) == (default_factory is None):
        raise DefinitionError("state() takes either default or default_factory")
    return StateField(None if default is _NOTHING else default, default_factory)


def fields_of(cls: type) -> tuple[str, ...]:
    """Return the names of the state fields of a class and its bases, bases first; one that a subclass overrides is none."""
    names: dict[str, None] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, StateField):
                names[name] = None
            else:
                names.pop(name, None)
    return tuple(names)
