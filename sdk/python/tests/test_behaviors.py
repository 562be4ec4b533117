"""Event actors, finite state machines and workflows."""

import json
from types import ModuleType
from typing import Any

import pytest

from plexspaces import (
    InvalidArgumentError,
    UnknownOperationError,
    actor,
    event_actor,
    fsm_actor,
    handler,
    host,
    init_handler,
    query_handler,
    run_handler,
    signal_handler,
    state,
    workflow_actor,
)
from plexspaces._decorators import model_of
from plexspaces._registry import Registry
from plexspaces.testing import ActorHarness


def described(cls: type) -> Any:
    module = ModuleType("app")
    vars(module)["it"] = cls
    cls.__module__ = "app"
    return json.loads(Registry.of_module(module).describe())["actors"][0]


def kinds(cls: type) -> list[tuple[str, str]]:
    return [(h["operation"], h["kind"]) for h in described(cls)["handlers"]]


# Event actors


@event_actor(facets=["durability"])
class AuditLog:
    events: list = state(default_factory=list)

    @handler("log")
    def log(self, text: str = "") -> None:
        self.events.append(text)

    @handler("count")
    def count(self) -> int:
        return len(self.events)

    @handler("get_stats", "call")
    def get_stats(self) -> dict:
        return {"events": len(self.events)}

    @handler("silent", kind="cast")
    def silent(self) -> str:
        return "nobody reads this"


def test_handlers_of_an_event_actor_are_casts_unless_they_say_call() -> None:
    assert kinds(AuditLog) == [("count", "cast"), ("get_stats", "call"), ("log", "cast"), ("silent", "cast")]
    assert (described(AuditLog)["behavior"], described(AuditLog)["facets"]) == ("GenEvent", [{"type": "durability", "config": {}}])


def test_whoever_asks_an_event_actor_gets_what_there_is() -> None:
    log = ActorHarness(AuditLog)
    log.tell("log", {"text": "a"})
    assert (log.ask("log"), log.ask("get_stats"), log.ask("count"), log.ask("silent")) == (None, {"events": 2}, 2, None)


def test_the_class_that_is_decorated_decides_what_a_handler_without_a_kind_is() -> None:
    class Mixin:
        @handler("note")
        def note(self) -> None: ...

    @event_actor
    class Events(Mixin):
        pass

    @actor
    class Calls(Mixin):
        pass

    class More(Events):
        @handler("more")
        def more(self) -> None: ...

    assert kinds(Events) == [("note", "cast")]
    assert kinds(Calls) == [("note", "call")]
    more = model_of(More)
    assert more is not None and (more.behavior, more.operations["more"].kind) == ("GenEvent", "cast")


# Finite state machines


@fsm_actor(states=["closed", "open", "half_open"], initial="closed", facets=["durability"])
class Breaker:
    failures: int = state(default=0)

    @handler("set")
    def set(self, to: Any) -> str:
        self.fsm_state = to
        return self.fsm_state


def test_a_state_machine_begins_with_its_initial_state_and_keeps_it() -> None:
    breaker = ActorHarness(Breaker)
    assert breaker.snapshot() == {"failures": 0, "fsm_state": "closed"}
    assert breaker.ask("set", {"to": "open"}) == "open"
    breaker.restart()
    assert breaker.snapshot() == {"failures": 0, "fsm_state": "open"}
    assert ActorHarness(Breaker).snapshot()["fsm_state"] == "closed"


@pytest.mark.parametrize("wrong", ["broken", "", None, 3, ["open"], {"a": 1}])
def test_an_undeclared_state_fails_the_turn(wrong: Any) -> None:
    breaker = ActorHarness(Breaker)
    with pytest.raises(ValueError) as caught:
        breaker.ask("set", {"to": wrong})
    assert str(caught.value) == f"fsm_state of Breaker must be 'closed', 'open' or 'half_open', not {wrong!r}"
    assert breaker.snapshot()["fsm_state"] == "closed"


def test_a_stored_state_that_is_no_longer_declared_is_not_taken() -> None:
    with pytest.raises(ValueError, match="must be 'closed', 'open' or 'half_open', not 'retired'"):
        ActorHarness(Breaker).restore({"fsm_state": "retired"})


def test_the_present_state_can_be_asked_for() -> None:
    breaker = ActorHarness(Breaker)
    breaker.ask("set", {"to": "half_open"})
    assert breaker.ask("fsm_state") == {"state": "half_open", "states": ["closed", "open", "half_open"]}
    assert ("fsm_state", "call") in kinds(Breaker)


def test_the_authors_own_handler_for_the_present_state_comes_first() -> None:
    class Mixin:
        @handler("fsm_state")
        def mine(self) -> str:
            return "mine"

    @fsm_actor(states=["a"])
    class Inherits(Mixin):
        pass

    @fsm_actor(states=["a"])
    class Defines:
        @handler("fsm_state")
        def mine(self) -> str:
            return "mine"

    @fsm_actor(states=["a"])
    class Wild:
        @handler("*")
        def other(self) -> str:
            return "other"

    class Derived(Wild):
        @handler("fsm_state")
        def mine(self) -> str:
            return "mine"

    answers = [ActorHarness(cls).ask("fsm_state") for cls in (Inherits, Defines, Wild, Derived)]
    assert answers == ["mine", "mine", {"state": "a", "states": ["a"]}, "mine"]


def test_describe_names_the_states() -> None:
    told = described(Breaker)
    assert (told["behavior"], told["states"], told["initial"]) == ("GenFSM", ["closed", "open", "half_open"], "closed")
    assert "states" not in described(AuditLog) and "initial" not in described(AuditLog)


def test_a_bare_state_machine_declares_nothing() -> None:
    @fsm_actor
    class Bare:
        @handler("set")
        def set(self, to: str) -> None:
            self.fsm_state = to

    @fsm_actor()
    class Declared:
        fsm_state: str = state(default="idle")

    bare = ActorHarness(Bare)
    assert bare.ask("fsm_state") == {"state": "", "states": []}
    bare.ask("set", {"to": "anything"})
    assert bare.snapshot() == {"fsm_state": "anything"}
    assert (described(Bare)["states"], described(Bare)["initial"]) == ([], "")
    assert ActorHarness(Declared).ask("fsm_state") == {"state": "idle", "states": []}


def test_where_the_initial_state_comes_from() -> None:
    @fsm_actor(states=["a", "b"])
    class First:
        fsm_state: str

    @fsm_actor(states=("a", "b"))
    class Field:
        fsm_state: str = state(default="b")

    @fsm_actor(states=["a", "b"])
    class Factory:
        fsm_state: str = state(default_factory=lambda: "b")

    @fsm_actor(states=["a", "b"], initial="b")
    class Named:
        fsm_state: str = state(default="a")

    @fsm_actor
    class Inherits(Named):
        pass

    @fsm_actor(states=["b", "c"])
    class Other(Named):
        pass

    found = [ActorHarness(cls).snapshot()["fsm_state"] for cls in (First, Field, Factory, Named, Inherits, Other)]
    assert found == ["a", "b", "b", "b", "b", "b"]
    assert (described(Inherits)["states"], described(Other)["states"]) == (["a", "b"], ["b", "c"])


def test_init_may_choose_the_state_and_a_restored_one_wins() -> None:
    @fsm_actor(states=["a", "b", "c"])
    class Machine:
        @init_handler
        def setup(self) -> None:
            self.fsm_state = "b"

        @handler("go")
        def go(self) -> None:
            self.fsm_state = "c"

    machine = ActorHarness(Machine)
    assert machine.snapshot() == {"fsm_state": "b"}
    machine.ask("go")
    machine.restart()
    assert machine.snapshot() == {"fsm_state": "c"}


# Workflows


@workflow_actor(facets=["durability"])
class Order:
    status: str = state(default="new")
    data: dict = state(default_factory=dict)

    @run_handler
    def execute(self, input_data: dict) -> dict:
        self.status = "done"
        self.data = input_data
        return {"got": input_data}

    @signal_handler("cancel")
    def cancel(self, data: dict) -> str:
        self.status = "cancelled"
        self.data = data
        return "nobody reads this"

    @signal_handler("reset")
    def reset(self, reason: str = "manual") -> None:
        self.status = reason

    @signal_handler("poke")
    def poke(self) -> None:
        self.status = "poked"

    @query_handler("status")
    def get_status(self) -> dict:
        return {"status": self.status, "data": self.data}


@pytest.fixture
def order() -> ActorHarness:
    return ActorHarness(Order)


def test_describe_prints_a_workflows_operations() -> None:
    assert described(Order)["behavior"] == "Workflow"
    assert kinds(Order) == [
        ("workflow_query:status", "query"),
        ("workflow_run", "run"),
        ("workflow_signal:cancel", "signal"),
        ("workflow_signal:poke", "signal"),
        ("workflow_signal:reset", "signal"),
    ]


@pytest.mark.parametrize("operation", ["workflow_run", "run", "start"])
def test_a_run_has_three_names(order: ActorHarness, operation: str) -> None:
    assert order.ask(operation, {"id": 1}) == {"got": {"id": 1}}


@pytest.mark.parametrize(
    ("payload", "got"),
    [
        ({"op": "workflow_run", "action": "x", "id": 1}, {"id": 1}),
        ({"input_data": {"id": 1}}, {"id": 1}),
        ({"op": "run", "input_data": {"id": 1}}, {"id": 1}),
        ({"input_data": {"id": 1}, "more": 2}, {"input_data": {"id": 1}, "more": 2}),
        ({"input_data": 7}, {"input_data": 7}),
        ({"request": {"id": 1}}, {"request": {"id": 1}}),
        ({}, {}),
        (None, {}),
    ],
)
def test_what_a_run_gets(order: ActorHarness, payload: Any, got: Any) -> None:
    assert order.ask("workflow_run", payload) == {"got": got}


def test_a_run_whose_parameter_has_a_default_gets_the_payload_too() -> None:
    @workflow_actor
    class Gateway:
        @run_handler
        def run(self, request=None, sender=""):  # type: ignore[no-untyped-def]
            return [request, sender]

    gateway = ActorHarness(Gateway)
    assert gateway.ask("run", {"id": 1}, sender="me") == [{"id": 1}, "me"]
    assert gateway.ask("run") == [{}, ""]


def test_a_run_with_other_parameters_is_bound_by_name() -> None:
    @workflow_actor
    class Several:
        @run_handler
        def run(self, order_id: str, amount: int = 1) -> list:
            return [order_id, amount]

    @workflow_actor
    class Text:
        @run_handler
        def run(self, order_id: str) -> str:
            return order_id

    @workflow_actor
    class Nothing:
        @run_handler
        def run(self) -> str:
            return "ran"

    assert ActorHarness(Several).ask("run", {"order_id": "a", "other": 1}) == ["a", 1]
    assert ActorHarness(Text).ask("run", {"order_id": "a"}) == "a"
    assert ActorHarness(Nothing).ask("run", {"order_id": "a"}) == "ran"
    for cls in (Several, Text):
        with pytest.raises(InvalidArgumentError, match="field 'order_id' is missing"):
            ActorHarness(cls).ask("run", {"amount": 2})


def test_a_handler_of_the_name_run_or_start_is_not_the_run() -> None:
    @workflow_actor
    class Engine:
        @run_handler
        def execute(self) -> str:
            return "workflow"

        @handler("start")
        def start(self) -> str:
            return "engine"

        @handler("*")
        def other(self, op: str) -> str:
            return op

    engine = ActorHarness(Engine)
    assert [engine.ask(name) for name in ("start", "run", "workflow_run", "stop")] == ["engine", "workflow", "workflow", "stop"]


@pytest.mark.parametrize(
    ("operation", "payload"),
    [
        ("workflow_signal:cancel", {"why": "late"}),
        ("workflow_signal", {"name": "cancel", "why": "late"}),
        ("workflow_signal", {"signal": "cancel", "why": "late"}),
        ("", {"op": "workflow_signal:cancel", "why": "late"}),
        ("", {"action": "workflow_signal", "name": "cancel", "why": "late"}),
        ("workflow_signal:cancel", {"data": {"why": "late"}}),
    ],
)
def test_the_spellings_of_a_signal(order: ActorHarness, operation: str, payload: Any) -> None:
    assert order.ask(operation, payload) is None
    assert order.snapshot() == {"status": "cancelled", "data": {"why": "late"}}


def test_what_a_signal_gets(order: ActorHarness) -> None:
    order.tell("workflow_signal:cancel")
    assert order.snapshot() == {"status": "cancelled", "data": {}}
    order.tell("workflow_signal:reset", {"reason": "asked", "more": 1})
    assert order.snapshot()["status"] == "asked"
    order.tell("workflow_signal:reset")
    assert order.snapshot()["status"] == "manual"
    for payload in ({"any": "thing"}, ["list"], b"bytes", None):
        order.tell("workflow_signal:reset")
        order.tell("workflow_signal:poke", payload)
        assert order.snapshot()["status"] == "poked"


def test_one_parameter_of_a_signal_takes_what_no_name_fills() -> None:
    @workflow_actor
    class Takes:
        @signal_handler("mixed")
        def mixed(self, reason: str = "manual", data: dict | None = None) -> None:
            host.info(json.dumps([reason, data]))

        @signal_handler("named")
        def named(self, signal: str = "", name: str = "") -> None:
            host.info(json.dumps([signal, name]))

    takes = ActorHarness(Takes)
    takes.tell("workflow_signal:mixed", {"reason": "r", "x": 1})
    takes.tell("workflow_signal:mixed", {"reason": "r", "data": {"x": 2}})
    takes.tell("workflow_signal", {"signal": "named", "name": "n"})
    takes.tell("workflow_signal", {"signal": "s", "name": "named"})
    assert [json.loads(line.message) for line in takes.host.logs] == [
        ["r", {"reason": "r", "x": 1}], ["r", {"x": 2}], ["", "n"], ["s", ""],
    ]


@pytest.mark.parametrize(
    ("operation", "payload"),
    [
        ("workflow_query:status", None),
        ("workflow_query", {"name": "status"}),
        ("workflow_query", {"query": "status"}),
        ("", {"op": "workflow_query", "query": "status"}),
    ],
)
def test_the_spellings_of_a_query(order: ActorHarness, operation: str, payload: Any) -> None:
    order.ask("run", {"id": 1})
    assert order.ask(operation, payload) == {"status": "done", "data": {"id": 1}}


@pytest.mark.parametrize(
    ("operation", "payload"),
    [
        ("workflow_signal:nope", None),
        ("workflow_signal:status", None),
        ("workflow_query:cancel", None),
        ("workflow_signal", {"name": "nope"}),
        ("workflow_signal", {"name": ["cancel"]}),
        ("status", None),
        ("cancel", None),
    ],
)
def test_what_a_workflow_does_not_know(order: ActorHarness, operation: str, payload: Any) -> None:
    with pytest.raises(UnknownOperationError, match="known operations: workflow_query:status, workflow_run, workflow_signal:cancel"):
        order.ask(operation, payload)


@pytest.mark.parametrize("operation", ["workflow_query", "workflow_signal"])
@pytest.mark.parametrize("payload", [None, ["status"], {"name": ""}, {"op": "x"}])
def test_a_missing_name_is_told(order: ActorHarness, operation: str, payload: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=f"{operation}: field 'name' is missing"):
        order.ask(operation, payload)


def test_other_actors_do_not_speak_the_workflows_language() -> None:
    @actor
    class Plain:
        @handler("workflow_run")
        def run(self) -> str:
            return "mine"

    plain = ActorHarness(Plain)
    assert plain.ask("workflow_run") == "mine"
    with pytest.raises(UnknownOperationError, match="unknown operation 'run'"):
        plain.ask("run")


def test_a_query_leaves_the_state_as_it_was() -> None:
    @workflow_actor
    class Meddler:
        items: list = state(default_factory=list)
        flag: Any = state(default=1)

        @signal_handler("add")
        def add(self, item: str) -> None:
            self.items.append(item)

        @query_handler("meddle")
        def meddle(self, n: int = 0) -> dict:
            self.items.append("query")
            self.flag = True
            return {"items": self.items, "n": n}

    meddler = ActorHarness(Meddler)
    meddler.tell("workflow_signal:add", {"item": "a"})
    for n in range(2):
        assert meddler.ask("workflow_query:meddle", {"n": n}) == {"items": ["a", "query"], "n": n}
    snapshot = meddler.snapshot()
    assert snapshot["items"] == ["a"] and snapshot["flag"] is not True
    items = meddler.actor.items
    meddler.ask("workflow_signal:add", {"item": "b"})
    assert meddler.actor.items is items


# Mistakes


def _run_without_workflow() -> None:
    @actor
    class Wrong:
        @run_handler
        def run(self) -> None: ...


def _query_in_a_state_machine() -> None:
    @fsm_actor
    class Wrong:
        @query_handler("q")
        def q(self) -> None: ...


def _two_runs() -> None:
    @workflow_actor
    class Wrong:
        @run_handler
        def one(self) -> None: ...

        @run_handler
        def two(self) -> None: ...


def _unknown_initial() -> None:
    @fsm_actor(states=["a", "b"], initial="c")
    class Wrong:
        pass


def _declared_initial() -> None:
    @fsm_actor(states=["a", "b"])
    class Wrong:
        fsm_state: str = state(default="c")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (_run_without_workflow, "Wrong.run is a @run_handler, which only a @workflow_actor has"),
        (_query_in_a_state_machine, "Wrong.q is a @query_handler, which only"),
        (_two_runs, "one and two both handle 'workflow_run'"),
        (_unknown_initial, "the initial state of Wrong must be 'a' or 'b', not 'c'"),
        (_declared_initial, "must be 'a' or 'b', not 'c'"),
        (lambda: fsm_actor(states="ab"), "states must be a list of names"),
        (lambda: fsm_actor(states=[]), "states must be a list"),
        (lambda: fsm_actor(states=["a", 3]), "states must be a list"),
        (lambda: fsm_actor(states=["a"], initial=""), "initial must be the name of a state"),
        (lambda: fsm_actor(["a"]), "@fsm_actor takes keyword arguments only"),
        (lambda: event_actor()(3), "@event_actor must stand above a class"),
        (lambda: workflow_actor(facets="durability"), "must be a list"),
        (lambda: signal_handler(_two_runs), 'takes the signal\'s name: @signal_handler\\("status"\\)'),
        (lambda: query_handler(""), "the query's name is empty"),
        (lambda: run_handler(3), "@run_handler must stand directly above a method"),
        (lambda: signal_handler("x")(3), r"@signal_handler\('x'\) must stand directly above"),
    ],
)
def test_mistakes_are_told_when_the_class_is_made(wrong: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        wrong()


@pytest.mark.parametrize("decorator", [event_actor, fsm_actor, workflow_actor])
def test_the_decorators_return_the_same_class(decorator: Any) -> None:
    class Plain:
        pass

    assert decorator(Plain) is Plain
    assert decorator()(Plain) is Plain
    assert decorator(facets=["durability"])(Plain) is Plain
    assert Plain().actor_id == ""  # type: ignore[attr-defined]
    assert ActorHarness(Plain).snapshot() in ({}, {"fsm_state": ""})
