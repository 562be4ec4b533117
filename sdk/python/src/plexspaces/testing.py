"""Runs an actor class in a test, without a node and without WebAssembly: the same code that handles messages in a component, on a host
that lives in memory."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import quote

from . import _backend, _course
from ._decorators import Model, model_of
from ._instance import Instance, Refusal, encode_reply
from ._json import decode, encode
from ._memory.look import Look
from ._memory.world import World
from ._registry import short_name
from ._replay import Recorded, Recorder, Repeater
from ._workflow import ENDED, MIGRATE, QUERY, SIGNAL, START
from .errors import (
    ActorNotFoundError, ConflictError, DeadlockError, InvalidArgumentError, PlexSpacesError, WorkflowCancelled, WorkflowTimedOut, error_from,
)

Answer = Callable[[Any], Any] | Any
_MAX_KEY_BYTES = 512
HttpAnswer = Callable[["Fetched"], Any] | Any


class Sent(NamedTuple):
    """A message that the actor sent."""

    target: str
    operation: str
    payload: Any


class Fetched(NamedTuple):
    """An HTTP request that the actor made."""

    link: str
    method: str
    path: str
    headers: dict[str, str]
    body: str | bytes | None
    idempotency_key: str | None
    timeout_ms: int | None


class LogLine(NamedTuple):
    """A line that the actor logged."""

    level: str
    message: str


class Spawned(NamedTuple):
    """An actor that the actor started."""

    actor_type: str
    name: str
    args: dict[str, Any]


class Coming(NamedTuple):
    """A signal on its way to a run; one without an operation ends it, and its body is the error's code."""

    due_ms: int
    operation: str
    body: str


@dataclass
class Timer:
    """A timer or reminder of the actor. ``due_ms`` is its next time by the host's clock; a cron expression is not computed: ``None``."""

    id: str
    schedule: _backend.Schedule
    operation: str
    payload: Any
    durable: bool
    due_ms: int | None


class MemoryHost:
    """The host API in memory: a clock that stands still until told otherwise, a private key-value store, and records of what the actor did.

    ``alive`` holds the identities for which ``host.stop`` answers true: what the actor spawned, and what a test adds. A host that ``looks``
    changes nothing of what is shared.
    """

    def __init__(self, actor_id: str, world: World | None = None, looks: bool = False) -> None:
        self.world = world or World()
        self._looks = looks
        self.tells: list[Sent] = []
        self.asks: list[Sent] = []
        self.fetches: list[Fetched] = []
        self.logs: list[LogLine] = []
        self.monitors: dict[str, str] = {}
        self.links: set[str] = set()
        self.spawned: list[Spawned] = []
        self.stopped: list[str] = []
        self.alive: set[str] = set()
        self.timers: list[Timer] = []
        self.coming: list[Coming] = []
        self.published: str | None = None
        self._came: list[tuple[str, str | bytes]] = []
        self._numbers = itertools.count(1)
        self._actor_id = actor_id
        self._answers: dict[tuple[str, str], Answer] = {}
        self._children: dict[str, tuple[Answer, int]] = {}
        self._responses: dict[tuple[str, str, str], HttpAnswer] = {}
        self._pairs: dict[str, tuple[str, float | None]] = {}

    def answer(self, target: str, operation: str, reply: Answer) -> None:
        """Scripts the reply to ``host.ask(target, operation)``: a value, an exception to raise, or a function of the payload."""
        self._answers[target, operation] = reply

    def http_respond(self, link: str, method: str, path: str, reply: HttpAnswer) -> None:
        """See `ActorHarness.http_respond`."""
        self._responses[link, method.upper(), path] = reply

    def http_fetch(self, link: str, request: _backend.HttpRequest) -> _backend.HttpResponse:
        """See `Backend`."""
        headers = {name.lower(): value for name, value in request.headers}
        fetched = Fetched(link, request.method, request.path, headers, request.body, request.idempotency_key, request.timeout_ms)
        self.fetches.append(fetched)
        path = next((p for p in (request.path, request.path.split("?")[0]) if (link, request.method, p) in self._responses), None)
        if path is None:
            asked = f"{link!r} {request.method} {request.path}"
            raise ActorNotFoundError(f"no response is scripted for {asked}: use harness.http_respond(...)")
        reply = self._responses[link, request.method, path]
        if callable(reply) and not isinstance(reply, type):
            reply = reply(fetched)
        if isinstance(reply, BaseException):
            raise reply
        return _response(reply)

    @property
    def clock_ms(self) -> int:
        """The host's clock. It is the world's."""
        return self.world.clock_ms

    @clock_ms.setter
    def clock_ms(self, now_ms: int) -> None:
        self.world.clock_ms = now_ms

    def actor_id(self) -> str:
        """See `Backend`."""
        return self._actor_id

    def now_ms(self) -> float:
        """See `Backend`."""
        return float(self.clock_ms)

    def ask(self, target: str, operation: str, payload: str | bytes, timeout_ms: int) -> str | bytes:
        """See `Backend`."""
        value = _value(payload)
        self._hear(self.clock_ms)
        self.asks.append(Sent(target, operation, value))
        if operation.partition(":")[0] == START and target in self._children:
            return self._start(target, value)
        if (target, operation) not in self._answers:
            other = self.world.find(target, self._actor_id)
            if other is None:
                raise ActorNotFoundError(f"no answer is scripted for {target!r} {operation!r}: use harness.answer(...)")
            return encode_reply(self.world.ask(other, operation, value, self._actor_id))
        reply = self._answers[target, operation]
        if isinstance(reply, BaseException):
            raise reply
        return encode_reply(reply(value) if callable(reply) else reply)

    def child(self, target: str, outcome: Answer, after_ms: int) -> None:
        """See `ActorHarness.child`."""
        self._children[target] = (outcome, after_ms)

    def _start(self, target: str, value: Any) -> str:
        outcome, after_ms = self._children[target]
        identity = f"{self._actor_id.split('/')[0]}/{target}"
        try:
            if isinstance(outcome, BaseException):
                raise outcome
            ended = {"result": outcome(value) if callable(outcome) else outcome}
        except PlexSpacesError as error:
            ended = {"error": {"code": error.code, "message": error.message, "retryable": error.retryable}}
        self.coming.append(Coming(self.clock_ms + after_ms, ENDED, encode({"id": identity, **ended}, "result")))
        return encode({"id": identity, "ended": False}, "reply")

    def tell(self, target: str, operation: str, payload: str | bytes) -> None:
        """See `Backend`."""
        self.tells.append(Sent(target, operation, _value(payload)))
        other = self.world.find(target, self._actor_id)
        if other is not None:
            self.world.tell(other, operation, _value(payload), self._actor_id)

    def kv_get(self, key: str) -> str | None:
        """See `Backend`."""
        _check_key(key)
        value, end = self._pairs.get(key, (None, None))
        return None if end is not None and end <= self.clock_ms else value

    def kv_put(self, key: str, value: str, ttl_ms: int | None) -> None:
        """See `Backend`."""
        _check_key(key)
        if ttl_ms == 0:
            raise InvalidArgumentError("ttl_ms is 0, expected at least 1")
        self._pairs[key] = (value, None if ttl_ms is None else self.clock_ms + ttl_ms)

    def kv_delete(self, key: str) -> bool:
        """See `Backend`."""
        there = self.kv_get(key) is not None
        self._pairs.pop(key, None)
        return there

    def kv_cas(self, key: str, expected: str | None, value: str) -> bool:
        """See `Backend`."""
        same = self.kv_get(key) == expected
        if same:
            self.kv_put(key, value, None)
        return same

    def kv_list(self, prefix: str, after: str | None, limit: int) -> list[str]:
        """See `Backend`."""
        keys = sorted((key for key in self._pairs if self.kv_get(key) is not None), key=str.encode)
        return [k for k in keys if k.startswith(prefix) and (after is None or k.encode() > after.encode())][:limit]

    def log(self, level: _backend.Level, message: str) -> None:
        """See `Backend`."""
        self.logs.append(LogLine(level, message))

    def monitor(self, target: str) -> str:
        """See `Backend`."""
        reference = f"monitor-{next(self._numbers)}"
        self.monitors[reference] = target
        return reference

    def demonitor(self, monitor_ref: str) -> None:
        """See `Backend`."""
        self.monitors.pop(monitor_ref, None)

    def link(self, peer: str) -> None:
        """See `Backend`."""
        self.links.add(peer)

    def unlink(self, peer: str) -> None:
        """See `Backend`."""
        self.links.discard(peer)

    def spawn(self, actor_type: str, name: str, args: str) -> str:
        """See `Backend`."""
        key = name or f"{actor_type}-{next(self._numbers)}"
        identity = f"{self._actor_id.split('/')[0]}/{actor_type}/{key}"
        if identity in self.alive:
            raise ConflictError(f"{identity} lives already")
        self.alive.add(identity)
        self.spawned.append(Spawned(actor_type, key, decode(args)))
        return identity

    def stop(self, target: str) -> bool:
        """See `Backend`."""
        self.stopped.append(target)
        lived = target in self.alive or self.world.find(target, self._actor_id) == target
        self.world.ended(target)
        self.alive.discard(target)
        return lived

    def timer_start(self, name: str | None, schedule: _backend.Schedule, operation: str, payload: str | bytes, durable: bool) -> str:
        """See `Backend`."""
        timer_id = name or f"timer-{next(self._numbers)}"
        self.timer_cancel(timer_id, durable)
        due = self.clock_ms + schedule.value if isinstance(schedule.value, int) else None
        self.timers.append(Timer(timer_id, schedule, operation, _value(payload), durable, due))
        return timer_id

    def timer_cancel(self, timer_id: str, durable: bool) -> bool:
        """See `Backend`."""
        kept = [t for t in self.timers if (t.id, t.durable) != (timer_id, durable)]
        there = len(kept) < len(self.timers)
        self.timers = kept
        return there

    def sleep_until(self, until_ms: int) -> bool:
        """See `Backend`. The clock moves at once, as far as the first signal that comes until then."""
        self._hear(self.clock_ms)
        if self._came:
            return False
        first = min((c.due_ms for c in self.coming), default=until_ms + 1)
        if first <= until_ms:
            self.clock_ms = max(self.clock_ms, first)
            self._hear(first)
            return False
        if until_ms - self.clock_ms > _course.FOREVER_MS // 2:
            raise AssertionError("the run waits for ever: no signal is on its way. Use harness.signal(...) before, or give a timeout_ms")
        self.clock_ms = max(self.clock_ms, until_ms)
        return True

    def take_signals(self) -> list[tuple[str, str | bytes]]:
        """See `Backend`."""
        came, self._came = self._came, []
        return came

    def publish(self, state: str) -> None:
        """See `Backend`."""
        self.published = state

    def blob_put(self, name: str, content_type: str, content: str | bytes) -> _backend.BlobInfo:
        """See `Backend`."""
        return self.world.blobs.put(self._namespace(), name, content_type, content, self.clock_ms)

    def blob_get(self, name: str, offset: int, length: int | None) -> tuple[_backend.BlobInfo, str | bytes]:
        """See `Backend`."""
        return self.world.blobs.get(self._namespace(), name, offset, length)

    def blob_head(self, name: str) -> _backend.BlobInfo:
        """See `Backend`."""
        return self.world.blobs.head(self._namespace(), name)

    def blob_delete(self, name: str) -> bool:
        """See `Backend`."""
        return self.world.blobs.delete(self._namespace(), name)

    def blob_presign(self, name: str, method: str, expires_secs: int) -> str:
        """See `Backend`. The URL leads nowhere: it shows what it was made for."""
        if method == "GET":
            self.world.blobs.head(self._namespace(), name)
        until = self.clock_ms // 1000 + expires_secs
        return f"memory://{self._namespace()}/{quote(name, safe='')}?method={method}&expires={until}"

    def blob_list(self, prefix: str, after: str | None, limit: int) -> list[_backend.BlobInfo]:
        """See `Backend`."""
        return self.world.blobs.list(self._namespace(), prefix, after, limit)

    def _namespace(self) -> str:
        return self._actor_id.partition("/")[0]

    def request(self, service: str, name: str, operation: str, arguments: str) -> str:
        """See `Backend`. Whoever waits lets the time pass at once, up to what happens by itself."""
        given = decode(arguments)
        if given.get("timeout_ms"):
            self._hear(self.clock_ms)
        return self.world.request(self._actor_id, service, name, operation, given, self._looks)

    def fresh_id(self) -> str:
        """See `Backend`."""
        return f"{self._actor_id}#{next(self._numbers)}"

    def _hear(self, until_ms: int) -> None:
        """Lets signals come that are due; a cancellation is raised in the wait that hears it."""
        due = [c for c in self.coming if c.due_ms <= until_ms]
        self.coming = [c for c in self.coming if c.due_ms > until_ms]
        self._came += [(c.operation, c.body) for c in due if c.operation]
        for news in due:
            if not news.operation:
                raise error_from(news.body, f"the run was {news.body.replace('_', ' ')}", False)

    def taken(self, timer: Timer) -> Timer:
        """Lets a timer fire: one that fires once is gone, before its message is handled."""
        if timer.schedule.kind == "after":
            self.timers.remove(timer)
        elif timer.due_ms is not None and isinstance(timer.schedule.value, int):
            timer.due_ms += timer.schedule.value
        return timer

    def leave_memory(self) -> None:
        """Drops what ends with the actor's stay in memory: everything but its pairs and its reminders."""
        self.timers = [t for t in self.timers if t.durable]
        self.monitors.clear()
        self.links.clear()


class ActorHarness:
    """One actor under test.

        harness = ActorHarness(CounterActor)
        assert harness.ask("increment", {"amount": 2}) == {"count": 2}
        harness.restart()
        assert harness.ask("get") == {"count": 2}

    A message that the actor refuses raises the error that its sender would get; an exception of a handler comes out as it is.
    """

    def __init__(
        self,
        cls: type,
        *,
        args: Mapping[str, Any] | None = None,
        key: str | None = None,
        namespace: str = "default",
        config: Mapping[str, Any] | None = None,
        world: World | None = None,
    ) -> None:
        model = model_of(cls)
        if model is None:
            raise TypeError(f"{cls.__name__} has no decorator such as @actor")
        name = short_name(cls.__name__)
        self.actor_id = f"{namespace}/{name}/{key or name}"
        self.host = MemoryHost(self.actor_id, world)
        self._model: Model = model
        self._config = {
            "actor_id": self.actor_id,
            "args": {"role": name, **(args or {})},
            "role": name,
            "actor_type": name,
            "name": key or name,
            "application": namespace,
            "namespace": namespace,
            "tenant_id": "default",
            "node_id": "test",
            "behavior_kind": model.behavior,
            "labels": {},
            **(config or {}),
        }
        # Why the actor is no more, while it is not.
        self.ended: str | None = None
        self._last: Recorded | None = None
        self._running: str | None = None
        self.host.world.add(self.actor_id, self)
        self._instance = self._make()

    @property
    def actor(self) -> Any:
        """The present object of the class."""
        return self._instance.actor

    def ask(self, operation: str, payload: Any = None, sender: str = "") -> Any:
        """Sends a request and returns the reply, as it arrives after its way through JSON."""
        return _value(encode_reply(self._handle(operation, payload, sender)))

    def tell(self, operation: str, payload: Any = None, sender: str = "") -> None:
        """Sends a message whose outcome nobody waits for."""
        self._handle(operation, payload, sender)

    def snapshot(self) -> dict[str, Any]:
        """The actor's state, as it would be stored."""
        state: dict[str, Any] = decode(self._instance.snapshot())
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Lays a state over the actor's."""
        self._instance.restore(encode(dict(state), "state"))

    def restart(self) -> None:
        """Does what happens after a crash: watches, links and timers that are no reminders end; then come a new object, its init handler,
        and the state of the old one."""
        state = self._instance.snapshot()
        self.host.leave_memory()
        if self.ended is not None:
            self.ended = None
            self.host.world.add(self.actor_id, self)
        self._instance = self._make()
        self._instance.restore(state)

    def answer(self, target: str, operation: str, reply: Answer) -> None:
        """Scripts the reply to ``host.ask(target, operation)``: a value, an exception to raise, or a function of the payload."""
        self.host.answer(target, operation, reply)

    def http_respond(self, link: str, method: str, path: str, reply: HttpAnswer) -> None:
        """Scripts the response to ``host.http_fetch(link, method, path, ...)``; a path without a query stands for every query.

        The reply is a body (a ``str``, ``bytes``, or anything else as JSON), a pair of status and body, a triple of status, body and
        headers, an exception to raise, or a function of the `Fetched` request that gives one of these.
        """
        self.host.http_respond(link, method, path, reply)

    def signal(self, name: str, payload: Any = None, after_ms: int = 0) -> None:
        """Sends a signal to the run of a workflow: to the one that is under way, if the function of a scripted answer calls this, else to the
        next one. It comes at the run's next wait, or after ``after_ms`` milliseconds of the actor's clock in a sleep.

        Between two runs a signal is a message like another: ``harness.ask("workflow_signal:NAME")``.
        """
        body = encode({} if payload is None else payload, "payload")
        self.host.coming.append(Coming(self.host.clock_ms + after_ms, f"{SIGNAL}:{name}", body))

    def child(self, actor_type: str, workflow_id: str, outcome: Answer, after_ms: int = 0) -> None:
        """Scripts what becomes of a run that ``host.start_workflow`` starts: its result, a ``PlexSpacesError`` with which it fails, or a
        function of its input. Its parent hears of it ``after_ms`` milliseconds of the actor's clock after the start."""
        self.host.child(f"{actor_type}/{workflow_id}", outcome, after_ms)

    def migrate(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Lays a state over the actor's that another version of its class has kept: through its ``@migrate_handler``, if it has one. Returns
        the state that comes of it."""
        kept = json.loads(encode(dict(state), "state"))
        if MIGRATE in self._model.operations:
            with _Bound(MemoryHost(self.actor_id, World(self.host.clock_ms))):
                kept = self._make().handle(MIGRATE, kept, "")
        self.restore(kept)
        return self.snapshot()

    def cancel(self, after_ms: int = 0) -> None:
        """Cancels the run: its next wait raises ``WorkflowCancelled``, or the sleep in which ``after_ms`` milliseconds have passed."""
        self.host.coming.append(Coming(self.host.clock_ms + after_ms, "", WorkflowCancelled.default_code))

    def time_out(self, after_ms: int = 0) -> None:
        """Lets the run's deadline pass: its next wait raises ``WorkflowTimedOut``, or the sleep in which ``after_ms`` milliseconds have
        passed."""
        self.host.coming.append(Coming(self.host.clock_ms + after_ms, "", WorkflowTimedOut.default_code))

    def query(self, name: str, payload: Any = None) -> Any:
        """Asks a query; a call that would change something raises ``ConflictError`` in it. While a run is under way, in the function of a
        scripted answer, it is answered as on a node: beside the run, from the state at its last wait."""
        if self._running is None:
            return self.ask(f"{QUERY}:{name}", payload)
        beside = MemoryHost(self.actor_id, self.host.world, looks=True)
        looking = self._make(beside)
        looking.restore(self.host.published or self._running)
        with _Bound(Look(beside)):
            reply = looking.handle(f"{QUERY}:{name}", decode(encode({} if payload is None else payload, "payload")), "")
        return _value(encode_reply(reply))

    def replay(self) -> None:
        """Runs the last turn again in a new object, with what the host gave it, as a node does after a crash. Raises
        ``NonDeterministicError`` with both sides when it does not do the same: calls other functions of the host or calls them with other
        arguments, or ends otherwise. The numbers of ``random`` repeat, as on a node."""
        last = self._last
        if last is None:
            raise ValueError("there is no turn to run again: nothing was handled yet")
        instance = self._make(MemoryHost(self.actor_id, World(last.clock_ms)))
        instance.restore(last.state)
        repeater = Repeater(last, self.actor_id)
        before = random.getstate()
        random.setstate(last.random_state)
        try:
            with _Bound(repeater):
                reply = instance.handle(last.operation, last.payload, last.sender)
            outcome = _outcome(reply, instance)
        except Exception as error:
            outcome = _outcome(error, instance)
        finally:
            random.setstate(before)
        repeater.end(outcome)

    def advance(self, milliseconds: int) -> None:
        """Moves the actor's clock, and delivers on the way what its timers and reminders send, each at its time. Those with a cron
        expression wait for `fire`."""
        end = self.host.clock_ms + milliseconds
        while due := [t for t in self.host.timers if t.due_ms is not None and t.due_ms <= end]:
            timer = min(due, key=lambda t: t.due_ms or 0)  # of equals the one that was started first
            self.host.clock_ms = max(self.host.clock_ms, timer.due_ms or 0)
            self._fire(timer)
        self.host.clock_ms = end

    def fire(self, timer_id: str) -> None:
        """Delivers now what a timer or reminder sends."""
        timer = next((t for t in self.host.timers if t.id == timer_id), None)
        if timer is None:
            raise ValueError(f"there is no timer {timer_id!r}; there are: {', '.join(t.id for t in self.host.timers) or 'none'}")
        self._fire(timer)

    def down(self, monitor_ref: str, reason: str = "error") -> None:
        """Ends an actor that this one watches: delivers ``__DOWN__``, and the watch is over."""
        if monitor_ref not in self.host.monitors:
            raise ValueError(f"there is no watch {monitor_ref!r}; there are: {', '.join(self.host.monitors) or 'none'}")
        target = self.host.monitors.pop(monitor_ref)
        self.host.alive.discard(target)
        self.tell("__DOWN__", {"monitor_ref": monitor_ref, "down_from": target, "down_reason": reason})

    def exit(self, peer: str, reason: str = "error") -> None:
        """Ends a linked actor abnormally: delivers ``__EXIT__``, and the link is over. An actor without a handler for it ends with the
        same reason: ``ended`` holds it, and whatever is sent to the actor raises ``ActorNotFoundError`` until ``restart``."""
        if reason.split(":")[0] in ("normal", "shutdown"):
            raise ValueError(f"a link tells of abnormal ends only, not of {reason!r}")
        if peer not in self.host.links:
            raise ValueError(f"there is no link to {peer!r}; there are: {', '.join(sorted(self.host.links)) or 'none'}")
        self.host.links.discard(peer)
        self.host.alive.discard(peer)
        if self._instance.hears("__EXIT__"):
            self.tell("__EXIT__", {"exit_from": peer, "exit_reason": reason})
        else:
            self.ended = reason
            self.host.leave_memory()
            self.host.world.ended(self.actor_id)

    def _fire(self, timer: Timer) -> None:
        timer = self.host.taken(timer)
        self.tell(timer.operation, timer.payload, self.actor_id)

    def _make(self, host: MemoryHost | None = None) -> Instance:
        with _Bound(host or self.host):
            # A copy: an init handler may change what it is given, and the next one must not see that.
            return Instance(self._model, self.actor_id, json.loads(json.dumps(self._config)))

    def _handle(self, operation: str, payload: Any, sender: str) -> Any:
        if self.ended is not None:
            raise ActorNotFoundError(f"{self.actor_id} has ended: {self.ended}")
        if self._running is not None:
            raise DeadlockError(f"{self.actor_id} is in the middle of a message")
        body = payload if isinstance(payload, bytes) else decode(encode({} if payload is None else payload, "payload"))
        state = self._instance.snapshot()
        # The actor may change what it is given.
        turn = Recorded(operation, json.loads(json.dumps(body)) if not isinstance(body, bytes) else body, sender, state, self.host.clock_ms)
        self._running, self.host.published = state, None
        try:
            host = Look(self.host) if self._instance.looks(operation, body) else self.host
            with _Bound(Recorder(host, turn)):
                reply = self._instance.handle(operation, body, sender)
            turn.outcome, self._last = _outcome(reply, self._instance), turn
            return reply
        except Refusal as refusal:
            raise error_from(refusal.code, refusal.message, False) from None
        except Exception as error:
            turn.outcome, self._last = _outcome(error, self._instance), turn
            raise
        finally:
            self._running = None


class _Bound:
    """Makes host calls go to one harness while its actor runs, so that several can be used side by side."""

    def __init__(self, host: Any) -> None:
        self._host: _backend.Backend = host
        self._before: _backend.Backend | None = None
        self._course: _course.Course | None = None

    def __enter__(self) -> None:
        self._before = _backend.use(self._host)
        self._course = _course.enter(None)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        _backend.use(self._before)
        _course.enter(self._course)


def _check_key(key: str) -> None:
    size = len(key.encode())
    if not 1 <= size <= _MAX_KEY_BYTES:
        raise InvalidArgumentError(f"a key has {size} bytes, expected 1 to {_MAX_KEY_BYTES}")


def _outcome(reply: Any, instance: Instance) -> str:
    """How a turn ended, for comparing."""
    if isinstance(reply, Exception):
        return f"the exception {type(reply).__name__}: {reply}"
    try:
        return f"the reply {encode_reply(reply)!r} and the state {instance.snapshot()}"
    except Exception as error:
        return f"a reply or a state that cannot be stored: {error}"


def _response(reply: Any) -> _backend.HttpResponse:
    status, body, headers = 200, reply, {}
    if isinstance(reply, tuple):
        status, body, headers = (*reply, {})[:3]
    given = {name.lower(): value for name, value in headers.items()}
    if body is None:
        body = ""
    elif not isinstance(body, (str, bytes)):
        body = encode(body, "the response's body")
        given = {"content-type": "application/json", **given}
    if isinstance(body, bytes):
        try:
            body = body.decode()
        except UnicodeDecodeError:
            pass  # bytes stay bytes, as from a node
    return _backend.HttpResponse(status, list(given.items()), body)


def _value(body: str | bytes) -> Any:
    return decode(body) if isinstance(body, str) else body
