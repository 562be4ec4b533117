"""The flags without a node, under pytest."""

import pytest
from feature_flags import Checkout, Flags

from plexspaces.testing import ActorHarness, World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def flags(world: World) -> ActorHarness:
    return ActorHarness(Flags, world=world)


@pytest.fixture
def checkout(world: World) -> ActorHarness:
    return ActorHarness(Checkout, world=world)


def ways(checkout: ActorHarness) -> set[str]:
    return {user for user in map(str, range(200)) if checkout.ask("pay", {"user": user})["way"] == "new"}


def test_a_flag_is_on_for_a_growing_part_of_the_users(flags: ActorHarness, checkout: ActorHarness) -> None:
    assert ways(checkout) == set()
    flags.ask("set", {"flag": "new_checkout", "percent": 25})
    some = ways(checkout)
    assert 20 < len(some) < 80
    flags.ask("set", {"flag": "new_checkout", "percent": 60})
    assert some < ways(checkout)
    flags.ask("set", {"flag": "new_checkout", "percent": 100})
    assert len(ways(checkout)) == 200
    assert flags.ask("remove", {"flag": "new_checkout"}) == {"removed": True}
    assert ways(checkout) == set()


def test_two_operators_do_not_undo_each_other(flags: ActorHarness) -> None:
    flags.ask("set", {"flag": "x", "percent": 10})
    assert flags.ask("set", {"flag": "x", "percent": 20, "expected": 10}) == {"flag": "x", "percent": 20}
    assert flags.ask("set", {"flag": "x", "percent": 5, "expected": 10}) == {"error": "x has been changed meanwhile"}
    assert flags.ask("set", {"flag": "x", "percent": 101}) == {"error": "percent must be from 0 to 100"}
    assert flags.ask("list") == {"flags": {"x": 20}}


def test_changes_are_told(flags: ActorHarness) -> None:
    version = flags.ask("changes")["version"]
    flags.ask("set", {"flag": "x", "percent": 10})
    told = flags.ask("changes", {"after": version, "timeout_ms": 1000})
    assert [(change["key"], change["value"]) for change in told["changes"]] == [("flag/x", "10")]
    assert flags.ask("changes", {"after": told["version"]})["changes"] == []
