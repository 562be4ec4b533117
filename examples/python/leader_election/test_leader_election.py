"""The election without a node, under pytest."""

import pytest
from leader_election import Candidate, Ledger

from plexspaces.testing import ActorHarness, World


@pytest.fixture
def candidates() -> list[ActorHarness]:
    world = World()
    ActorHarness(Ledger, world=world)
    return [ActorHarness(Candidate, key=key, world=world) for key in ("one", "two")]


def leads(candidate: ActorHarness) -> bool:
    candidate.tell("try_to_lead")
    return bool(candidate.ask("status")["leads"])


def test_one_leads_for_as_long_as_it_renews(candidates: list[ActorHarness]) -> None:
    one, two = candidates
    assert leads(one) and not leads(two)
    for _ in range(10):
        one.advance(10_000)
        assert not leads(two) and one.ask("status") == {"leads": True}


def test_what_a_former_leader_writes_is_refused(candidates: list[ActorHarness]) -> None:
    one, two = candidates
    assert leads(one)
    assert one.ask("write", {"text": "a"}) == {"lines": 1}
    one.ask("pause")
    two.host.clock_ms += 30_000
    assert leads(two)
    assert two.ask("write", {"text": "b"}) == {"lines": 2}
    assert one.ask("write", {"text": "too late"}) == {"error": "a later leader has written already"}
    one.ask("pause", {"paused": False})
    assert not leads(one)
    assert one.ask("write", {"text": "too late"}) == {"error": "this candidate does not lead"}
