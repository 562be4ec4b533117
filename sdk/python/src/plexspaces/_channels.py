"""``host.channel``: queues, whose messages go to one consumer each, and topics, whose messages go to each subscriber."""

from __future__ import annotations

from typing import Any

from . import _service
from ._arguments import MAX_TIME, filled, lifetime, milliseconds, optional
from ._backend import current
from .errors import InvalidArgumentError, PlexSpacesError


class Subscriber:
    """A place in a channel's topic. It belongs to the actor and lasts: whoever subscribes again goes on where it was."""

    def __init__(self, channel: str, subscriber: str | None) -> None:
        self.channel = channel
        self._subscriber = subscriber

    def next(self, timeout_ms: int = 300_000) -> Any:
        """The payload of the next message. Waits for one up to ``timeout_ms`` milliseconds, then returns ``None``."""
        arguments = {"subscriber": self._subscriber, "timeout_ms": timeout_ms}
        message = _service.ask("channel_subscribe", "channels", "next", arguments, self.channel).get("message")
        return None if message is None else message.get("payload")

    def receive(self, timeout_ms: int = 300_000, *, visibility_ms: int | None = None) -> dict[str, Any] | None:
        """The next message as a dict, or ``None`` when none has come in ``timeout_ms`` milliseconds. Unless it is acknowledged within
        ``visibility_ms`` milliseconds (30 000), it is given out again: to this consumer or to another that receives at the same place. Actors
        that subscribe under one name are a group, which shares the messages. For channels in the store or in memory."""
        hidden = lifetime(visibility_ms, "visibility_ms")
        arguments = {"group": self._group("receive"), "timeout_ms": timeout_ms, "visibility_ms": hidden}
        return _service.ask("channel_subscribe", "channels", "receive", arguments, self.channel).get("message")

    def ack(self, message: dict[str, Any]) -> None:
        """A message of ``receive`` is done. This is refused once its time is over: then it may be another's."""
        self._settle("ack", message)

    def nack(self, message: dict[str, Any], requeue: bool = True) -> None:
        """A message of ``receive`` is not done: it is given out again at once, or else becomes a dead letter of the group."""
        if not isinstance(requeue, bool):
            raise InvalidArgumentError(f"requeue must be a bool, not {type(requeue).__name__}")
        self._settle("nack", message, requeue=requeue)

    def _settle(self, operation: str, message: dict[str, Any], **arguments: Any) -> None:
        if not isinstance(message, dict) or "msg_id" not in message:
            raise InvalidArgumentError(f"{operation} takes a message of receive, not {message!r}")
        given = {"group": self._group(operation), "msg_id": message["msg_id"], "receipt": message.get("receipt"), **arguments}
        _service.ask("channel_subscribe", "channels", operation, given, self.channel)

    def _group(self, function: str) -> str:
        return self._subscriber or current(function).actor_id()

    def unsubscribe(self) -> None:
        """Gives up the place."""
        _service.ask("channel_subscribe", "channels", "unsubscribe", {"subscriber": self._subscriber}, self.channel)


class Channels:
    """Delivery is at least once and in order. A scope is ``""`` or this actor's namespace."""

    def send(
        self, scope: str, channel: str, msg_type: str, payload: Any, *, delay_ms: int | None = None, msg_id: str | None = None
    ) -> str:
        """Puts a message into a channel's queue and returns its id. One that waits there already under the same ``msg_id`` is
        not sent again. Raises ``OverloadedError`` when the queue is full; not in a durable actor, where it leaves with the turn."""
        _service.check_scope("channel.send", scope)
        delay = None if delay_ms is None else milliseconds(delay_ms, "delay_ms", MAX_TIME)
        return self._put("send", channel, payload, msg_id, msg_type=filled(msg_type, "msg_type"), delay_ms=delay)

    def receive(
        self, scope: str, channel: str, timeout_ms: int = 0, *, visibility_ms: int | None = None
    ) -> tuple[dict[str, Any] | None, bool, str | None]:
        """Takes the next message of a channel's queue and returns ``(message, True, None)``, or ``(None, False, None)`` when none has come
        in ``timeout_ms`` milliseconds. An error after which one may try again is the third value; others are raised.

        A message has ``msg_id``, ``msg_type``, ``payload``, ``channel``, ``timestamp``, ``delivery_count`` and ``receipt``. Unless it is
        acknowledged within ``visibility_ms`` milliseconds (30 000), it is given out again.
        """
        _service.check_scope("channel.receive", scope)
        arguments = {"timeout_ms": timeout_ms, "visibility_ms": lifetime(visibility_ms, "visibility_ms")}
        name = filled(channel, "channel")
        try:
            message = _service.ask("channel.receive", "channels", "receive", arguments, name).get("message")
        except PlexSpacesError as error:
            if not error.retryable:
                raise
            return None, False, str(error)
        return message, message is not None, None

    def ack(self, scope: str, channel: str, msg_id: str, *, receipt: str | None = None) -> None:
        """The message is done: it will not be given out again. With the ``receipt`` of the message this is refused once its time is over:
        then it may be another's."""
        self._settle("ack", scope, channel, msg_id, receipt)

    def nack(self, scope: str, channel: str, msg_id: str, requeue: bool = True, *, receipt: str | None = None) -> None:
        """The message is not done: it is given out again at once, or else becomes a dead letter of the channel. ``receipt`` as in ``ack``."""
        if not isinstance(requeue, bool):
            raise InvalidArgumentError(f"requeue must be a bool, not {type(requeue).__name__}")
        self._settle("nack", scope, channel, msg_id, receipt, requeue=requeue)

    def status(self, scope: str, channel: str) -> dict[str, int]:
        """How much there is: ``ready``, ``delayed``, ``in_flight`` and ``dead`` in the queue, ``published`` and ``subscribers`` of the topic.
        A stage of a pipeline that looks at the next one's queue before it goes on holds back what that one could not do."""
        _service.check_scope("channel.status", scope)
        return _service.ask("channel.status", "channels", "status", {}, filled(channel, "channel"))

    def publish(self, channel: str, payload: Any, msg_type: str | None = None, *, msg_id: str | None = None) -> None:
        """Sends a message to all who subscribe to a channel."""
        self._put("publish", channel, payload, msg_id, msg_type=optional(msg_type, "msg_type"))

    def subscribe(self, channel: str, start: str = "earliest", subscriber: str | None = None) -> Subscriber:
        """Subscribes this actor to a channel: from the oldest message that is kept (``earliest``) or from now on (``latest``). One that has
        subscribed before goes on where it was. ``subscriber`` names a place that is not this actor's own."""
        if start not in ("earliest", "latest"):
            raise InvalidArgumentError(f"start must be 'earliest' or 'latest', not {start!r}")
        name, place = filled(channel, "channel"), optional(subscriber, "subscriber")
        _service.ask("channel_subscribe", "channels", "subscribe", {"subscriber": place, "from": start}, name)
        return Subscriber(name, place)

    def _put(self, operation: str, channel: str, payload: Any, msg_id: str | None, **arguments: Any) -> str:
        # Made here: the request of a durable actor leaves with its turn, and has no reply.
        made = optional(msg_id, "msg_id") or current(f"channel.{operation}").fresh_id()
        given = {"payload": {} if payload is None else payload, "msg_id": made, **arguments}
        _service.ask(f"channel.{operation}", "channels", operation, given, filled(channel, "channel"))
        return made

    def _settle(self, operation: str, scope: str, channel: str, msg_id: str, receipt: str | None, **arguments: Any) -> None:
        _service.check_scope(f"channel.{operation}", scope)
        given = {"msg_id": filled(msg_id, "msg_id"), "receipt": optional(receipt, "receipt"), **arguments}
        _service.ask(f"channel.{operation}", "channels", operation, given, filled(channel, "channel"))
