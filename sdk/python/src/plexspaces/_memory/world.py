"""What the actors of a test share: a clock, the services of a namespace, and each other."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple, Protocol

from .._json import decode, encode
from ..errors import ActorNotFoundError, InvalidArgumentError
from . import SERVICES
from .blobs import Blobs
from .groups import Groups
from .service import Service

# Messages after which actors that keep telling each other something are taken to never end.
_MOST_MESSAGES = 100_000


class Receiver(Protocol):
    """A harness, as the others see it."""

    def ask(self, operation: str, payload: Any = None, sender: str = "") -> Any: ...
    def tell(self, operation: str, payload: Any = None, sender: str = "") -> None: ...


class Letter(NamedTuple):
    """A message on its way to another harness."""

    target: str
    operation: str
    payload: Any
    sender: str


class World:
    """Give one to several harnesses: they have the same clock and the same services, can ask each other, and what one tells another is
    delivered by ``deliver``.

        world = World()
        producer, consumer = ActorHarness(Producer, world=world), ActorHarness(Consumer, world=world)
    """

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self.clock_ms = now_ms
        self._actors: dict[str, Receiver] = {}
        self._letters: deque[Letter] = deque()
        self.blobs = Blobs()
        self._services: dict[tuple[str, str, str], Service] = {}

    def deliver(self) -> int:
        """Delivers what the actors of this world have told each other, and what services have told them, until nothing is left; returns how
        many messages it were. An exception of a handler comes out."""
        delivered = 0
        while self._letters:
            letter = self._letters.popleft()
            actor = self._actors.get(letter.target)
            if actor is not None:
                actor.tell(letter.operation, letter.payload, letter.sender)
            delivered += 1
            if delivered == _MOST_MESSAGES:
                raise AssertionError(f"the actors tell each other something without end; the last was {letter}")
        return delivered

    def add(self, actor_id: str, actor: Receiver) -> None:
        """Makes an actor known."""
        self._actors[actor_id] = actor

    def find(self, target: str, asker: str) -> str | None:
        """The identity of an actor of this world that a target means: an identity; in the asker's namespace a key, a type, or else a name of
        the registry."""
        found = self._own(target, asker)
        if found is not None:
            return found
        entry = decode(self.request(asker, "registry", "default", "lookup", {"name": target}))["entry"]
        return None if entry is None else self._own(entry["target"], asker)

    def _own(self, target: str, asker: str) -> str | None:
        if target in self._actors:
            return target
        near = [known.split("/") for known in self._actors if known.startswith(asker.split("/")[0] + "/")]
        found = [parts for parts in near if parts[2] == target] or [parts for parts in near if parts[1] == target]
        return "/".join(found[0]) if found else None

    def ask(self, target: str, operation: str, payload: Any, sender: str) -> Any:
        """Asks an actor that ``find`` has found."""
        return self._actors[target].ask(operation, payload, sender)

    def tell(self, target: str, operation: str, payload: Any, sender: str = "") -> None:
        """Posts a message; ``deliver`` brings it."""
        self._letters.append(Letter(target, operation, payload, sender))

    def ended(self, actor_id: str) -> None:
        """An actor has ended: it leaves its groups and gets no messages any more."""
        self._actors.pop(actor_id, None)
        for service in self._services.values():
            if isinstance(service, Groups):
                service.ended(actor_id)

    def request(self, caller: str, service: str, name: str, operation: str, arguments: dict[str, Any], looks: bool = False) -> str:
        """Serves a request of an actor; with ``looks`` nothing changes. Whoever waits lets the time pass."""
        kind = SERVICES.get(service)
        if kind is None:
            raise ActorNotFoundError(f"there is no service {service!r}; there are: {', '.join(SERVICES)}")
        if name != "default" and service != "channels":
            raise InvalidArgumentError(f"there is one {service} service for each namespace, named 'default', not {name!r}")
        if looks and operation not in kind.looks:
            return "{}"
        place = (caller.split("/")[0], service, name)
        found = self._services.setdefault(place, kind(name, self.tell))
        return encode(found.handle(operation, arguments, caller, self._pass_time, lambda: self.clock_ms), "reply")

    def _pass_time(self, until_ms: int) -> None:
        self.clock_ms = max(self.clock_ms, until_ms)
