"""A counter: the smallest actor with a state."""

from plexspaces import actor, handler, state


@actor
class CounterActor:
    """Counts."""

    count: int = state(default=0)

    @handler("increment")
    def increment(self, amount: int = 1) -> dict:
        """Count up."""
        self.count += amount
        return {"count": self.count}

    @handler("decrement")
    def decrement(self, amount: int = 1) -> dict:
        """Count down."""
        self.count -= amount
        return {"count": self.count}

    @handler("get")
    def get(self) -> dict:
        """Return the count."""
        return {"count": self.count}

    @handler("reset")
    def reset(self) -> dict:
        """Start again at zero."""
        self.count = 0
        return {"count": self.count}
