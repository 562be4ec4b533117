"""What an actor can reach: other actors and their lives, itself later, its private key-value pairs, its clock and the node's log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from . import _course, _http, _steps, _unavailable
from ._backend import Level, Schedule, current
from ._child import Child
from ._json import NotJson, decode, encode, printable
from ._workflow import START
from .errors import ConflictError, InternalError, InvalidArgumentError, PlexSpacesError

T = TypeVar("T")
_MAX_U32 = 2**32 - 1
# The largest whole number that JSON keeps exactly everywhere.
_MAX_TIME = 2**53 - 1
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
        name, limit = _text(target, "target"), _milliseconds(timeout_ms, "timeout_ms")
        reply = _course.waiting(lambda: current("ask").ask(name, operation, body, limit))
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

    def sleep(self, ms: int) -> None:
        """Waits ``ms`` milliseconds, be it for days. A durable actor sleeps on through failures and restarts of the node; a workflow that
        sleeps long leaves memory meanwhile. Signals that come are handled while it sleeps.

        Raises ``WorkflowCancelled``. Only a workflow should sleep for long: while another actor sleeps, its messages wait, and its turn may
        not take longer than any other.
        """
        backend = current("sleep")
        duration = _milliseconds(ms, "ms", _course.FOREVER_MS)
        until = int(backend.now_ms()) + duration
        while not _course.slept("sleep", until):
            pass

    def wait_for_signal(self, name: str | None = None, timeout_ms: int | None = None) -> Any:
        """Waits in a workflow for the signal ``name``, or for any, and returns its payload (``{}`` for a signal without one). Each signal of
        this turn is returned once, the oldest first, also one that came before; its ``@signal_handler``, if there is one, has run as well.

        Returns ``None`` when ``timeout_ms`` milliseconds have passed; without it, waits as long as it takes. Raises ``WorkflowCancelled``.
        """
        backend, course = current("wait_for_signal"), _course.present()
        if course is None:
            raise ConflictError("host.wait_for_signal() is for workflows: signals come to a run, a signal handler or a handler of one")
        wanted = None if name is None else _text(name, "name")
        limit = None if timeout_ms is None else _milliseconds(timeout_ms, "timeout_ms", _course.FOREVER_MS)
        until = int(backend.now_ms()) + (_course.FOREVER_MS if limit is None else limit)
        while True:
            signal = course.take(wanted)
            if signal is not None:
                return {} if signal.payload is None else signal.payload
            if _course.slept("wait_for_signal", until):
                if limit is not None:
                    return None
                until += _course.FOREVER_MS

    def start_workflow(self, actor_type: str, workflow_id: str, input_data: Any = None, timeout_ms: int = 30_000) -> Child:
        """Starts a run of a durable workflow under an id, and returns when it is certain to be carried out; ``timeout_ms`` limits that. The
        same id with the same input is the same run for 24 hours, whoever starts it and also through crashes; with another input it is a
        ``ConflictError``. ``Child.result`` waits for its end.

            children = [host.start_workflow("shipment", f"{order}-{n}", {"parcel": n}) for n in range(2)]
            return {"parcels": [child.result() for child in children]}
        """
        course = _course.present()
        if course is not None and course.looks:
            raise ConflictError("a query may not start anything")
        target = f"{_text(actor_type, 'actor_type')}/{_text(workflow_id, 'workflow_id')}"
        body = _json({} if input_data is None else input_data, "input_data")
        limit = _milliseconds(timeout_ms, "timeout_ms")
        reply = _course.waiting(lambda: current("start_workflow").ask(target, START, body, limit))
        begun = decode(reply if isinstance(reply, str) else reply.decode())
        if course is not None:
            course.started(begun["id"], begun if begun["ended"] else None)
        return Child(begun["id"], workflow_id, lambda ms: _milliseconds(ms, "timeout_ms", _course.FOREVER_MS))

    def checkpoint(self) -> None:
        """Makes last what this turn has done so far: its messages leave, and it will not be done again after a crash. In a workflow
        queries see the present state from here on, and signals that came are handled. Every wait does the same by itself.

        The state is kept when the turn ends; until then it comes back by doing the turn again. Raises ``WorkflowCancelled``.
        """
        until = int(current("checkpoint").now_ms())
        while not _course.slept("checkpoint", until):
            pass

    def retry(
        self,
        fn: Callable[..., T],
        *args: Any,
        attempts: int = 3,
        initial_ms: int = 100,
        factor: float = 2.0,
        max_ms: int = 10_000,
        jitter: float = 0.25,
        retry_on: tuple[type[Exception], ...] = (PlexSpacesError,),
        no_retry_on: tuple[type[Exception], ...] = (),
        **kwargs: Any,
    ) -> T:
        """Calls ``fn(*args, **kwargs)`` until it returns, at most ``attempts`` times, and returns what it returns. Between two attempts it
        sleeps as ``sleep`` does: ``initial_ms`` milliseconds, then each time ``factor`` times longer, but not longer than ``max_ms``, and each
        time by up to the part ``jitter`` more or less, so that many that failed together do not come back together.

        An exception that is not of ``retry_on`` or is of ``no_retry_on``, a ``PlexSpacesError`` that is not ``retryable``, ``WorkflowCancelled`` and the last
        attempt's exception are raised. Each attempt is a request of its own: one that timed out may have happened all the same.

            host.retry(host.ask, "payments", "charge", {"order": order, "amount": 10}, attempts=5)
        """
        pauses = _milliseconds(initial_ms, "initial_ms"), factor, _milliseconds(max_ms, "max_ms"), jitter
        policy = _steps.Policy(attempts, *pauses, retry_on, no_retry_on)
        return _steps.attempt(lambda: fn(*args, **kwargs), policy, self.sleep)

    def monitor(self, actor_id: str) -> str:
        """Watches an actor and returns the watch's reference. At its end, whatever the reason, this actor receives the cast ``__DOWN__``
        once with ``monitor_ref``, ``down_from`` and ``down_reason``; at once, with the reason ``noproc``, when there is no such actor."""
        return current("monitor").monitor(_text(actor_id, "actor_id"))

    def demonitor(self, monitor_ref: str) -> None:
        """Ends a watch. An unknown reference, or one that has fired, is no error."""
        current("demonitor").demonitor(_text(monitor_ref, "monitor_ref"))

    def link(self, peer_id: str) -> None:
        """Ties this actor and another: when one ends abnormally, the other receives the cast ``__EXIT__`` with ``exit_from`` and
        ``exit_reason``; without a handler for it, it ends with the same reason."""
        current("link").link(_text(peer_id, "peer_id"))

    def unlink(self, peer_id: str) -> None:
        """Unties them. Without a link it does nothing."""
        current("unlink").unlink(_text(peer_id, "peer_id"))

    def spawn(self, actor_type: str, name: str = "", args: dict[str, Any] | None = None) -> str:
        """Starts an actor of a type of this application under the key ``name`` (generated when it is empty) and returns its printed
        identity when its init handler has run. Raises ``ConflictError`` when the name lives already."""
        if args is not None and not isinstance(args, dict):
            raise InvalidArgumentError(f"args must be a dict, not {type(args).__name__}")
        return current("spawn").spawn(_text(actor_type, "actor_type"), _text(name, "name"), _json(args or {}, "args"))

    def stop(self, actor_id: str) -> bool:
        """Ends an actor after its present message with the reason ``shutdown``; true when it lived."""
        return current("stop").stop(_text(actor_id, "actor_id"))

    def send_after(self, delay_ms: int, msg_type: str | dict[str, Any], payload: Any = None) -> str:
        """Sends this actor a cast once, after ``delay_ms`` milliseconds, and returns the timer's id for ``timer_cancel``."""
        schedule = Schedule("after", _milliseconds(delay_ms, "delay_ms", _MAX_TIME))
        return current("send_after").timer_start(None, schedule, *_to_itself(msg_type, payload), False)

    def timer_start(
        self,
        msg_type: str | dict[str, Any],
        payload: Any = None,
        *,
        every_ms: int | None = None,
        after_ms: int | None = None,
        cron: str | None = None,
        name: str | None = None,
    ) -> str:
        """Starts a timer that sends this actor casts, and returns its id. It ends with this actor's stay in memory.

        Exactly one of ``every_ms``, ``after_ms`` (once) and ``cron`` (five or six fields, in UTC) says when. A timer of the same ``name``
        is replaced.
        """
        schedule = _schedule(every_ms, after_ms, cron)
        label = None if name is None else _name(name)
        return current("timer_start").timer_start(label, schedule, *_to_itself(msg_type, payload), False)

    def timer_cancel(self, timer_id: str) -> bool:
        """Stops a timer of ``timer_start`` or ``send_after``; true when there was one."""
        return current("timer_cancel").timer_cancel(_text(timer_id, "timer_id"), False)

    def reminder_register(
        self,
        name: str,
        msg_type: str | dict[str, Any],
        payload: Any = None,
        *,
        every_ms: int | None = None,
        after_ms: int | None = None,
        cron: str | None = None,
    ) -> str:
        """Like ``timer_start``, but the timer is stored with the turn, wakes the actor when it is not in memory, and survives the node. A
        reminder of the same ``name`` is replaced."""
        schedule = _schedule(every_ms, after_ms, cron)
        return current("reminder_register").timer_start(_name(name), schedule, *_to_itself(msg_type, payload), True)

    def reminder_unregister(self, name: str) -> bool:
        """Removes a reminder; true when there was one."""
        return current("reminder_unregister").timer_cancel(_name(name), True)

    def http_fetch(
        self,
        link_name: str,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        timeout_ms: int | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """Sends an HTTP request over a service link of the application and returns the response, whatever its status: ``status``,
        ``headers`` (names in lower case, several values of one joined with commas), ``body`` (``str``, or ``bytes`` when it is not UTF-8)
        and ``json`` when the body is JSON.

        A body that is no ``str`` or ``bytes`` is sent as JSON; its content type is added unless ``headers`` has one. The ``Idempotency-Key``
        is made for each call; whoever gives one vouches that the service applies it once, so that POST may be repeated too. Raises a
        ``PlexSpacesError`` when there is no response after the link's retries.
        """
        limit = None if timeout_ms is None else _milliseconds(timeout_ms, "timeout_ms")
        link = _text(link_name, "link_name")
        request = _http.request(_text(method, "method"), _text(path, "path"), body, headers, limit, idempotency_key)
        return _http.response(_course.waiting(lambda: current("http_fetch").http_fetch(link, request)))

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


def _to_itself(msg_type: Any, payload: Any) -> tuple[str, str | bytes]:
    """A timer's message. Its payload names the operation too, so that a handler for everything can tell what it got."""
    if isinstance(msg_type, str) and (payload is None or isinstance(payload, dict)):
        payload = {"op": msg_type, **(payload or {})}
    return _request(msg_type, payload)


def _schedule(every_ms: int | None, after_ms: int | None, cron: str | None) -> Schedule:
    if sum(given is not None for given in (every_ms, after_ms, cron)) != 1:
        raise InvalidArgumentError("give exactly one of every_ms, after_ms and cron")
    if cron is not None:
        return Schedule("cron", _text(cron, "cron"))
    if after_ms is not None:
        return Schedule("after", _milliseconds(after_ms, "after_ms", _MAX_TIME))
    return Schedule("every", _milliseconds(every_ms, "every_ms", _MAX_TIME, least=1))


def _name(value: Any) -> str:
    if not _text(value, "name"):
        raise InvalidArgumentError("name is empty")
    return str(value)


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


def _milliseconds(value: Any, what: str, most: int = _MAX_U32, *, least: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise InvalidArgumentError(f"{what} must be a number of milliseconds from {least} to {most}, not {value!r}")
    return int(value)


host = Host()
