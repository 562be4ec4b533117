"""Which actor types a module holds, and under which names."""

from __future__ import annotations

import inspect
import json
import re
from types import ModuleType
from typing import Any

from . import _schema
from ._decorators import Model, Operation, is_decorated, model_of
from ._version import __version__

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_SUFFIX = re.compile(r"_(actor|agent|workflow)$")


class NoActors(Exception):
    """A module whose actor types cannot be told."""


class Registry:
    """The actor types of one component."""

    def __init__(self, types: dict[str, Model]) -> None:
        self.types = types
        self.aliases = _aliases(types)
        self._names = {**{alias: types[name] for name, all in self.aliases.items() for alias in all}, **types}

    @classmethod
    def of_module(cls, module: ModuleType) -> Registry:
        """Reads ``ACTOR_REGISTRY``, or else the decorated classes that the module defines or imports."""
        registry = getattr(module, "ACTOR_REGISTRY", None)
        return cls(_named(_found(module)) if registry is None else _registered(registry))

    def find(self, actor_type: str, config: dict[str, Any]) -> Model | None:
        """The class for a type's name or alias; else for a role or a name in the configuration; else the only class."""
        args = config.get("args")
        wanted = (actor_type, config.get("role"), args.get("role") if isinstance(args, dict) else None)
        for name in (*wanted, config.get("actor_type"), config.get("name")):
            if isinstance(name, str) and name in self._names:
                return self._names[name]
        return next(iter(self.types.values())) if len(self.types) == 1 else None

    def describe(self) -> str:
        """The JSON document of `docs/components.md`."""
        actors = [_describe(name, model, self.aliases[name]) for name, model in self.types.items()]
        return json.dumps({"sdk": {"language": "python", "version": __version__}, "actors": actors}, separators=(",", ":"))


def snake_case(name: str) -> str:
    """``ToolRegistryActor`` becomes ``tool_registry_actor``."""
    return _WORD.sub("_", name).lower()


def short_name(name: str) -> str:
    """The type's name of a class: snake case without ``Actor``, ``Agent`` or ``Workflow`` at its end."""
    full = snake_case(name)
    return _SUFFIX.sub("", full) or full


def _registered(registry: Any) -> dict[str, Model]:
    if not isinstance(registry, dict) or not registry:
        raise NoActors("ACTOR_REGISTRY must be a dict of roles and classes that is not empty")
    types = {}
    for role, cls in registry.items():
        if not isinstance(role, str) or not _NAME.fullmatch(role):
            raise NoActors(f"ACTOR_REGISTRY: the role {role!r} must be 1 to 128 letters, digits, '_', '-' and '.'")
        model = model_of(cls) if isinstance(cls, type) else None
        if model is None:
            what = f"the class {cls.__name__}" if isinstance(cls, type) else f"a {type(cls).__name__}"
            raise NoActors(f"ACTOR_REGISTRY[{role!r}] is {what}, which has no decorator such as @actor")
        types[role] = model
    return types


def _found(module: ModuleType) -> list[type]:
    classes = list(dict.fromkeys(value for value in vars(module).values() if is_decorated(value)))
    # A class that is imported only to inherit from it is no type of this component.
    bases = {base for cls in classes for base in cls.__mro__[1:] if base.__module__ != module.__name__}
    classes = [cls for cls in classes if cls not in bases]
    if not classes:
        raise NoActors("no class has a decorator such as @actor, and there is no ACTOR_REGISTRY")
    return classes


def _named(classes: list[type]) -> dict[str, Model]:
    shorts = [short_name(cls.__name__) for cls in classes]
    types: dict[str, Model] = {}
    for cls, short in zip(classes, shorts, strict=True):
        name = short if shorts.count(short) == 1 else snake_case(cls.__name__)
        if name in types:
            raise NoActors(f"{types[name].cls.__qualname__} and {cls.__qualname__} would both be the actor type {name!r}")
        if not _NAME.fullmatch(name):
            raise NoActors(f"the class name {cls.__name__!r} gives no usable type name; list it in ACTOR_REGISTRY")
        model = model_of(cls)
        if model is not None:
            types[name] = model
    return types


def _aliases(types: dict[str, Model]) -> dict[str, list[str]]:
    """The class names in snake case, unless they are a type's name or could mean two types."""
    wanted = {
        name: dict.fromkeys((snake_case(model.cls.__name__), short_name(model.cls.__name__))) for name, model in types.items()
    }
    every = [alias for names in wanted.values() for alias in names]
    return {
        name: [a for a in names if a not in types and every.count(a) == 1 and _NAME.fullmatch(a)]
        for name, names in wanted.items()
    }


def _describe(name: str, model: Model, aliases: list[str]) -> dict[str, Any]:
    return {
        "type": name,
        "aliases": aliases,
        "class": model.cls.__name__,
        "behavior": model.behavior,
        **({} if model.fsm is None else {"states": list(model.fsm.states), "initial": model.fsm.initial}),
        "doc": _doc(model.cls.__dict__.get("__doc__")),
        "facets": [{"type": facet, "config": {}} for facet in model.facets],
        "handlers": [_describe_handler(model.operations[operation]) for operation in sorted(model.operations)],
    }


def _describe_handler(operation: Operation) -> dict[str, Any]:
    return {
        "operation": operation.operation,
        "kind": operation.kind,
        "doc": _doc(operation.function.__doc__),
        "parameters": _schema.parameters(operation.function, operation.binding),
    }


def _doc(text: Any) -> str:
    """The first paragraph of a docstring on one line."""
    return " ".join(inspect.cleandoc(text).split("\n\n")[0].split()) if isinstance(text, str) else ""
