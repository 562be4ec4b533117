"""A counter: the smallest actor that keeps state."""

from plexspaces import actor, handler, state


@actor
class CounterActor:
    """Counts up and down."""

    count: int = state(default=0)

    @handler("increment")
    def increment(self, amount: int = 1) -> dict:
        """Adds to the count."""
        self.count += amount
        return {"count": self.count}

    @handler("decrement")
    def decrement(self, amount: int = 1) -> dict:
        """Takes from the count."""
        self.count -= amount
        return {"count": self.count}

    @handler("get")
    def get(self) -> dict:
        """The count."""
        return {"count": self.count}

    @handler("reset")
    def reset(self) -> dict:
        """Sets the count to zero."""
        self.count = 0
        return {"count": self.count}
