"""The order and its partners without a node, under pytest."""

import pytest
from order_workflow import OrderWorkflow, Payments, Warehouse

from plexspaces import UnavailableError
from plexspaces.testing import ActorHarness

HOUR = 60 * 60 * 1000


@pytest.fixture
def payments() -> ActorHarness:
    return ActorHarness(Payments)


@pytest.fixture
def order(payments: ActorHarness) -> ActorHarness:
    order = ActorHarness(OrderWorkflow, key="o-1")
    for operation in ("charge", "refund"):
        order.answer("payments", operation, lambda payload, operation=operation: payments.ask(operation, payload))
    return order


def test_an_order_is_paid_and_shipped(order: ActorHarness, payments: ActorHarness) -> None:
    order.signal("shipped", {"parcel": "p-1"}, after_ms=5 * HOUR)
    assert order.ask("workflow_run", {"amount": 25}) == {"status": "shipped", "parcel": "p-1", "cancelled": ""}
    assert payments.ask("ledger") == {"charged": {"o-1": 25}, "refunded": {}}
    assert [(sent.target, sent.operation) for sent in order.host.tells] == [("warehouse", "pack")]
    order.replay()


def test_a_cancelled_order_is_refunded(order: ActorHarness, payments: ActorHarness) -> None:
    order.signal("cancel", {"reason": "cheaper elsewhere"}, after_ms=HOUR)
    assert order.ask("workflow_run", {"amount": 25}) == {"status": "cancelled", "parcel": "", "cancelled": "cheaper elsewhere"}
    assert payments.ask("ledger") == {"charged": {"o-1": 25}, "refunded": {"o-1": 25}}
    assert [(sent.target, sent.operation) for sent in order.host.tells] == [("warehouse", "pack"), ("warehouse", "stop")]
    order.replay()


def test_nobody_waits_for_ever(order: ActorHarness) -> None:
    ended = order.ask("workflow_run", {"amount": 25, "patience_ms": HOUR})
    assert ended == {"status": "cancelled", "parcel": "", "cancelled": "it was not shipped in time"}


def test_a_payment_is_tried_again(order: ActorHarness, payments: ActorHarness) -> None:
    answers = iter([UnavailableError("restarting"), None])

    def charge(payload: dict) -> dict:
        error = next(answers)
        if error is not None:
            raise error
        return payments.ask("charge", payload)

    order.answer("payments", "charge", charge)
    order.signal("shipped", {"parcel": "p-1"})
    assert order.ask("workflow_run", {"amount": 25})["status"] == "shipped"


def test_a_refused_payment_ends_the_order(order: ActorHarness) -> None:
    assert order.ask("workflow_run", {"amount": -1})["status"] == "refused"
    assert order.host.tells == []


def test_the_status_is_known_while_it_is_paid(order: ActorHarness) -> None:
    seen = []
    order.answer("payments", "charge", lambda payload: seen.append(order.query("status")["status"]) or {"error": "no"})
    order.ask("workflow_run", {"amount": 25})
    assert seen == ["paying"]


def test_the_warehouse_packs_unless_it_is_stopped() -> None:
    warehouse = ActorHarness(Warehouse, args={"packing_ms": "500"})
    for number in (1, 2):
        warehouse.tell("pack", {"order": f"o-{number}", "workflow": f"shop/order/o-{number}"})
    warehouse.tell("stop", {"order": "o-1"})
    warehouse.restart()
    warehouse.advance(499)
    assert warehouse.host.tells == []
    warehouse.advance(1)
    assert warehouse.host.tells == [("shop/order/o-2", "workflow_signal:shipped", {"parcel": "parcel-1"})]
