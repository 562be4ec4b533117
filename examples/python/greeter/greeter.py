"""A greeter: an argument by name, and state that counts."""

from plexspaces import actor, handler, state


@actor
class GreeterActor:
    """Greets by name and counts the greetings."""

    total: int = state(default=0)

    @handler("greet")
    def greet(self, name: str) -> dict:
        """Greets somebody."""
        self.total += 1
        return {"message": f"Hello, {name}!", "total": self.total}
