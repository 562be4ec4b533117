"""Words are counted in stages that do not know each other: each takes tuples of one shape and writes tuples of the next.

    ["text", text]  ->  Splitter  ->  ["word", word]  ->  Counter
"""

from plexspaces import actor, handler, host, init_handler, state

# A tuple whose stage fails is there again after this time.
LEASE_MS = 1_000


class Stage:
    """What the stages have in common. One message is about one tuple: what a turn takes, writes and remembers happens together."""

    takes: list = []

    @init_handler
    def setup(self, config: dict) -> None:
        """Begins to listen, and to look now and then for what has come back."""
        host.ts.subscribe(self.takes)
        host.reminder_register("look", "tuple_written", every_ms=LEASE_MS)

    @handler("tuple_written", "cast")
    def work(self) -> None:
        """Takes the oldest tuple, if there is one."""
        found, lease = host.ts.take(self.takes, lease_ms=LEASE_MS)
        if found is None:
            return
        self.process(found)
        host.ts.confirm(lease)
        # There may be more.
        host.tell(self.actor_id, "tuple_written")

    def process(self, found: list) -> None:
        """A stage's own work with one tuple."""
        raise NotImplementedError


@actor(facets=["durability"])
class Source:
    """Where texts come from."""

    @handler("put")
    def put(self, text: str) -> dict:
        """Writes a text into the space."""
        host.ts.write(["text", text])
        return {"waiting": host.ts.count(["text", None])}


@actor(facets=["durability"])
class Splitter(Stage):
    """Makes words of texts."""

    takes = ["text", None]

    def process(self, found: list) -> None:
        """Writes a tuple for each word."""
        for word in found[1].lower().split():
            host.ts.write(["word", word])


@actor(facets=["durability"])
class Counter(Stage):
    """Counts words."""

    takes = ["word", None]
    counted: dict = state(default_factory=dict)

    def process(self, found: list) -> None:
        """Counts one word."""
        self.counted[found[1]] = self.counted.get(found[1], 0) + 1

    @handler("counts")
    def counts(self) -> dict:
        """What was counted so far."""
        return {"counts": self.counted}


ACTOR_REGISTRY = {"source": Source, "splitter": Splitter, "counter": Counter}
