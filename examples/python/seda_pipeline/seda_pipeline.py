"""Orders in stages with a queue before each (Welsh's SEDA). A stage that is slow holds back the ones before it, and at the door too much is
refused at once instead of waiting for ever."""

from plexspaces import actor, handler, host, init_handler, state


def waiting(channel: str) -> int:
    """How many messages a channel's queue holds."""
    status = host.channel.status("", channel)
    return status.get("ready", 0) + status.get("in_flight", 0)


@actor(facets=["durability"])
class Door:
    """Lets orders in, as long as there is room in the first queue."""

    room: int = state(default=0)

    @init_handler
    def setup(self, config: dict) -> None:
        """Reads how many orders may wait."""
        self.room = int(config["args"].get("room", 10))

    @handler("order")
    def order(self, order: str, amount: int) -> dict:
        """Takes an order, or says that it is too busy."""
        if waiting("orders") >= self.room:
            return {"error": "too busy; come again later"}
        host.channel.send("", "orders", "order", {"order": order, "amount": amount})
        return {"order": order}


@actor(facets=["durability"])
class Stage:
    """Takes from one channel and sends to the next one, while there is room. One turn is one order: it is taken, sent on and acknowledged
    together."""

    done: list = state(default_factory=list)

    @init_handler
    def setup(self, config: dict) -> None:
        """Reads between which channels it stands, what it does, and how often it may."""
        args = config["args"]
        self.work, self.takes, self.gives = args["work"], args["takes"], args.get("gives", "")
        self.room = int(args.get("room", 3))
        host.reminder_register("tick", "tick", every_ms=int(args.get("every_ms", 20)))

    @handler("tick", "cast")
    def tick(self) -> None:
        """Does one order, unless the next stage is behind."""
        if self.gives and waiting(self.gives) >= self.room:
            return
        message, ok, _ = host.channel.receive("", self.takes, 0)
        if not ok:
            return
        order = STEPS[self.work](message["payload"])
        if self.gives:
            host.channel.send("", self.gives, "order", order)
        else:
            self.done.append(order)
        host.channel.ack("", self.takes, message["msg_id"])

    @handler("done")
    def get_done(self) -> dict:
        """What has come to the end, in its order."""
        return {"done": self.done}


def price(order: dict) -> dict:
    """Adds the tax."""
    return {**order, "total": order["amount"] * 119 // 100}


def pack(order: dict) -> dict:
    """Numbers the parcel."""
    return {**order, "parcel": f"parcel of {order['order']}"}


STEPS = {"price": price, "pack": pack, "ship": dict}
ACTOR_REGISTRY = {"door": Door, "stage": Stage}
