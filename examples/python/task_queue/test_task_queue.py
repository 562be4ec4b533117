"""The queue and its workers without a node, under pytest."""

import pytest
from task_queue import Accounts, Worker

from plexspaces.testing import ActorHarness, World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def accounts(world: World) -> ActorHarness:
    return ActorHarness(Accounts, world=world)


@pytest.fixture
def worker(world: World) -> ActorHarness:
    return ActorHarness(Worker, key="one", world=world)


def submit(accounts: ActorHarness, *amounts: int) -> None:
    for amount in amounts:
        accounts.ask("submit", {"account": "ann", "amount": amount})


def test_tasks_are_worked_off(accounts: ActorHarness, worker: ActorHarness) -> None:
    submit(accounts, 1, 2, 3)
    worker.tell("work")
    assert accounts.ask("balances") == {"balances": {"ann": 6}} and worker.ask("worked") == {"worked": 3}


def test_the_task_of_a_worker_that_dies_is_done_by_another(world: World, accounts: ActorHarness, worker: ActorHarness) -> None:
    other = ActorHarness(Worker, key="other", world=world)
    submit(accounts, 5)
    with pytest.raises(RuntimeError, match="died with the task"):
        worker.ask("take_and_die")
    other.tell("work")
    assert other.ask("worked") == {"worked": 0}
    other.tell("work", {"wait_ms": 5_000})
    assert accounts.ask("balances") == {"balances": {"ann": 5}}


def test_a_task_that_comes_twice_is_done_once(accounts: ActorHarness) -> None:
    task = {"task": "t-1", "account": "ann", "amount": 5}
    assert accounts.ask("deposit", task) == accounts.ask("deposit", task) == {"balance": 5}


def test_an_account_is_worked_on_by_one(world: World, accounts: ActorHarness, worker: ActorHarness) -> None:
    lock = {"key": "account:ann", "ttl_ms": 60_000}
    world.request("default/worker/other", "locks", "default", "acquire", lock)
    submit(accounts, 5)
    worker.tell("work")
    assert accounts.ask("balances") == {"balances": {}}
    world.clock_ms += 60_000
    worker.tell("work")
    assert accounts.ask("balances") == {"balances": {"ann": 5}}
