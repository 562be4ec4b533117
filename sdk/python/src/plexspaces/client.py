"""A node's interface for plain Python programs: messages to actors, the past of durable ones, and channels. It needs nothing but the standard
library.

    from plexspaces.client import Client

    client = Client("http://localhost:8080")
    print(client.ask("bank/bank_account/alice", "deposit", {"amount": 10}))
    with client.channel_subscribe("news") as news:
        while (message := news.next(timeout_ms=300_000)) is not None:
            print(message)
    for turn in client.history("bank/bank_account/alice"):
        print(turn.turn, turn.operation, client.state("bank/bank_account/alice", turn=turn.turn).state)
"""

from __future__ import annotations

import http.client
import json
import queue
import secrets
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import datetime
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from . import _past
from ._past import Entry, State, Turn
from .errors import InvalidArgumentError, PlexSpacesError, UnavailableError, error_from

__all__ = ["Client", "Entry", "State", "Subscription", "Turn", "channel_subscribe"]

DEFAULT_URL = "http://127.0.0.1:8080"

_CONNECT_SECONDS = 10.0
# Whatever has no time of its own.
_ANSWER_SECONDS = 30.0
_TURNS_AT_ONCE = 200
# The node sends a comment every 15 seconds: a stream that is silent for longer is dead.
_SILENCE_SECONDS = 60.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 5.0
_WAITING_MESSAGES = 1000


class Client:
    """One tenant's namespace of a node. It may be used by several threads: each request has a connection of its own."""

    def __init__(
        self, url: str = DEFAULT_URL, *, token: str | None = None, tenant: str = "default", namespace: str = "default"
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidArgumentError(f"expected http://host:port or https://host:port, found {url!r}")
        self.url = url
        self.tenant = tenant
        self.namespace = namespace
        self._parts = parts
        self._headers = {} if token is None else {"authorization": f"Bearer {token}"}

    def ask(
        self, actor: str, operation: str, payload: Any = None, *, timeout_ms: int = 5000, idempotency_key: str | None = None
    ) -> Any:
        """The reply of an actor, which is named as ``type``, ``namespace/type`` or ``namespace/type/key``."""
        return self._invoke(actor, operation, payload, "call", timeout_ms, idempotency_key)

    def tell(self, actor: str, operation: str, payload: Any = None, *, idempotency_key: str | None = None) -> str:
        """Sends an actor a message that nobody waits for, and gives its id."""
        return str(self._invoke(actor, operation, payload, "cast", 5000, idempotency_key)["message_id"])

    def channel_publish(self, channel: str, payload: Any, *, msg_type: str = "", idempotency_key: str | None = None) -> str:
        """Publishes a message to a channel's topic and gives its id. With an idempotency key it is published once however often it is sent."""
        path = f"/api/v1/channels/{quote(channel, safe='')}:publish"
        body = {"tenant_id": self.tenant, "namespace": self.namespace, "payload": payload, "msg_type": msg_type}
        headers = {} if idempotency_key is None else {"idempotency-key": idempotency_key}
        return str(self._request("POST", path, body, headers, 5.0)["msg_id"])

    def channel_subscribe(self, channel: str, *, after: int | None = None) -> Subscription:
        """Subscribes to a channel's topic: from now on, or after the message at a position (0 is before all that the node keeps)."""
        query = {"tenant_id": self.tenant, "namespace": self.namespace}
        path = f"/api/v1/channels/{quote(channel, safe='')}/subscribe?{urlencode(query)}"
        return Subscription(self, path, after)

    def history(self, actor: str) -> Iterator[Turn]:
        """The turns of a durable actor, oldest first, as far back as its history is kept, with what happened in each. The node is asked for
        some of them at a time."""
        token = ""
        while True:
            page = self._journal(actor, "", {"page_size": str(_TURNS_AT_ONCE), "page_token": token})
            yield from map(_past.turn_of, page.get("turns", ()))
            token = page.get("next_page_token") or ""
            if not token:
                return

    def state(self, actor: str, *, turn: int | None = None, at: datetime | str | int | None = None) -> State:
        """The state of a durable actor: after a turn, at a time (with its time zone, in RFC 3339, or in milliseconds since 1970), or now."""
        shown = self._journal(actor, "/state", _past.moment(turn, at))
        return State(int(shown.get("turn", 0)), shown.get("state"))

    def diff(
        self, actor: str, since: int, *, turn: int | None = None, at: datetime | str | int | None = None
    ) -> list[dict[str, Any]]:
        """What has changed in an actor's state from the turn ``since`` to another, a time or now: a JSON Patch (RFC 6902)."""
        shown = self._journal(actor, "/state", {"since": str(since), **_past.moment(turn, at)})
        changes: list[dict[str, Any]] = shown.get("changes") or []
        return changes

    def fork(
        self, actor: str, new_actor_id: str, *, turn: int | None = None, entry: int | None = None, payload: Any = None
    ) -> str:
        """Makes a new actor of the same type with the state of another after a turn (the last when none is given), and gives its identity.
        With ``entry`` it begins in the middle of the turn that follows, after that entry of it, and with ``payload`` that turn is given
        another payload. Raises ``ConflictError`` when there is an actor of this name."""
        namespace, actor_type, key = self._names(actor)
        given = {"actor_id": key, "new_actor_id": new_actor_id, "turn": turn, "entry": entry, "payload": payload}
        body = {"tenant_id": self.tenant, **{name: value for name, value in given.items() if value is not None}}
        path = f"/api/v1/journals/{quote(namespace, safe='')}/{quote(actor_type, safe='')}:fork"
        return str(self._request("POST", path, body, {}, _ANSWER_SECONDS)["actor_id"])

    def export(self, actor: str) -> str:
        """The document with which ``plexspaces replay`` runs an actor's history again, with any component and without a node."""
        return str(self._journal(actor, ":export", {})["document"])

    def _journal(self, actor: str, what: str, query: dict[str, str]) -> Any:
        namespace, actor_type, key = self._names(actor)
        given = {"tenant_id": self.tenant, "actor_id": key or "", **query}
        sought = urlencode({name: value for name, value in given.items() if value})
        path = f"/api/v1/journals/{quote(namespace, safe='')}/{quote(actor_type, safe='')}{what}?{sought}"
        return self._request("GET", path, None, {}, _ANSWER_SECONDS)

    def _names(self, actor: str) -> tuple[str, str, str | None]:
        """Namespace, type and key of an actor."""
        parts = actor.split("/", 2)
        namespace, actor_type = (self.namespace, parts[0]) if len(parts) == 1 else (parts[0], parts[1])
        return namespace, actor_type, parts[2] if len(parts) == 3 else None

    def _invoke(self, actor: str, operation: str, payload: Any, invocation: str, timeout_ms: int, key: str | None) -> Any:
        namespace, actor_type, actor_id = self._names(actor)
        query = {"invocation": invocation, "msg_type": operation, "timeout_ms": str(timeout_ms)}
        if actor_id is not None:
            query["actor_id"] = actor_id
        where = "/".join(quote(part, safe="") for part in (self.tenant, namespace, actor_type))
        headers = {} if key is None else {"idempotency-key": key}
        body = {} if payload is None else payload
        return self._request("POST", f"/api/v1/actors/{where}?{urlencode(query)}", body, headers, timeout_ms / 1000)

    def _connect(self, seconds: float) -> http.client.HTTPConnection:
        host, port = str(self._parts.hostname), self._parts.port
        if self._parts.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=seconds, context=ssl.create_default_context())
        return http.client.HTTPConnection(host, port, timeout=seconds)

    def _request(self, method: str, path: str, body: Any, headers: dict[str, str], seconds: float) -> Any:
        # The node says by itself when it was too long; this is for a node that is gone.
        connection = self._connect(seconds + _CONNECT_SECONDS)
        sent = {"content-type": "application/json", **self._headers, **headers}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), sent)
            response = connection.getresponse()
            data = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise UnavailableError(f"no answer from {self.url}: {error}") from error
        finally:
            connection.close()
        if response.status >= 300:
            raise _refused(response.status, data)
        return json.loads(data)


class Subscription:
    """The messages of a channel's topic, from when it was made on. It comes back by itself when its connection breaks, and goes on where it
    stopped, as long as the node keeps the messages."""

    def __init__(self, client: Client, path: str, after: int | None) -> None:
        self._client = client
        self._path = path
        self._place = None if after is None else str(after)
        self._messages: queue.Queue[dict[str, Any] | PlexSpacesError] = queue.Queue(_WAITING_MESSAGES)
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._connection: http.client.HTTPConnection | None = None
        # With the answer the node has settled where the subscription begins.
        response = self._open()
        self._thread = threading.Thread(target=self._run, args=(response,), name="plexspaces-subscription", daemon=True)
        self._thread.start()

    def next(self, timeout_ms: int = 300_000) -> Any:
        """What the next message says; ``None`` when none came in time. With 0 it only looks."""
        message = self.next_message(timeout_ms)
        return None if message is None else message["payload"]

    def next_message(self, timeout_ms: int = 300_000) -> dict[str, Any] | None:
        """The next message with its ``msg_id``, ``msg_type``, ``payload``, ``timestamp`` and ``position``."""
        try:
            message = self._messages.get(timeout=timeout_ms / 1000) if timeout_ms > 0 else self._messages.get_nowait()
        except queue.Empty:
            return None
        if isinstance(message, PlexSpacesError):
            self._messages.put_nowait(message)  # Nothing follows it, so each later call is told as well.
            raise message
        return message

    def close(self) -> None:
        """Ends the subscription."""
        self._closed.set()
        with self._lock:
            sock = self._connection.sock if self._connection is not None else None
            if sock is not None:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # It was broken already.
        if self._thread is not threading.current_thread():
            self._thread.join()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> Iterator[Any]:
        while not self._closed.is_set():
            message = self.next_message(1000)
            if message is not None:
                yield message["payload"]

    def _open(self) -> http.client.HTTPResponse:
        connection = self._client._connect(_SILENCE_SECONDS)
        headers = {"accept": "text/event-stream", **self._client._headers}
        if self._place is not None:
            headers["last-event-id"] = self._place
        try:
            connection.request("GET", self._path, headers=headers)
            # A response without length takes the connection's socket with it, by which the subscription is closed.
            sock = connection.sock
            response = connection.getresponse()
            if response.status != 200:
                raise _refused(response.status, response.read())
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise UnavailableError(f"no answer from {self._client.url}: {error}") from error
        connection.sock = sock
        with self._lock:
            self._connection = connection
        return response

    def _run(self, response: http.client.HTTPResponse) -> None:
        pause = _FIRST_PAUSE_SECONDS
        current: http.client.HTTPResponse | None = response
        while not self._closed.is_set():
            try:
                if current is None:
                    current = self._open()
                if self._read(current):
                    pause = _FIRST_PAUSE_SECONDS
            except PlexSpacesError as error:
                if not error.retryable:
                    if current is not None:
                        current.close()
                    return self._put(error)
            except (OSError, ValueError, http.client.HTTPException):
                pass  # The connection broke.
            if current is not None:
                current.close()
            current = None
            self._closed.wait(pause * (0.75 + secrets.randbelow(500) / 1000))
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _read(self, response: http.client.HTTPResponse) -> bool:
        """Reads events until the stream ends; whether there were any."""
        found = False
        place: str | None = None
        kind = "message"
        data: list[str] = []
        for raw in response:
            line = raw.decode().rstrip("\r\n")
            if line:
                name, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if name == "id":
                    place = value
                elif name == "event":
                    kind = value
                elif name == "data":
                    data.append(value)
                continue
            if kind == "error":
                raise _refused(500, "\n".join(data).encode())
            if data:
                self._put(json.loads("\n".join(data)))
            if place is not None:
                self._place = place
            found = True
            place, kind, data = None, "message", []
        return found

    def _put(self, message: dict[str, Any] | PlexSpacesError) -> None:
        while not self._closed.is_set():
            try:
                return self._messages.put(message, timeout=0.5)
            except queue.Full:
                continue


def channel_subscribe(channel: str, url: str = DEFAULT_URL, *, after: int | None = None, **options: Any) -> Subscription:
    """Subscribes to a channel of a node as :meth:`Client.channel_subscribe` does; ``options`` are those of :class:`Client`."""
    return Client(url, **options).channel_subscribe(channel, after=after)


def _refused(status: int, body: bytes) -> PlexSpacesError:
    """The error of a response."""
    try:
        found = json.loads(body)
        return error_from(str(found["reason"]), str(found["message"]), bool(found["retryable"]))
    except (ValueError, KeyError, TypeError):
        return UnavailableError(f"the node answered with status {status}")
