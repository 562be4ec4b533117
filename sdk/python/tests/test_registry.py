"""Which actor types a module holds, and what `describe` says of them."""

import json
from types import ModuleType
from typing import Any, Literal, Optional

import pytest

from plexspaces import actor, handler
from plexspaces._registry import NoActors, Registry, snake_case


def make(name: str, module: str = "app", bases: tuple[type, ...] = ()) -> type:
    return actor(type(name, bases, {"__module__": module}))


def module(**values: Any) -> ModuleType:
    made = ModuleType("app")
    vars(made).update(values)
    return made


@pytest.mark.parametrize(
    ("name", "snake"),
    [("ToolRegistryActor", "tool_registry_actor"), ("MCPGateway", "mcp_gateway"), ("QualityFSM", "quality_fsm"), ("A1Bot", "a1_bot")],
)
def test_snake_case(name: str, snake: str) -> None:
    assert snake_case(name) == snake


def test_types_are_named_after_their_classes() -> None:
    registry = Registry.of_module(module(a=make("ToolRegistryActor"), b=make("ChatAgent"), c=make("Plain"), d=3))
    assert list(registry.types) == ["tool_registry", "chat", "plain"]
    assert registry.aliases == {"tool_registry": ["tool_registry_actor"], "chat": ["chat_agent"], "plain": []}


def test_equal_short_names_keep_their_suffix() -> None:
    registry = Registry.of_module(module(a=make("ChatActor"), b=make("ChatAgent")))
    assert registry.aliases == {"chat_actor": [], "chat_agent": []}
    with pytest.raises(NoActors, match="would both be the actor type 'chat'"):
        Registry.of_module(module(a=make("Chat"), b=make("Chat", "other")))


def test_an_alias_never_means_two_types() -> None:
    tool = make("ToolActor")
    registry = Registry.of_module(module(ACTOR_REGISTRY={"one": tool, "two": tool, "three": make("One")}))
    assert registry.aliases == {"one": [], "two": [], "three": []}


def test_imported_bases_are_no_types_of_their_own() -> None:
    base, sibling = make("Base", "lib"), make("Sibling", "lib")
    registry = Registry.of_module(module(Base=base, Sibling=sibling, Mine=make("Mine", bases=(base,))))
    assert list(registry.types) == ["sibling", "mine"]


def test_roles_choose_the_class() -> None:
    router, memory = make("LlmRouterActor"), make("MemoryActor")
    registry = Registry.of_module(module(ACTOR_REGISTRY={"llm": router, "memory": memory}))

    def found(actor_type: str, /, **config: Any) -> Any:
        model = registry.find(actor_type, config)
        return None if model is None else model.cls

    assert found("llm") is router and found("llm_router_actor") is router
    assert found("worker", role="memory") is memory
    assert found("worker", args={"role": "memory"}, actor_type="llm") is memory
    assert found("worker", actor_type="llm") is router
    assert found("worker", name="llm") is router
    assert found("worker") is None
    only = Registry.of_module(module(a=router)).find("anything", {})
    assert only is not None and only.cls is router


@pytest.mark.parametrize(
    ("registry", "message"),
    [
        ({}, "not empty"),
        ([1], "must be a dict"),
        ({"a": object}, "class object, which has no decorator such as @actor"),
        ({"a": 3}, "is a int, which has no decorator"),
        ({"a b": object}, "role 'a b' must be"),
        ({1: object}, "role 1 must be"),
    ],
)
def test_a_wrong_registry_is_refused(registry: Any, message: str) -> None:
    with pytest.raises(NoActors, match=message):
        Registry.of_module(module(ACTOR_REGISTRY=registry))


def test_a_module_without_actors_is_refused() -> None:
    with pytest.raises(NoActors, match="no class has a decorator such as @actor"):
        Registry.of_module(module(a=object, b=3))


def test_describe_holds_what_a_node_needs() -> None:
    @actor(facets=["durability", "metrics", "durability"])
    class BankAccountActor:
        """One customer's
        account.

        More."""

        @handler("tick", "cast")
        def tick(self) -> None: ...

        @handler("deposit")
        def deposit(
            self,
            amount: float,
            sender: str,
            kind: Literal["a", "b"] = "a",
            tags: list[str] = [],  # noqa: B006
            note: Optional[str] = None,
            extra: Any = object(),
            by: dict[str, int] | None = None,
        ) -> dict:
            """Adds money."""
            return {}

        @handler("*")
        def other(self, payload: dict) -> dict:
            return payload

    said = json.loads(Registry.of_module(module(a=BankAccountActor)).describe())
    assert said["sdk"] == {"language": "python", "version": "0.1.0"}
    (found,) = said["actors"]
    handlers = found.pop("handlers")
    assert found == {
        "type": "bank_account",
        "aliases": ["bank_account_actor"],
        "class": "BankAccountActor",
        "behavior": "GenServer",
        "doc": "One customer's account.",
        "facets": [{"type": "durability", "config": {}}, {"type": "metrics", "config": {}}],
    }
    assert [(h["operation"], h["kind"], h["doc"]) for h in handlers] == [("*", "call", ""), ("deposit", "call", "Adds money."), ("tick", "cast", "")]
    assert handlers[0]["parameters"] == {"type": "object"}
    assert handlers[1]["parameters"] == {
        "type": "object",
        "properties": {
            "amount": {"type": "number"},
            "kind": {"enum": ["a", "b"], "default": "a"},
            "tags": {"type": "array", "items": {"type": "string"}, "default": []},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
            "extra": {},
            "by": {"anyOf": [{"type": "object", "additionalProperties": {"type": "integer"}}, {"type": "null"}], "default": None},
        },
        "required": ["amount"],
    }
