"""The chat without a node, under pytest."""

import pytest
from chat_room import Guest

from plexspaces.testing import ActorHarness, World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def guests(world: World) -> list[ActorHarness]:
    guests = [ActorHarness(Guest, key=name, namespace="chat", world=world) for name in ("ann", "bob", "eve")]
    for guest in guests[:2]:
        guest.ask("join", {"room": "tea"})
    return guests


def test_all_in_a_room_hear_what_is_said(world: World, guests: list[ActorHarness]) -> None:
    ann, bob, eve = guests
    ann.ask("say", {"room": "tea", "text": "hello"})
    world.deliver()
    assert ann.ask("heard") == bob.ask("heard") == {"heard": [["tea", "ann", "hello"]]}
    assert eve.ask("heard") == {"heard": []}


def test_guests_come_and_go(guests: list[ActorHarness]) -> None:
    ann, _, eve = guests
    eve.ask("join", {"room": "tea"})
    eve.ask("join", {"room": "tea"})
    ann.ask("leave", {"room": "tea"})
    assert ann.ask("who", {"room": "tea"}) == {"guests": ["bob", "eve"]}
    assert ann.ask("who", {"room": "empty"}) == {"guests": []}


def test_one_who_is_not_in_a_room_may_speak_in_it(world: World, guests: list[ActorHarness]) -> None:
    _, bob, eve = guests
    eve.ask("say", {"room": "tea", "text": "knock"})
    world.deliver()
    assert bob.ask("heard") == {"heard": [["tea", "eve", "knock"]]}
    eve.replay()
