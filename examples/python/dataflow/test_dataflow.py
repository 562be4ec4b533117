"""The stages without a node, under pytest."""

import pytest
from dataflow import LEASE_MS, Counter, Source, Splitter

from plexspaces.testing import ActorHarness, World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def source(world: World) -> ActorHarness:
    return ActorHarness(Source, world=world)


def test_words_are_counted(world: World, source: ActorHarness) -> None:
    ActorHarness(Splitter, world=world)
    counter = ActorHarness(Counter, world=world)
    for text in ("to be or not to be", "To see"):
        source.ask("put", {"text": text})
    world.deliver()
    assert counter.ask("counts") == {"counts": {"to": 3, "be": 2, "or": 1, "not": 1, "see": 1}}
    assert source.ask("put", {"text": ""}) == {"waiting": 1}


def test_a_stage_may_come_later_than_its_tuples(world: World, source: ActorHarness) -> None:
    source.ask("put", {"text": "a b a"})
    splitter, counter = ActorHarness(Splitter, world=world), ActorHarness(Counter, world=world)
    splitter.advance(LEASE_MS)
    world.deliver()
    assert counter.ask("counts") == {"counts": {"a": 2, "b": 1}}


def test_the_tuple_of_a_stage_that_fails_is_there_again(world: World, source: ActorHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    splitter = ActorHarness(Splitter, world=world)
    source.ask("put", {"text": "a b"})
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(Splitter, "process", lambda *_: 1 / 0)
        world.deliver()
    assert source.ask("put", {"text": "c"}) == {"waiting": 1}
    splitter.advance(LEASE_MS)
    world.deliver()
    assert source.ask("put", {"text": ""}) == {"waiting": 1}
    splitter.replay()
