"""What the host API stands on: the component's imports inside a node, memory in a test. It is found anew at every call, because a module
binds ``host`` long before an actor runs."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

from .errors import OutsideActorError

Level = Literal["debug", "info", "warn", "error"]


class Schedule(NamedTuple):
    """When a timer fires: ``after`` or ``every`` so many milliseconds, or at the times of a ``cron`` expression."""

    kind: Literal["after", "every", "cron"]
    value: int | str


class HttpRequest(NamedTuple):
    """A request over a service link."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: str | bytes | None
    timeout_ms: int | None
    idempotency_key: str | None


class HttpResponse(NamedTuple):
    """What came back; the body is text when it is UTF-8."""

    status: int
    headers: list[tuple[str, str]]
    body: str | bytes


class BlobInfo(NamedTuple):
    """What the name of a blob stands for."""

    name: str
    size: int
    sha256: str
    content_type: str
    created_ms: int


class Backend(Protocol):
    """The imports of the world `actor`. JSON travels as ``str``, anything else as ``bytes``; errors are ``PlexSpacesError``."""

    def actor_id(self) -> str: ...
    def now_ms(self) -> float: ...
    def ask(self, target: str, operation: str, payload: str | bytes, timeout_ms: int) -> str | bytes: ...
    def tell(self, target: str, operation: str, payload: str | bytes) -> None: ...
    def kv_get(self, key: str) -> str | None: ...
    def kv_put(self, key: str, value: str, ttl_ms: int | None) -> None: ...
    def kv_delete(self, key: str) -> bool: ...
    def kv_cas(self, key: str, expected: str | None, value: str) -> bool: ...
    def kv_list(self, prefix: str, after: str | None, limit: int) -> list[str]: ...
    def log(self, level: Level, message: str) -> None: ...
    def monitor(self, target: str) -> str: ...
    def demonitor(self, monitor_ref: str) -> None: ...
    def link(self, peer: str) -> None: ...
    def unlink(self, peer: str) -> None: ...
    def spawn(self, actor_type: str, name: str, args: str) -> str: ...
    def stop(self, target: str) -> bool: ...
    def timer_start(self, name: str | None, schedule: Schedule, operation: str, payload: str | bytes, durable: bool) -> str: ...
    def timer_cancel(self, timer_id: str, durable: bool) -> bool: ...
    def http_fetch(self, link: str, request: HttpRequest) -> HttpResponse: ...
    def sleep_until(self, until_ms: int) -> bool: ...
    def take_signals(self) -> list[tuple[str, str | bytes]]: ...
    def publish(self, state: str) -> None: ...
    def blob_put(self, name: str, content_type: str, content: str | bytes) -> BlobInfo: ...
    def blob_get(self, name: str, offset: int, length: int | None) -> tuple[BlobInfo, str | bytes]: ...
    def blob_head(self, name: str) -> BlobInfo: ...
    def blob_delete(self, name: str) -> bool: ...
    def blob_presign(self, name: str, method: str, expires_secs: int) -> str: ...
    def blob_list(self, prefix: str, after: str | None, limit: int) -> list[BlobInfo]: ...
    def request(self, service: str, name: str, operation: str, arguments: str) -> str: ...
    def fresh_id(self) -> str: ...


_current: Backend | None = None


def use(backend: Backend | None) -> Backend | None:
    """Makes all host calls go to a backend; returns the one before."""
    global _current
    before, _current = _current, backend
    return before


def current(function: str) -> Backend:
    """The backend that serves ``function`` now."""
    if _current is None:
        raise OutsideActorError(
            f"host.{function}() was called where no actor runs. At module level there is no host: the module is loaded while the "
            "component is built. In a test use plexspaces.testing.ActorHarness"
        )
    return _current
