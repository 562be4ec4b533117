"""An order as a workflow: it is paid, waits for its parcel for as long as it takes, and can be cancelled until it is shipped."""

from plexspaces import actor, handler, host, init_handler, query_handler, run_handler, signal_handler, state, workflow_actor


@workflow_actor(facets=["durability"])
class OrderWorkflow:
    """One order. Its key is the order's number."""

    status: str = state(default="new")
    parcel: str = state(default="")
    cancelled: str = state(default="")

    @run_handler
    def run(self, input_data: dict) -> dict:
        """From the order to its end; the crash of a node is no end."""
        order = self.actor_id.rsplit("/", 1)[-1]
        self.status = "paying"
        # The order's number makes a second attempt harmless: the payment's actor knows it.
        payment = host.retry(host.ask, "payments", "charge", {"order": order, "amount": input_data["amount"]}, attempts=5)
        if "error" in payment:
            self.status = "refused"
            return self._result()
        self.status = "waiting for shipment"
        host.tell("warehouse", "pack", {"order": order, "workflow": self.actor_id})
        while not (self.parcel or self.cancelled):
            if host.wait_for_signal(timeout_ms=input_data.get("patience_ms", 7 * 24 * 60 * 60 * 1000)) is None:
                self.cancelled = "it was not shipped in time"
        if not self.parcel:
            self.status = "refunding"
            host.tell("warehouse", "stop", {"order": order})
            host.retry(host.ask, "payments", "refund", {"order": order}, attempts=5)
        self.status = "shipped" if self.parcel else "cancelled"
        return self._result()

    @signal_handler("shipped")
    def shipped(self, parcel: str) -> None:
        """The parcel has left the warehouse."""
        self.parcel = parcel

    @signal_handler("cancel")
    def cancel(self, reason: str = "the customer's wish") -> None:
        """The customer does not want it any more. After the shipment it is too late."""
        self.cancelled = reason

    @query_handler("status")
    def get_status(self) -> dict:
        """How far the order is, also while it waits."""
        return self._result()

    def _result(self) -> dict:
        return {"status": self.status, "parcel": self.parcel, "cancelled": "" if self.parcel else self.cancelled}


@actor(facets=["durability"])
class Payments:
    """Charges and refunds, each once for an order."""

    charged: dict = state(default_factory=dict)
    refunded: dict = state(default_factory=dict)

    @handler("charge")
    def charge(self, order: str, amount: float) -> dict:
        """Takes money for an order."""
        if amount <= 0:
            return {"error": "the amount must be above zero"}
        self.charged.setdefault(order, amount)
        return {"charged": self.charged[order]}

    @handler("refund")
    def refund(self, order: str) -> dict:
        """Gives an order's money back."""
        if order in self.charged:
            self.refunded.setdefault(order, self.charged[order])
        return {"refunded": self.refunded.get(order, 0)}

    @handler("ledger")
    def ledger(self) -> dict:
        """All that was charged and refunded."""
        return {"charged": self.charged, "refunded": self.refunded}


@actor(facets=["durability"])
class Warehouse:
    """Packs parcels; each takes its time, and says when it has left."""

    packing_ms: int = state(default=2_000)
    parcels: dict = state(default_factory=dict)

    @init_handler
    def setup(self, config: dict) -> None:
        """Reads how long packing takes."""
        self.packing_ms = int(config["args"].get("packing_ms", self.packing_ms))

    @handler("pack", "cast")
    def pack(self, order: str, workflow: str) -> None:
        """Begins to pack an order."""
        host.reminder_register(f"pack-{order}", "packed", {"order": order, "workflow": workflow}, after_ms=self.packing_ms)

    @handler("stop", "cast")
    def stop(self, order: str) -> None:
        """Packs it no more."""
        host.reminder_unregister(f"pack-{order}")

    @handler("packed", "cast")
    def packed(self, order: str, workflow: str) -> None:
        """A parcel leaves: its order is told."""
        parcel = self.parcels.setdefault(order, f"parcel-{len(self.parcels) + 1}")
        host.tell(workflow, "workflow_signal:shipped", {"parcel": parcel})


ACTOR_REGISTRY = {"order": OrderWorkflow, "payments": Payments, "warehouse": Warehouse}
