"""Which actor types a module holds, and under which names."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any, NamedTuple

from plexspaces._actor import ActorSpec, is_actor, spec_of
from plexspaces.errors import DefinitionError

_SUFFIX = re.compile(r"_(actor|agent|workflow)$")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


class ActorType(NamedTuple):
    """An actor class and the names that it goes by."""

    name: str
    aliases: tuple[str, ...]
    spec: ActorSpec


def types_of(module: ModuleType) -> dict[str, ActorType]:
    """Return the actor types of an entry module by name: those of its ACTOR_REGISTRY, else its decorated classes."""
    registry = getattr(module, "ACTOR_REGISTRY", None)
    if registry is None:
        classes = list({id(value): value for value in vars(module).values() if is_actor(value)}.values())
        named = [(_SUFFIX.sub("", snake_case(cls.__name__)), cls) for cls in classes]
    else:
        named = _registered(registry)
    if not named:
        raise DefinitionError(f"module {module.__name__} has no actor: decorate a class with @actor")
    types: dict[str, ActorType] = {}
    for name, cls in named:
        if name in types:
            raise DefinitionError(f"{types[name].spec.cls.__name__} and {cls.__name__} would both be the actor type {name!r}; use ACTOR_REGISTRY")
        types[name] = ActorType(name, (), spec_of(cls))
    return {name: kind._replace(aliases=_aliases(kind, types)) for name, kind in types.items()}


def describe(module: ModuleType, version: str) -> dict[str, Any]:
    """Return what the component made of this module says of itself."""
    actors = [kind.spec.describe(kind.name, kind.aliases) for kind in types_of(module).values()]
    return {"sdk": {"language": "python", "version": version}, "actors": actors}


def snake_case(name: str) -> str:
    """Return the name in snake case: ToolRegistryActor becomes tool_registry_actor."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _registered(registry: Any) -> list[tuple[str, type]]:
    if not isinstance(registry, dict) or not registry:
        raise DefinitionError("ACTOR_REGISTRY is a dict from role names to actor classes, with at least one")
    for role, cls in registry.items():
        if not isinstance(role, str) or not _NAME.fullmatch(role):
            raise DefinitionError(f"ACTOR_REGISTRY: {role!r} is no role name: letters, digits, '_', '-' and '.'")
        if not isinstance(cls, type) or not any(is_actor(base) for base in cls.__mro__):
            raise DefinitionError(f"ACTOR_REGISTRY[{role!r}] is {cls!r}, expected a class decorated with @actor")
    return list(registry.items())


def _aliases(kind: ActorType, types: dict[str, ActorType]) -> tuple[str, ...]:
    full = snake_case(kind.spec.cls.__name__)
    candidates = {full, _SUFFIX.sub("", full)} - {kind.name}
    # A name that two types could claim belongs to neither.
    others = [other for other in types.values() if other.name != kind.name]
    taken = {other.name for other in others} | {snake_case(other.spec.cls.__name__) for other in others}
    taken |= {_SUFFIX.sub("", name) for name in taken}
    return tuple(sorted(candidates - taken))
