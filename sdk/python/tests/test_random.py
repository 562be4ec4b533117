"""The generator behind ``random`` in a component."""

import os
import random
from collections.abc import Iterator

import pytest

from plexspaces import _random


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Puts it behind ``random``, as a component does. What it is given is how often the host was asked for a number."""
    asked: list[int] = []

    def urandom(size: int) -> bytes:
        asked.append(size)
        return len(asked).to_bytes(size)

    monkeypatch.setattr(os, "urandom", urandom)
    before = {name: value for name, value in vars(random).items() if getattr(value, "__self__", None) is random._inst}
    for name in ("_inst", *before):
        monkeypatch.setattr(random, name, getattr(random, name))
    _random.install()
    _random.begin_turn()
    yield asked


def test_a_turn_that_draws_nothing_costs_nothing(turns: list[int]) -> None:
    _random.begin_turn()
    assert not turns


def test_each_turn_draws_other_numbers_and_asks_the_host_once(turns: list[int]) -> None:
    drawn = []
    for _ in range(3):
        _random.begin_turn()
        drawn.append([random.random(), random.randint(1, 1000), random.choice(range(1000)), random.gauss(0, 1), random.getrandbits(64)])
    assert len({number for numbers in drawn for number in numbers}) > 10
    assert turns == [8, 8, 8]


@pytest.mark.parametrize("draw", ["random", "randbytes", "shuffle", "gauss", "getstate", "sample", "uniform", "normalvariate"])
def test_every_way_to_draw_begins_the_turn(turns: list[int], draw: str) -> None:
    arguments = {"randbytes": (4,), "shuffle": ([1, 2],), "gauss": (0, 1), "sample": (range(9), 3), "uniform": (0, 1), "normalvariate": (0, 1)}
    getattr(random, draw)(*arguments.get(draw, ()))
    assert turns == [8]


def test_the_second_number_of_a_pair_is_not_left_to_the_next_turn(turns: list[int]) -> None:
    random.gauss(0, 1)
    _random.begin_turn()
    turns.clear()
    first = random.gauss(0, 1)
    assert turns == [8]
    random.seed(1)
    random.gauss(0, 1)
    _random.begin_turn()
    turns.clear()
    assert random.gauss(0, 1) == first


def test_who_chooses_a_seed_or_a_state_gets_its_numbers(turns: list[int]) -> None:
    expected = random.Random(7).random()
    random.seed(7)
    assert random.random() == expected
    state = random.Random(7).getstate()
    _random.begin_turn()
    random.setstate(state)
    assert random.random() == expected
    assert not turns
