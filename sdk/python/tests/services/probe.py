"""Actors that call what they are told to, to see that the services in memory and those of a node answer alike."""

from typing import Any

from plexspaces import actor, handler, host, state


class Calls:
    """Keeps what later calls need under a name in `v`."""

    v: dict = state(default_factory=dict)

    @handler("run")
    def run(self, code: str) -> Any:
        """The value of an expression."""
        return eval(code, {"host": host, "v": self.v})


@actor
class Plain(Calls):
    """In its turns everything happens at once."""


@actor(facets=["durability"])
class Durable(Calls):
    """In its turns everything happens once."""


ACTOR_REGISTRY = {"plain": Plain, "durable": Durable}
