"""The example's actor without a node, under pytest."""

from counter import CounterActor

from plexspaces.testing import ActorHarness


def test_it_counts() -> None:
    counter = ActorHarness(CounterActor)
    assert counter.ask("increment") == {"count": 1}
    assert counter.ask("increment", {"amount": 5}) == {"count": 6}
    assert counter.ask("decrement", {"amount": 2}) == {"count": 4}
    assert counter.ask("get") == {"count": 4}
    assert counter.ask("reset") == {"count": 0}


def test_the_count_survives_a_restart() -> None:
    counter = ActorHarness(CounterActor)
    counter.ask("increment", {"amount": 7})
    counter.restart()
    assert counter.ask("get") == {"count": 7}


def test_the_class_works_by_itself() -> None:
    counter = CounterActor()
    assert counter.increment(amount=2) == {"count": 2}
