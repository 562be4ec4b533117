"""A trip of three bookings at three places, all or none: what was booked is cancelled when a later booking fails."""

from plexspaces import (
    Saga,
    WorkflowCancelled,
    actor,
    handler,
    host,
    init_handler,
    query_handler,
    run_handler,
    state,
    workflow_actor,
)


class Full(Exception):
    """A provider has nothing left."""


@workflow_actor(facets=["durability"])
class TripWorkflow:
    """One trip. Its key is the trip's number."""

    status: str = state(default="new")
    booked: list = state(default_factory=list)

    @run_handler
    def run(self, input_data: dict) -> dict:
        """Books in order; the reply says what came of it."""
        try:
            with Saga() as saga:
                for provider in input_data.get("providers", ["hotel", "flight", "car"]):
                    self._book(saga, provider, input_data.get("attempts", 3))
                self.status = "booked"
                return {"status": self.status, "booked": self.booked}
        except Full as error:
            self.status = "failed"
            return {"status": self.status, "reason": str(error)}
        except WorkflowCancelled:
            self.status = "cancelled"
            return {"status": self.status}

    @query_handler("status")
    def get_status(self) -> dict:
        """How far the trip is."""
        return {"status": self.status, "booked": self.booked}

    def _book(self, saga: Saga, provider: str, attempts: int) -> None:
        trip = {"trip": self.actor_id}
        self.status = f"booking {provider}"
        # Before the step: one whose answer does not come may have happened all the same.
        saga.add(self._cancel, provider, trip)
        answer = host.retry(host.ask, provider, "book", trip, attempts=attempts)
        if not answer["booked"]:
            raise Full(f"the {provider} is full")
        self.booked.append(provider)

    def _cancel(self, provider: str, trip: dict) -> None:
        self.status = f"cancelling {provider}"
        host.ask(provider, "cancel", trip)
        if provider in self.booked:
            self.booked.remove(provider)


@actor(facets=["durability"])
class Provider:
    """Something to book. To book and to cancel twice is the same as once."""

    room: int = state(default=10)
    trips: list = state(default_factory=list)
    log: list = state(default_factory=list)

    @init_handler
    def setup(self, config: dict) -> None:
        """Reads how much there is."""
        self.room = int(config["args"].get("room", self.room))

    @handler("book")
    def book(self, trip: str) -> dict:
        """Books, if there is room."""
        if trip not in self.trips:
            if len(self.trips) >= self.room:
                return {"booked": False}
            self.trips.append(trip)
            self.log.append(f"booked {trip}")
        return {"booked": True}

    @handler("cancel")
    def cancel(self, trip: str) -> dict:
        """Cancels, if it was booked."""
        there = trip in self.trips
        if there:
            self.trips.remove(trip)
            self.log.append(f"cancelled {trip}")
        return {"cancelled": there}

    @handler("log")
    def get_log(self) -> dict:
        """What was booked and cancelled, in order."""
        return {"log": self.log}


ACTOR_REGISTRY = {"trip": TripWorkflow, "provider": Provider}
