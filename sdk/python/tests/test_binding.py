"""How a payload becomes a handler's arguments."""

from collections.abc import Mapping
from typing import Any, Optional

import pytest

from plexspaces import InvalidArgumentError, UnknownOperationError, actor, handler
from plexspaces.testing import ActorHarness


def make(function: Any, operation: str = "go") -> ActorHarness:
    marked = handler(operation)(function)
    return ActorHarness(actor(type("Probe", (), {"run": marked})))


def test_keys_are_bound_by_name_and_others_dropped() -> None:
    probe = make(lambda self, a, b=2: [a, b])
    assert probe.ask("go", {"a": 1, "tenant": "t", "op": "go", "self": 9}) == [1, 2]
    assert probe.ask("go", {"b": None, "a": "x"}) == ["x", None]


def test_keyword_only_and_builtin_names_are_ordinary_parameters() -> None:
    probe = make(lambda self, *, input, type="t": [input, type])
    assert probe.ask("go", {"input": 1}) == [1, "t"]


def test_a_missing_key_is_the_callers_fault_and_changes_nothing() -> None:
    probe = make(lambda self, a, b: None)
    with pytest.raises(InvalidArgumentError, match="go: field 'b' is missing") as caught:
        probe.ask("go", {"a": 1})
    assert (caught.value.code, caught.value.retryable) == ("invalid_argument", False)


def test_routing_keys_are_passed_only_where_they_are_declared() -> None:
    assert make(lambda self, **rest: rest).ask("go", {"op": "go", "action": "go", "x": 1}) == {"x": 1}
    assert make(lambda self, op, **rest: [op, rest]).ask("go", {"op": "go", "x": 1}) == ["go", {"x": 1}]


def test_rest_takes_what_is_left() -> None:
    assert make(lambda self, a, **rest: [a, rest]).ask("go", {"a": 1, "b": 2, "self": 3}) == [1, {"b": 2}]


def test_the_whole_payload_goes_to_a_dict_parameter() -> None:
    def annotated(self: Any, order: dict) -> Any:
        return order

    def optional(self: Any, order: Optional[dict[str, int]], note: str = "-") -> Any:
        return [order, note]

    def mapping(self: Any, order: Mapping[str, int]) -> Any:
        return order

    def text(self: Any, order: "dict[str, Later]") -> Any:  # type: ignore[name-defined]  # noqa: F821
        return order

    assert make(annotated).ask("go", {"op": "go", "id": 1}) == {"id": 1}
    assert make(annotated).ask("go", {"order": {"id": 2}}) == {"id": 2}
    assert make(annotated).ask("go") == {}
    assert make(optional).ask("go", {"id": 1, "note": "n"}) == [{"id": 1, "note": "n"}, "n"]
    assert make(mapping).ask("go", {"id": 1}) == {"id": 1}
    assert make(text).ask("go", {"id": 1}) == {"id": 1}


@pytest.mark.parametrize("name", ["payload", "data", "request", "input_data", "message", "msg"])
def test_the_whole_payload_goes_to_a_parameter_with_a_telling_name(name: str) -> None:
    probe = make(eval(f"lambda self, {name}: {name}"))
    assert probe.ask("go", {"x": 1}) == {"x": 1}
    assert make(eval(f"lambda self, {name}=None: {name}")).ask("go", {"x": 1}) is None


def test_two_required_parameters_do_not_take_the_whole_payload() -> None:
    with pytest.raises(InvalidArgumentError, match="'payload' is missing"):
        make(lambda self, payload, other: None).ask("go", {"other": 1})


def test_the_sender_is_filled_in() -> None:
    probe = make(lambda self, from_actor, sender="-": [from_actor, sender])
    assert probe.ask("go", {}, sender="ns/t/k") == ["ns/t/k", "ns/t/k"]
    assert probe.ask("go", {"from_actor": "me"}) == ["me", ""]


def test_a_wildcard_sees_everything() -> None:
    assert make(lambda self, payload: payload, "*").ask("any", {"op": "any", "x": 1}) == {"op": "any", "x": 1}
    assert make(lambda self, anything=None: anything, "*").ask("any", {"anything": 1}) == {"anything": 1}
    assert make(lambda self, **rest: rest, "*").ask("any", {"action": "a"}) == {"action": "a"}
    assert make(lambda self, op, payload: [op, payload], "*").ask("any", {"x": 1}) == ["any", {"x": 1}]
    assert make(lambda self, msg_type: msg_type, "*").ask("any", {"x": 1}) == "any"


def test_a_named_handler_goes_before_the_wildcard() -> None:
    @actor
    class Both:
        @handler("*")
        def other(self, payload: dict) -> str:
            return "other"

        @handler("known")
        def known(self) -> str:
            return "known"

    harness = ActorHarness(Both)
    assert (harness.ask("known"), harness.ask("x")) == ("known", "other")


def test_an_unknown_operation_names_the_known_ones() -> None:
    with pytest.raises(UnknownOperationError, match="unknown operation 'nope'; known operations: go"):
        make(lambda self: None).ask("nope")


def test_a_payload_that_is_no_object_goes_to_the_only_parameter() -> None:
    def items(self: Any, items: list) -> Any:
        return items

    def order(self: Any, order: dict) -> Any:
        return order

    assert make(items).ask("go", [1, 2]) == [1, 2]
    assert make(items).ask("go", b"raw") == b"raw"
    assert make(lambda self, x="default": x).ask("go", None) == "default"
    for probe, payload in ((make(order), [1]), (make(lambda self: None), 3), (make(lambda self, a, b: None), b"")):
        with pytest.raises(InvalidArgumentError, match="must be a JSON object"):
            probe.ask("go", payload)


def test_positional_only_parameters_cannot_be_bound() -> None:
    with pytest.raises(TypeError, match="positional-only"):
        make(eval("lambda self, a, /: a"))


def test_several_operations_may_share_a_method() -> None:
    @actor
    class Shared:
        @handler("a")
        @handler("b")
        def both(self) -> int:
            return 1

    assert (ActorHarness(Shared).ask("a"), ActorHarness(Shared).ask("b")) == (1, 1)
