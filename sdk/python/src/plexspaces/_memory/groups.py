"""Process groups in memory."""

from __future__ import annotations

from typing import Any

from .service import Service, page


class Groups(Service):
    """The groups of a namespace: of each the members in their order, with their topics; ``None`` stands for all topics."""

    looks = frozenset({"members", "list"})
    operations = frozenset({"join", "leave", "members", "publish", "list"})

    def __init__(self, name: str, tell: Any) -> None:
        super().__init__(name, tell)
        self._groups: dict[str, dict[str, list[str] | None]] = {}

    def join(self, group: str, actor: str | None = None, topics: list[str] | None = None) -> Any:
        self._groups.setdefault(group, {})[actor or self.caller] = topics or None
        return {}

    def leave(self, group: str, actor: str | None = None) -> Any:
        members = self._groups.get(group, {})
        members.pop(actor or self.caller, None)
        if not members:
            self._groups.pop(group, None)
        return {}

    def members(self, group: str, topic: str | None = None) -> Any:
        members = self._groups.get(group, {}).items()
        return {"members": [actor for actor, topics in members if topic is None or topics is None or topic in topics]}

    def publish(self, group: str, operation: str, payload: Any, topic: str | None = None) -> Any:
        for member in self.members(group, topic)["members"]:
            self.tell(member, operation, payload)
        return {}

    def ended(self, actor: str) -> None:
        """An actor that ends leaves its groups."""
        for group in list(self._groups):
            self.leave(group, actor)

    def list(self, prefix: str = "", after: str | None = None, limit: int | None = None) -> Any:
        found, after = page(sorted(group for group in self._groups if group.startswith(prefix)), lambda group: group, after, limit)
        return {"groups": [{"group": group, "members": len(self._groups[group])} for group in found], "next": after}
