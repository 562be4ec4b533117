"""What the decorators read from a class."""

from typing import Any

import pytest

from plexspaces import actor, gen_server_actor, handler, init_handler, migrate_handler, state
from plexspaces._decorators import model_of
from plexspaces.testing import ActorHarness


def test_a_decorator_returns_the_same_class() -> None:
    class Plain:
        pass

    assert actor(Plain) is Plain
    assert actor(facets=["durability"])(Plain) is Plain
    assert gen_server_actor(Plain) is Plain
    assert gen_server_actor()(Plain) is Plain


def test_every_instance_has_its_own_state() -> None:
    @actor
    class Box:
        items: list = state(default_factory=list)
        shared: dict = state(default={"a": []})
        limit = 3

    one, two = Box(), Box()
    one.items.append(1)
    one.shared["a"].append(1)
    assert (two.items, two.shared) == ([], {"a": []})
    assert ActorHarness(Box).snapshot() == {"items": [], "shared": {"a": []}}


def test_in_place_changes_are_part_of_the_snapshot() -> None:
    @actor
    class Box:
        items: list = state(default_factory=list)
        refs: dict = state(default_factory=dict)

        @handler("fill")
        def fill(self) -> None:
            self.items += [1, 2, 3]
            self.items = self.items[1:]
            self.refs[7] = "x"
            self.refs["gone"] = 1
            del self.refs["gone"]

    harness = ActorHarness(Box)
    assert harness.ask("fill") is None
    harness.restart()
    assert harness.snapshot() == {"items": [2, 3], "refs": {"7": "x"}}


def test_subclasses_inherit_handlers_state_and_facets() -> None:
    @actor(facets=["durability"])
    class Base:
        a: int = state(default=1)

        @handler("who")
        def who(self) -> str:
            return "base"

        @handler("a")
        def get_a(self) -> int:
            return self.a

    @actor
    class Derived(Base):
        b: int = state(default=2)

        def who(self) -> str:
            return "derived"

        @handler("b", "cast")
        def get_b(self) -> int:
            return self.b

    class Undecorated(Derived):
        c: int = state(default=3)

    harness = ActorHarness(Derived)
    assert (harness.ask("who"), harness.ask("a"), harness.ask("b")) == ("derived", 1, None)
    assert harness.snapshot() == {"a": 1, "b": 2}
    assert ActorHarness(Undecorated).snapshot() == {"a": 1, "b": 2, "c": 3}
    model = model_of(Undecorated)
    assert model is not None and model.facets == ("durability",)


def test_init_runs_before_the_restored_state_is_laid_over() -> None:
    @actor
    class Tools:
        actor_id: str = state(default="")
        tools: dict = state(default_factory=dict)
        seen: list = state(default_factory=list)

        @init_handler
        def setup(self, config: dict) -> None:
            assert self.actor_id == config["actor_id"]
            self.tools = {"builtin": config["args"]["kind"]}
            self.started = True

        @handler("add")
        def add(self, name: str) -> dict:
            assert self.started
            self.tools[name] = "added"
            return self.tools

    harness = ActorHarness(Tools, args={"kind": "b"}, key="k", namespace="ns")
    assert harness.ask("add", {"name": "x"}) == {"builtin": "b", "x": "added"}
    harness.restart()
    assert harness.snapshot()["tools"] == {"builtin": "b", "x": "added"}
    harness.restore({"actor_id": "elsewhere", "unknown": 1})
    assert harness.actor.actor_id == "ns/tools/k"


def test_actor_id_is_there_without_a_declaration_and_is_not_stored() -> None:
    @actor
    class Me:
        @handler("me")
        def me(self) -> str:
            return self.actor_id  # type: ignore[attr-defined]

    assert Me().actor_id == ""  # type: ignore[attr-defined]
    assert ActorHarness(Me).ask("me") == "default/me/me"
    assert ActorHarness(Me).snapshot() == {}


def _two_handlers() -> None:
    class Twice:
        @handler("x")
        def one(self) -> None: ...

        @handler("x")
        def two(self) -> None: ...

    actor(Twice)


def _two_inits() -> None:
    class Twice:
        @init_handler
        def one(self, config: dict) -> None: ...

        @init_handler
        def two(self, config: dict) -> None: ...

    actor(Twice)


def _constructor() -> None:
    class Needs:
        def __init__(self, name: str) -> None: ...

    actor(Needs)


async def _async(self: Any) -> None: ...


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (_two_handlers, "one and two both handle 'x'"),
        (_two_inits, "one and two are both @init_handler"),
        (_constructor, "must work without arguments"),
        (lambda: handler("x", "maybe"), 'must be "call" or "cast"'),
        (lambda: handler(_two_inits), "takes the operation's name"),
        (lambda: handler(""), "is empty"),
        (lambda: handler("x")(_async), "neither async"),
        (lambda: handler("x")(3), "directly above a method"),
        (lambda: state(), "either default or default_factory"),
        (lambda: state(1, default_factory=list), "either default or default_factory"),
        (lambda: state(default_factory=[]), "must be callable"),
        (lambda: actor(facets="durability"), "must be a list"),
        (lambda: actor(3), "keyword arguments only"),
        (lambda: actor()(3), "above a class"),
    ],
)
def test_mistakes_are_told_when_the_class_is_made(wrong: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        wrong()


def test_a_state_of_another_version_is_migrated_before_it_is_laid_over() -> None:
    @actor
    class Account:
        cents: int = state(default=0)
        history: list = state(default_factory=list)

        @migrate_handler
        def migrate_state(self, old_state: dict) -> dict:
            if "dollars" in old_state:
                old_state["cents"] = old_state.pop("dollars") * 100
            return old_state

        @handler("pay")
        def pay(self, cents: int) -> int:
            self.cents -= cents
            return self.cents

    harness = ActorHarness(Account)
    assert harness.migrate({"dollars": 3, "op": "x", "old_state": {}}) == {"cents": 300, "history": []}
    assert harness.ask("pay", {"cents": 10}) == 290
    assert harness.migrate({"cents": 7, "history": [1]}) == {"cents": 7, "history": [1]}

    @actor
    class Forgetful:
        @migrate_handler
        def migrate_state(self, old_state: dict) -> None:
            pass

    with pytest.raises(TypeError, match="migrate_state must return the new state, a dict, not NoneType"):
        ActorHarness(Forgetful).migrate({})
    with pytest.raises(TypeError, match="it must take the old state and nothing else"):

        @actor
        class Wrong:
            @migrate_handler
            def migrate_state(self, old_state: dict, version: int) -> dict:
                return old_state
