"""A channel in memory."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import ConflictError, InvalidArgumentError, OverloadedError
from .service import Service, page, soonest

_MOST_WAITING = 100_000
_MOST_KEPT = 10_000
_KEPT_MS = 7 * 24 * 60 * 60 * 1000
_MOST_DELIVERIES = 10


@dataclass
class Message:
    """A message of the queue or the topic; ``due_ms`` is when it may be given out."""

    number: int
    msg_id: str
    msg_type: str
    payload: Any
    timestamp: int
    due_ms: int = 0
    delivery_count: int = 0
    in_flight: bool = False


@dataclass
class Queue:
    """What waits or is in hand, and what is dead."""

    messages: list[Message] = field(default_factory=list)
    dead: list[Message] = field(default_factory=list)


class Channel(Service):
    """One channel: a queue and a topic, with a queue of its own for each group of consumers of the topic."""

    looks = frozenset({"status", "dead_letters"})
    waits = {"receive": "message", "next": "message"}
    operations = frozenset(
        "send receive ack nack publish subscribe next unsubscribe status dead_letters redrive".split()
    )

    def __init__(self, name: str, tell: Any) -> None:
        super().__init__(name, tell)
        self._numbers = 0
        self._queue = Queue()
        self._groups: dict[str, Queue] = {}
        self._topic: list[Message] = []
        # Of each subscriber the number of the last message that it was given.
        self._places: dict[str, int] = {}

    def due_ms(self) -> int | None:
        return soonest(*(message.due_ms for queue in self._queues() for message in queue.messages if message.due_ms > self.now_ms))

    def happen(self) -> None:
        for queue in self._queues():
            for message in [m for m in queue.messages if m.in_flight and m.due_ms <= self.now_ms]:
                self._return(queue, message)
        self._topic = [m for m in self._topic if m.timestamp + _KEPT_MS > self.now_ms][-_MOST_KEPT:]

    def send(self, payload: Any, msg_type: str = "", msg_id: str | None = None, delay_ms: int = 0) -> Any:
        if len(self._queue.messages) >= _MOST_WAITING:
            raise OverloadedError(f"the channel {self.name!r} holds {_MOST_WAITING} messages")
        message = self._made(payload, msg_type, msg_id)
        if message.msg_id not in (m.msg_id for m in self._queue.messages):
            message.due_ms = self.now_ms + delay_ms
            self._queue.messages.append(message)
        return {"msg_id": message.msg_id}

    def receive(self, visibility_ms: int = 30_000, group: str | None = None) -> Any:
        queue = self._groups.setdefault(group, Queue()) if group else self._queue
        message = self._ready(queue)
        while message is None and group:
            place = self._places.setdefault(group, 0)
            published = next((m for m in self._topic if m.number > place), None)
            if published is None:
                break
            self._places[group] = published.number
            if published.msg_id not in (m.msg_id for m in queue.messages):
                message = replace(published)
                queue.messages.append(message)
        if message is None:
            return {"message": None}
        message.in_flight, message.due_ms = True, self.now_ms + visibility_ms
        message.delivery_count += 1
        return {"message": {**self._shown(message), "receipt": self._receipt(message)}}

    def ack(self, msg_id: str, receipt: str | None = None, group: str | None = None) -> Any:
        queue = self._of(group)
        for message in self._given(queue, msg_id, receipt):
            queue.messages.remove(message)
        return {}

    def nack(self, msg_id: str, requeue: bool = True, receipt: str | None = None, group: str | None = None) -> Any:
        queue = self._of(group)
        for message in self._given(queue, msg_id, receipt):
            self._return(queue, message, requeue)
        return {}

    def publish(self, payload: Any, msg_type: str = "", msg_id: str | None = None) -> Any:
        message = self._made(payload, msg_type, msg_id)
        self._topic.append(message)
        return {"msg_id": message.msg_id}

    def subscribe(self, subscriber: str | None = None, from_: str = "earliest") -> Any:
        if from_ not in ("earliest", "latest"):
            raise InvalidArgumentError(f"from must be earliest or latest, not {from_!r}")
        self._places.setdefault(subscriber or self.caller, self._numbers if from_ == "latest" else 0)
        return {}

    def next(self, subscriber: str | None = None) -> Any:
        place = self._places.setdefault(subscriber or self.caller, 0)
        message = next((m for m in self._topic if m.number > place), None)
        if message is None:
            return {"message": None}
        self._places[subscriber or self.caller] = message.number
        return {"message": {**self._shown(message), "delivery_count": 1}}

    def unsubscribe(self, subscriber: str | None = None) -> Any:
        self._places.pop(subscriber or self.caller, None)
        self._groups.pop(subscriber or self.caller, None)
        return {}

    def status(self, group: str | None = None) -> Any:
        queue = self._of(group)
        in_flight = sum(m.in_flight for m in queue.messages)
        delayed = sum(not m.in_flight and m.due_ms > self.now_ms for m in queue.messages)
        status = {
            "ready": len(queue.messages) - in_flight - delayed, "delayed": delayed, "in_flight": in_flight, "dead": len(queue.dead),
            "published": len(self._topic), "subscribers": len(self._places),
        }
        if group:
            status["behind"] = sum(m.number > self._places.get(group, 0) for m in self._topic)
        return status

    def dead_letters(self, after: str | None = None, limit: int | None = None, group: str | None = None) -> Any:
        found, last = page(self._of(group).dead, lambda m: m.number, None if after is None else int(after), limit)
        return {"messages": [self._shown(message) for message in found], "next": None if last is None else str(last)}

    def redrive(self, msg_ids: list[str] | None = None, group: str | None = None) -> Any:
        queue = self._of(group)
        again = [m for m in queue.dead if msg_ids is None or m.msg_id in msg_ids]
        queue.dead = [m for m in queue.dead if m not in again]
        for message in again:
            message.delivery_count = 0
        queue.messages = sorted(queue.messages + again, key=lambda m: m.number)
        return {"redriven": len(again)}

    def _queues(self) -> list[Queue]:
        return [self._queue, *self._groups.values()]

    def _of(self, group: str | None) -> Queue:
        """The queue of a group, which is empty where nobody has received for it, or the channel's."""
        return self._groups.get(group, Queue()) if group else self._queue

    def _ready(self, queue: Queue) -> Message | None:
        return next((m for m in queue.messages if not m.in_flight and m.due_ms <= self.now_ms), None)

    def _receipt(self, message: Message) -> str | None:
        return f"{message.delivery_count}-{message.due_ms}" if message.in_flight else None

    def _given(self, queue: Queue, msg_id: str, receipt: str | None) -> list[Message]:
        """The message of an id, which somebody was given and, with a receipt, still has; none when it is done."""
        found = [message for message in queue.messages if message.msg_id == msg_id]
        if any(not message.delivery_count for message in found):
            raise ConflictError(f"the message {msg_id!r} was not given to anybody yet")
        if receipt is not None and any(self._receipt(message) != receipt for message in found):
            raise ConflictError(f"the receipt of the message {msg_id!r} does not hold any more")
        return found

    def _return(self, queue: Queue, message: Message, requeue: bool = True) -> None:
        """A message that was given out and not acknowledged."""
        message.in_flight, message.due_ms = False, self.now_ms
        if not requeue or message.delivery_count >= _MOST_DELIVERIES:
            queue.messages.remove(message)
            queue.dead.append(message)

    def _made(self, payload: Any, msg_type: str, msg_id: str | None) -> Message:
        self._numbers += 1
        return Message(self._numbers, msg_id or f"message-{self._numbers}", msg_type, payload, self.now_ms)

    def _shown(self, message: Message) -> dict[str, Any]:
        return {
            "msg_id": message.msg_id, "msg_type": message.msg_type, "payload": message.payload, "channel": self.name,
            "timestamp": message.timestamp, "delivery_count": message.delivery_count,
        }
