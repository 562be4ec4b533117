"""``host.process_groups``: actors under a common name, and messages to all of them."""

from __future__ import annotations

import re
from typing import Any

from . import _service
from ._arguments import filled, json_text, optional
from ._backend import current
from .errors import InvalidArgumentError, PlexSpacesError

# Two names and a key.
_IDENTITY = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]{0,127}/){2}[^/\x00-\x1f\x7f-\x9f]{1,256}")


class ProcessGroups:
    """A group begins with its first member and ends with its last. Members are in the order in which they joined; one that ends leaves."""

    def join(self, group: str, actor_id: str | None = None, topic: str | list[str] | None = None) -> None:
        """This actor, or another one by its printed identity, becomes a member; one that is a member already stays it. With ``topic``,
        one or several, it is a member for these topics only."""
        topics = [topic] if isinstance(topic, str) else topic
        if topics is not None:
            if not isinstance(topics, (list, tuple)) or not topics:
                raise InvalidArgumentError(f"topic must be a string or a list of strings, not {topics!r}")
            topics = [filled(one, "topic") for one in topics]
        self._ask("join", group, actor=_identity(actor_id), topics=topics)

    def leave(self, group: str, actor_id: str | None = None) -> None:
        """This actor, or another one by its printed identity, is a member no more."""
        self._ask("leave", group, actor=_identity(actor_id))

    def members(self, group: str, topic: str | None = None) -> list[str]:
        """The printed identities of the members, of a topic or all; none of a group that is not there."""
        return list(self._ask("members", group, topic=optional(topic, "topic")).get("members", []))

    def get_members(self, group: str, topic: str | None = None) -> list[str]:
        """The same as ``members``."""
        return self.members(group, topic)

    def publish(self, group: str, payload: Any, msg_type: str | None = None, topic: str | None = None) -> None:
        """Sends a cast to each member, of a topic or all, this actor included if it is one. It is named ``msg_type``, or else as the
        payload's ``op`` or ``action`` says, or else ``group_message``."""
        operation = optional(msg_type, "msg_type")
        if operation is None and isinstance(payload, dict):
            named = payload.get("op") or payload.get("action")
            operation = filled(named, "op") if named else None
        body = bytes(payload) if isinstance(payload, (bytes, bytearray)) else json_text({} if payload is None else payload, "payload")
        backend = current("process_groups.publish")
        # Each is told by itself: such a message of a durable actor reaches each member once.
        failed: PlexSpacesError | None = None
        for member in self.members(group, topic):
            try:
                backend.tell(member, operation or "group_message", body)
            except PlexSpacesError as error:
                # One that has no room keeps no other from being told.
                failed = failed or error
        if failed is not None:
            raise failed

    def broadcast(self, group: str, payload: Any, msg_type: str | None = None, topic: str | None = None) -> None:
        """The same as ``publish``."""
        self.publish(group, payload, msg_type, topic)

    def _ask(self, operation: str, group: str, **arguments: Any) -> dict[str, Any]:
        return _service.ask(f"process_groups.{operation}", "groups", operation, {"group": filled(group, "group"), **arguments})


def _identity(actor_id: Any) -> str | None:
    """A printed identity. A durable actor's request leaves when its turn is over: a refusal would reach nobody."""
    printed = optional(actor_id, "actor_id")
    if printed is not None and (not _IDENTITY.fullmatch(printed) or printed.split("/")[1].startswith("plexspaces.")):
        raise InvalidArgumentError(f"actor_id {printed!r} is not an actor's printed identity (namespace/type/key)")
    return printed
