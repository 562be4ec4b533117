"""The example's actor without a node, under pytest."""

import pytest
from bank_account import BankAccount

from plexspaces.testing import ActorHarness


def test_money_goes_in_and_out() -> None:
    account = ActorHarness(BankAccount)
    assert account.ask("deposit", {"amount": 100}) == {"balance": 100}
    assert account.ask("withdraw", {"amount": 30}) == {"balance": 70}
    assert account.ask("balance") == {"balance": 70}
    assert account.ask("get") == {"balance": 70, "transaction_count": 2}
    history = account.ask("history")
    assert [(t["type"], t["amount"]) for t in history["transactions"]] == [("deposit", 100), ("withdraw", -30)]


def test_nobody_gets_more_than_there_is() -> None:
    account = ActorHarness(BankAccount)
    account.ask("deposit", {"amount": 10})
    assert account.ask("withdraw", {"amount": 11}) == {"error": "insufficient funds", "balance": 10, "requested": 11}
    assert account.ask("get") == {"balance": 10, "transaction_count": 1}


@pytest.mark.parametrize("amount", [0, -1, "10", True, None])
def test_only_amounts_above_zero_count(amount: object) -> None:
    account = ActorHarness(BankAccount)
    assert "error" in account.ask("deposit", {"amount": amount})
    assert "error" in account.ask("withdraw", {"amount": amount})
    assert account.ask("get") == {"balance": 0, "transaction_count": 0}


def test_the_log_accounts_for_the_balance_after_a_restart() -> None:
    account = ActorHarness(BankAccount)
    account.ask("deposit", {"amount": 50})
    account.ask("withdraw", {"amount": 20})
    account.restart()
    assert account.ask("replay") == {"balance": 30, "replayed": 30, "consistent": True}
