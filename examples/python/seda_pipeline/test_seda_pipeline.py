"""The pipeline without a node, under pytest."""

import json

import pytest
from seda_pipeline import Door, Stage

from plexspaces.testing import ActorHarness, World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def door(world: World) -> ActorHarness:
    return ActorHarness(Door, world=world, args={"room": 5})


@pytest.fixture
def stages(world: World) -> list[ActorHarness]:
    channels = ["orders", "priced", "packed", ""]
    return [
        ActorHarness(Stage, key=work, world=world, args={"work": work, "takes": takes, "gives": gives, "room": 3})
        for work, takes, gives in zip(["price", "pack", "ship"], channels, channels[1:])
    ]


def waiting(world: World) -> list[int]:
    texts = (world.request("default/test/test", "channels", name, "status", {}) for name in ("orders", "priced", "packed"))
    return [json.loads(text)["ready"] for text in texts]


def test_orders_pass_all_stages_in_their_order(door: ActorHarness, stages: list[ActorHarness]) -> None:
    for order in ("a", "b"):
        assert door.ask("order", {"order": order, "amount": 100}) == {"order": order}
    for stage in stages * 2:
        stage.tell("tick")
    assert stages[-1].ask("done")["done"] == [
        {"order": order, "amount": 100, "total": 119, "parcel": f"parcel of {order}"} for order in ("a", "b")
    ]


def test_a_stage_that_stands_still_holds_back_those_before_it(world: World, door: ActorHarness, stages: list[ActorHarness]) -> None:
    taken = 0
    for number in range(30):
        taken += "order" in door.ask("order", {"order": str(number), "amount": 1})
        for stage in stages[:2]:
            stage.tell("tick")
    assert waiting(world) == [5, 3, 3] and taken == 11
    assert door.ask("order", {"order": "one too many", "amount": 1}) == {"error": "too busy; come again later"}
    for stage in reversed(stages):
        stage.tell("tick")
    assert waiting(world) == [4, 3, 3]
    stages[0].replay()
