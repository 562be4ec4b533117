"""What an actor can reach: other actors, its private key-value pairs, its clock and the node's log."""

from __future__ import annotations

from typing import Any

from . import _unavailable
from ._backend import Level, current
from ._json import NotJson, decode, encode, printable
from .errors import InternalError, InvalidArgumentError

_MAX_U32 = 2**32 - 1
_PAGE = 1000


class KeyValue:
    """``host.kv``: pairs that are private to this actor. In a durable actor they commit with the turn."""

    def get(self, key: str) -> str | None:
        """The value, or ``None`` when there is none."""
        return current("kv_get").kv_get(_text(key, "key"))

    def put(self, key: str, value: Any, ttl_ms: int | None = None) -> None:
        """Writes a pair. A value that is no string is kept as its JSON text. ``ttl_ms`` limits its life."""
        life = None if ttl_ms is None else _milliseconds(ttl_ms, "ttl_ms")
        current("kv_put").kv_put(_text(key, "key"), _value(value), life)

    def delete(self, key: str) -> bool:
        """Removes a pair; true when it was there."""
        return current("kv_delete").kv_delete(_text(key, "key"))

    def exists(self, key: str) -> bool:
        """Whether there is a value."""
        return current("kv_exists").kv_get(_text(key, "key")) is not None

    def list(self, prefix: str = "") -> list[str]:
        """The keys that begin with ``prefix``, in byte order."""
        backend, keys = current("kv_list"), []
        page = backend.kv_list(_text(prefix, "prefix"), None, _PAGE)
        while page:
            keys += page
            page = backend.kv_list(prefix, page[-1], _PAGE) if len(page) == _PAGE else []
        return keys

    def cas(self, key: str, expected: Any, value: Any) -> bool:
        """Writes ``value`` if the present value is ``expected`` (``None``: there is none); true when it was written."""
        wanted = None if expected is None else _value(expected)
        return current("kv_cas").kv_cas(_text(key, "key"), wanted, _value(value))


class Host(_unavailable.Methods):
    """The host API. There is one object of it: ``host``."""

    kv = KeyValue()
    ts = _unavailable.ts
    process_groups = _unavailable.process_groups
    channel = _unavailable.channel
    shared_kv = _unavailable.shared_kv

    def ask(self, target: str, op: str | dict[str, Any], payload: Any = None, timeout_ms: int = 5000) -> Any:
        """Sends a request and returns the reply. ``ask(target, {"op": ...})`` takes the operation from the payload.

        Raises a ``PlexSpacesError``: ``AskTimeoutError`` after ``timeout_ms``, ``ActorNotFoundError``, ``HandlerFailedError`` and others.
        """
        operation, body = _request(op, payload)
        reply = current("ask").ask(_text(target, "target"), operation, body, _milliseconds(timeout_ms, "timeout_ms"))
        if isinstance(reply, bytes):
            return reply
        try:
            return decode(reply)
        except ValueError as error:
            raise InternalError(f"the reply of {target} to {operation!r} is not JSON: {error}", retryable=False) from None

    def tell(self, target: str, op: str | dict[str, Any], payload: Any = None) -> None:
        """Sends a message without waiting for its outcome. In a durable actor it leaves when the turn has committed."""
        operation, body = _request(op, payload)
        current("tell").tell(_text(target, "target"), operation, body)

    def send(self, target: str, op: str | dict[str, Any], payload: Any = None) -> None:
        """The same as ``tell``."""
        operation, body = _request(op, payload)
        current("send").tell(_text(target, "target"), operation, body)

    def get_actor_id(self) -> str:
        """This actor's printed identity, ``namespace/type/key``."""
        return current("get_actor_id").actor_id()

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch, by the host's clock."""
        return int(current("now_ms").now_ms())

    def kv_get(self, key: str) -> str | None:
        """``host.kv.get``."""
        return self.kv.get(key)

    def kv_put(self, key: str, value: Any, ttl_ms: int | None = None) -> None:
        """``host.kv.put``."""
        self.kv.put(key, value, ttl_ms)

    def kv_delete(self, key: str) -> bool:
        """``host.kv.delete``."""
        return self.kv.delete(key)

    def kv_exists(self, key: str) -> bool:
        """``host.kv.exists``."""
        return self.kv.exists(key)

    def kv_list(self, prefix: str = "") -> list[str]:
        """``host.kv.list``."""
        return self.kv.list(prefix)

    def kv_cas(self, key: str, expected: Any, value: Any) -> bool:
        """``host.kv.cas``."""
        return self.kv.cas(key, expected, value)

    def debug(self, message: object) -> None:
        """Writes a line to the node's log."""
        _log("debug", message)

    def info(self, message: object) -> None:
        """Writes a line to the node's log."""
        _log("info", message)

    def warn(self, message: object) -> None:
        """Writes a line to the node's log."""
        _log("warn", message)

    def error(self, message: object) -> None:
        """Writes a line to the node's log."""
        _log("error", message)


def _log(level: Level, message: object) -> None:
    current(level).log(level, printable(str(message)))


def _request(op: Any, payload: Any) -> tuple[str, str | bytes]:
    if isinstance(op, dict):
        if payload is not None:
            raise InvalidArgumentError("give the payload once: either (target, op, payload) or (target, payload)")
        payload = op
        op = payload.get("op") or payload.get("action")
        if not op:
            raise InvalidArgumentError("the payload names no operation: it needs 'op' or 'action'")
    operation = _text(op, "op")
    if not operation:
        raise InvalidArgumentError("op is empty")
    if isinstance(payload, (bytes, bytearray)):
        return operation, bytes(payload)
    return operation, _json({} if payload is None else payload, "payload")


def _json(value: Any, what: str) -> str:
    try:
        return encode(value, what)
    except NotJson as error:
        raise InvalidArgumentError(str(error)) from None


def _value(value: Any) -> str:
    return _text(value, "value") if isinstance(value, str) else _json(value, "value")


def _text(value: Any, what: str) -> str:
    """What is no text, or has no UTF-8 form, would trap on its way out of the component."""
    if not isinstance(value, str):
        raise InvalidArgumentError(f"{what} must be a string, not {type(value).__name__}")
    if not value.isascii() and printable(value) != value:
        raise InvalidArgumentError(f"{what} has characters without a UTF-8 form")
    return value


def _milliseconds(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _MAX_U32:
        raise InvalidArgumentError(f"{what} must be a number of milliseconds from 0 to {_MAX_U32}, not {value!r}")
    return int(value)


host = Host()
