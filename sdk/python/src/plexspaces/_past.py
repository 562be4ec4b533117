"""What a node tells of a durable actor's past."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, NamedTuple

from .errors import InvalidArgumentError


class Entry(NamedTuple):
    """One call of the host in a turn, or one signal. ``entry`` is its place in the turn, as ``Client.fork`` takes it; ``failure`` is what the
    code was given instead of ``result``."""

    entry: int
    what: str
    happened_at: str | None
    result: Any
    failure: str | None


class Turn(NamedTuple):
    """One turn of a durable actor. ``operation`` is ``None`` where the node only kept a state, ``ended_at`` while the turn is under way;
    a turn with a ``failure`` was rolled back. Times are RFC 3339."""

    turn: int
    operation: str | None
    payload: Any
    sender: str | None
    started_at: str | None
    ended_at: str | None
    failure: str | None
    state_kept: bool
    entries: tuple[Entry, ...]


class State(NamedTuple):
    """A state, and the turn that left it; 0 for the state before the first."""

    turn: int
    state: Any


def turn_of(found: dict[str, Any]) -> Turn:
    """A turn as the node writes it."""
    entries = tuple(
        Entry(entry.get("entry", 0), entry["what"], entry.get("happened_at"), entry.get("result"), entry.get("failure"))
        for entry in found.get("entries", ())
    )
    return Turn(
        turn=int(found["turn"]),
        operation=found.get("operation"),
        payload=found.get("payload"),
        sender=found.get("sender"),
        started_at=found.get("started_at"),
        ended_at=found.get("ended_at"),
        failure=found.get("failure"),
        state_kept=bool(found.get("state_kept", False)),
        entries=entries,
    )


def moment(turn: int | None, at: datetime | str | int | None) -> dict[str, str]:
    """Which state is meant, as the node is asked for it: that after a turn, that at a time, or the last one."""
    if turn is not None and at is not None:
        raise InvalidArgumentError("give turn or at, not both")
    if turn is not None:
        return {"turn": str(turn)}
    if at is None:
        return {}
    if isinstance(at, datetime):
        if at.tzinfo is None:
            raise InvalidArgumentError("at has no time zone, such as datetime.now(timezone.utc) has")
        at = at.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
    elif isinstance(at, int):
        at = datetime.fromtimestamp(at / 1000, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"state_at": at}
