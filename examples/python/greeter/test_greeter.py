"""The example's actor without a node, under pytest."""

import pytest
from greeter import GreeterActor

from plexspaces import InvalidArgumentError
from plexspaces.testing import ActorHarness


def test_it_greets_and_counts() -> None:
    greeter = ActorHarness(GreeterActor)
    assert greeter.ask("greet", {"name": "Ada"}) == {"message": "Hello, Ada!", "total": 1}
    greeter.restart()
    assert greeter.ask("greet", {"name": "Zoë"}) == {"message": "Hello, Zoë!", "total": 2}


def test_a_missing_name_is_refused_and_not_counted() -> None:
    greeter = ActorHarness(GreeterActor)
    with pytest.raises(InvalidArgumentError, match="'name' is missing"):
        greeter.ask("greet", {})
    assert greeter.snapshot() == {"total": 0}
