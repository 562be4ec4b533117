"""What an actor can reach: other actors and their lives, itself later, its private key-value pairs, its clock and the node's log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from . import _course, _http, _steps, _unavailable
from ._arguments import MAX_TIME, filled, json_text, milliseconds, text
from ._backend import Level, Schedule, current
from ._blobs import Blobs
from ._channels import Channels
from ._child import Child
from ._groups import ProcessGroups
from ._json import decode, printable
from ._kv import KeyValue, SharedKeyValue
from ._locks import Locks
from ._names import Names
from ._tuples import TupleSpace
from ._workflow import START
from .errors import ConflictError, InternalError, InvalidArgumentError, PlexSpacesError

T = TypeVar("T")



class Host(Blobs, Locks, Names, _unavailable.Methods):
    """The host API. There is one object of it: ``host``."""

    kv = KeyValue()
    kv_get, kv_put, kv_delete, kv_exists, kv_list, kv_cas = kv.get, kv.put, kv.delete, kv.exists, kv.list, kv.cas
    shared_kv = SharedKeyValue()
    ts = TupleSpace()
    ts_write, ts_read, ts_take, ts_read_all, ts_take_all, ts_count = ts.write, ts.read, ts.take, ts.read_all, ts.take_all, ts.count
    ts_write_once, ts_replace, ts_confirm, ts_release = ts.write_once, ts.replace, ts.confirm, ts.release
    ts_subscribe, ts_unsubscribe = ts.subscribe, ts.unsubscribe
    process_groups = ProcessGroups()
    channel = Channels()
    channel_publish, channel_subscribe = channel.publish, channel.subscribe

    def ask(self, target: str, op: str | dict[str, Any], payload: Any = None, timeout_ms: int = 5000) -> Any:
        """Sends a request and returns the reply. ``ask(target, {"op": ...})`` takes the operation from the payload.

        Raises a ``PlexSpacesError``: ``AskTimeoutError`` after ``timeout_ms``, ``ActorNotFoundError``, ``HandlerFailedError`` and others.
        """
        operation, body = _request(op, payload)
        name, limit = text(target, "target"), milliseconds(timeout_ms, "timeout_ms")
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
        current("tell").tell(text(target, "target"), operation, body)

    def send(self, target: str, op: str | dict[str, Any], payload: Any = None) -> None:
        """The same as ``tell``."""
        operation, body = _request(op, payload)
        current("send").tell(text(target, "target"), operation, body)

    def sleep(self, ms: int) -> None:
        """Waits ``ms`` milliseconds, be it for days. A durable actor sleeps on through failures and restarts of the node; a workflow that
        sleeps long leaves memory meanwhile. Signals that come are handled while it sleeps.

        Raises ``WorkflowCancelled``. Only a workflow should sleep for long: while another actor sleeps, its messages wait, and its turn may
        not take longer than any other.
        """
        backend = current("sleep")
        duration = milliseconds(ms, "ms", _course.FOREVER_MS)
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
        wanted = None if name is None else text(name, "name")
        limit = None if timeout_ms is None else milliseconds(timeout_ms, "timeout_ms", _course.FOREVER_MS)
        until = int(backend.now_ms()) + (_course.FOREVER_MS if limit is None else limit)
        while True:
            signal = course.take(wanted)
            if signal is not None:
                return {} if signal.payload is None else signal.payload
            if _course.slept("wait_for_signal", until):
                if limit is not None:
                    return None
                until += _course.FOREVER_MS

    def start_workflow(
        self,
        actor_type: str,
        workflow_id: str,
        input_data: Any = None,
        timeout_ms: int = 30_000,
        *,
        run_timeout_ms: int | None = None,
    ) -> Child:
        """Starts a run of a durable workflow under an id, and returns when it is certain to be carried out; ``timeout_ms`` limits that. The
        same id with the same input is the same run for 24 hours, whoever starts it and also through crashes; with another input it is a
        ``ConflictError``. ``Child.result`` waits for its end.

        A run that is not done ``run_timeout_ms`` milliseconds after its start is timed out: its present or next wait raises
        ``WorkflowTimedOut``. A run is to be done when the one that has started it is to be done, whatever is said here.

            children = [host.start_workflow("shipment", f"{order}-{n}", {"parcel": n}) for n in range(2)]
            return {"parcels": [child.result() for child in children]}
        """
        course = _course.present()
        if course is not None and course.looks:
            raise ConflictError("a query may not start anything")
        target = f"{text(actor_type, 'actor_type')}/{text(workflow_id, 'workflow_id')}"
        body = json_text({} if input_data is None else input_data, "input_data")
        limit = milliseconds(timeout_ms, "timeout_ms")
        operation = START
        if run_timeout_ms is not None:
            operation = f"{START}:{milliseconds(run_timeout_ms, 'run_timeout_ms', _course.FOREVER_MS, least=1)}"
        reply = _course.waiting(lambda: current("start_workflow").ask(target, operation, body, limit))
        begun = decode(reply if isinstance(reply, str) else reply.decode())
        if course is not None:
            course.started(begun["id"], begun if begun["ended"] else None)
        return Child(begun["id"], workflow_id)

    def checkpoint(self) -> None:
        """Begins to make last what this turn has done so far. When that is on the disk its messages leave, in a workflow queries see the
        present state, and it will not be done again after a crash. Signals that came are handled. Every wait does the same by itself.

        The code goes on meanwhile. Whatever leaves the actor later waits for the disk, so that nobody has seen what a crash takes back.
        The state is kept when the turn ends; until then it comes back by doing the turn again. Raises
        ``WorkflowCancelled``.
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
        pauses = milliseconds(initial_ms, "initial_ms"), factor, milliseconds(max_ms, "max_ms"), jitter
        policy = _steps.Policy(attempts, *pauses, retry_on, no_retry_on)
        return _steps.attempt(lambda: fn(*args, **kwargs), policy, self.sleep)

    def monitor(self, actor_id: str) -> str:
        """Watches an actor and returns the watch's reference. At its end, whatever the reason, this actor receives the cast ``__DOWN__``
        once with ``monitor_ref``, ``down_from`` and ``down_reason``; at once, with the reason ``noproc``, when there is no such actor."""
        return current("monitor").monitor(text(actor_id, "actor_id"))

    def demonitor(self, monitor_ref: str) -> None:
        """Ends a watch. An unknown reference, or one that has fired, is no error."""
        current("demonitor").demonitor(text(monitor_ref, "monitor_ref"))

    def link(self, peer_id: str) -> None:
        """Ties this actor and another: when one ends abnormally, the other receives the cast ``__EXIT__`` with ``exit_from`` and
        ``exit_reason``; without a handler for it, it ends with the same reason."""
        current("link").link(text(peer_id, "peer_id"))

    def unlink(self, peer_id: str) -> None:
        """Unties them. Without a link it does nothing."""
        current("unlink").unlink(text(peer_id, "peer_id"))

    def spawn(self, actor_type: str, name: str = "", args: dict[str, Any] | None = None) -> str:
        """Starts an actor of a type of this application under the key ``name`` (generated when it is empty) and returns its printed
        identity when its init handler has run. That identity is its target for ``ask``, ``tell`` and the others; ``name`` alone is none.
        Raises ``ConflictError`` when the name lives already."""
        if args is not None and not isinstance(args, dict):
            raise InvalidArgumentError(f"args must be a dict, not {type(args).__name__}")
        return current("spawn").spawn(text(actor_type, "actor_type"), text(name, "name"), json_text(args or {}, "args"))

    def stop(self, actor_id: str) -> bool:
        """Ends an actor after its present message; true when it lived. The reason is ``shutdown``, and ``normal`` for this actor itself.

        One that was spawned is nobody from then on until it is spawned again; another comes back with its next message.
        """
        return current("stop").stop(text(actor_id, "actor_id"))

    def send_after(self, delay_ms: int, msg_type: str | dict[str, Any], payload: Any = None) -> str:
        """Sends this actor a cast once, after ``delay_ms`` milliseconds, and returns the timer's id for ``timer_cancel``."""
        schedule = Schedule("after", milliseconds(delay_ms, "delay_ms", MAX_TIME))
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
        label = None if name is None else filled(name, "name")
        return current("timer_start").timer_start(label, schedule, *_to_itself(msg_type, payload), False)

    def timer_cancel(self, timer_id: str) -> bool:
        """Stops a timer of ``timer_start`` or ``send_after``; true when there was one."""
        return current("timer_cancel").timer_cancel(text(timer_id, "timer_id"), False)

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
        return current("reminder_register").timer_start(filled(name, "name"), schedule, *_to_itself(msg_type, payload), True)

    def reminder_unregister(self, name: str) -> bool:
        """Removes a reminder; true when there was one."""
        return current("reminder_unregister").timer_cancel(filled(name, "name"), True)

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
        ``headers`` (names in lower case, several values of one joined with commas), ``body`` (``str``) and ``json`` when the body is JSON. A
        body that is not UTF-8 is read as its ``Content-Type`` says, with U+FFFD for what is no text, and is in ``body_base64`` as it came.

        A body that is no ``str`` or ``bytes`` is sent as JSON; its content type is added unless ``headers`` has one. The ``Idempotency-Key``
        is made for each call; whoever gives one vouches that the service applies it once, so that POST may be repeated too. Raises a
        ``PlexSpacesError`` when there is no response after the link's retries.
        """
        limit = None if timeout_ms is None else milliseconds(timeout_ms, "timeout_ms")
        link = text(link_name, "link_name")
        request = _http.request(text(method, "method"), text(path, "path"), body, headers, limit, idempotency_key)
        return _http.response(_course.waiting(lambda: current("http_fetch").http_fetch(link, request)))

    def get_actor_id(self) -> str:
        """This actor's printed identity, ``namespace/type/key``."""
        return current("get_actor_id").actor_id()

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch, by the host's clock."""
        return int(current("now_ms").now_ms())

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
    operation = text(op, "op")
    if not operation:
        raise InvalidArgumentError("op is empty")
    if isinstance(payload, (bytes, bytearray)):
        return operation, bytes(payload)
    return operation, json_text({} if payload is None else payload, "payload")


def _to_itself(msg_type: Any, payload: Any) -> tuple[str, str | bytes]:
    """A timer's message. Its payload names the operation too, so that a handler for everything can tell what it got."""
    if isinstance(msg_type, str) and (payload is None or isinstance(payload, dict)):
        payload = {"op": msg_type, **(payload or {})}
    return _request(msg_type, payload)


def _schedule(every_ms: int | None, after_ms: int | None, cron: str | None) -> Schedule:
    if sum(given is not None for given in (every_ms, after_ms, cron)) != 1:
        raise InvalidArgumentError("give exactly one of every_ms, after_ms and cron")
    if cron is not None:
        return Schedule("cron", text(cron, "cron"))
    if after_ms is not None:
        return Schedule("after", milliseconds(after_ms, "after_ms", MAX_TIME))
    return Schedule("every", milliseconds(every_ms, "every_ms", MAX_TIME, least=1))


host = Host()
