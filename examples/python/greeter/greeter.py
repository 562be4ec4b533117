"""A greeter: handlers take their arguments by name."""

from plexspaces import actor, handler, state


@actor
class GreeterActor:
    """Greets, and counts whom it greeted."""

    total: int = state(default=0)

    @handler("greet")
    def greet(self, name: str = "World") -> dict:
        """Greet somebody."""
        self.total += 1
        return {"message": f"Hello, {name}!", "total": self.total}

    @handler("get")
    def get(self) -> dict:
        """Return how many were greeted."""
        return {"total": self.total}
