"""The saga and its providers without a node, under pytest."""

import pytest
from trip_saga import Provider, TripWorkflow

from plexspaces import AskTimeoutError
from plexspaces.testing import ActorHarness

TRIP = "default/tripworkflow/tripworkflow"
Travel = tuple[ActorHarness, dict[str, ActorHarness]]


@pytest.fixture
def travel() -> Travel:
    trip = ActorHarness(TripWorkflow)
    providers = {name: ActorHarness(Provider, args={"room": room}) for name, room in (("hotel", 2), ("flight", 2), ("car", 1))}
    for name, provider in providers.items():
        for operation in ("book", "cancel"):
            trip.answer(name, operation, lambda payload, p=provider, o=operation: p.ask(o, payload))
    return trip, providers


def logs(travel: Travel) -> dict[str, list[str]]:
    return {name: [line.split()[0] for line in provider.ask("log")["log"]] for name, provider in travel[1].items()}


def test_a_trip_is_booked(travel: Travel) -> None:
    trip, _ = travel
    assert trip.ask("workflow_run") == {"status": "booked", "booked": ["hotel", "flight", "car"]}
    assert logs(travel) == {"hotel": ["booked"], "flight": ["booked"], "car": ["booked"]}
    trip.replay()


def test_what_was_booked_is_cancelled_in_reverse_order(travel: Travel) -> None:
    trip, providers = travel
    providers["car"].ask("book", {"trip": "another"})
    assert trip.ask("workflow_run") == {"status": "failed", "reason": "the car is full"}
    assert logs(travel) == {"hotel": ["booked", "cancelled"], "flight": ["booked", "cancelled"], "car": ["booked"]}
    cancelled = [ask.target for ask in trip.host.asks if ask.operation == "cancel"]
    assert cancelled == ["car", "flight", "hotel"]
    assert trip.query("status") == {"status": "failed", "booked": []}
    trip.replay()


def test_a_booking_that_may_have_happened_is_cancelled(travel: Travel) -> None:
    trip, providers = travel

    def book(payload: dict) -> None:
        providers["flight"].ask("book", payload)
        raise AskTimeoutError("no reply")

    trip.answer("flight", "book", book)
    with pytest.raises(AskTimeoutError):
        trip.ask("workflow_run", {"attempts": 2})
    assert logs(travel)["flight"] == ["booked", "cancelled"]
    assert logs(travel)["hotel"] == ["booked", "cancelled"]


def test_a_cancelled_trip_is_undone(travel: Travel) -> None:
    trip, providers = travel

    def book(payload: dict) -> dict:
        trip.cancel()
        return providers["flight"].ask("book", payload)

    trip.answer("flight", "book", book)
    assert trip.ask("workflow_run") == {"status": "cancelled"}
    assert logs(travel) == {"hotel": ["booked", "cancelled"], "flight": ["booked", "cancelled"], "car": []}
