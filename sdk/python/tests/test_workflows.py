"""Runs that sleep, hear signals, are cancelled, retry and compensate, on the harness's host in memory."""

import random
from typing import Any

import pytest

from plexspaces import (
    ActorNotFoundError,
    AskTimeoutError,
    ConflictError,
    HandlerFailedError,
    InvalidArgumentError,
    NonDeterministicError,
    Saga,
    UnavailableError,
    WorkflowCancelled,
    WorkflowTimedOut,
    actor,
    handler,
    host,
    init_handler,
    query_handler,
    run_handler,
    signal_handler,
    state,
    workflow_actor,
)
from plexspaces.testing import ActorHarness

START = 1_700_000_000_000


@workflow_actor
class Flow:
    """Does what its input says."""

    seen: list = state(default_factory=list)

    @run_handler
    def run(self, request: dict) -> Any:
        return eval(request["code"], {"host": host, "self": self, "nap": self._nap})

    def _nap(self, ms: int) -> int:
        host.sleep(ms)
        return host.now_ms() - START

    def _picky(self) -> None:
        host.retry(host.ask, "t", "fails", no_retry_on=(UnavailableError,))

    @signal_handler("word")
    def word(self, text: str) -> None:
        self.seen.append([text, host.now_ms() - START])

    @signal_handler("nested")
    def nested(self, text: str) -> None:
        self.seen.append(f"begin {text}")
        host.ask("t", "o", {"text": text})
        self.seen.append(f"end {text}")

    @signal_handler("fail")
    def fail(self) -> None:
        raise ValueError("in a signal")

    @query_handler("seen")
    def get_seen(self) -> list:
        return self.seen


def flow() -> ActorHarness:
    harness = ActorHarness(Flow)
    harness.answer("t", "o", lambda payload: payload)
    return harness


def run(harness: ActorHarness, code: str) -> Any:
    return harness.ask("workflow_run", {"code": code})


def test_a_sleep_moves_the_clock_at_once() -> None:
    harness = flow()
    assert run(harness, "[nap(86_400_000), nap(0), nap(5)]") == [86_400_000, 86_400_000, 86_400_005]
    for wrong in ("-1", "'1'", "True", "float('nan')", "10 * 365 * 86_400_000"):
        with pytest.raises(InvalidArgumentError, match="ms must be a number of milliseconds"):
            run(harness, f"nap({wrong})")


def test_signals_are_handled_in_their_order_where_the_run_waits() -> None:
    harness = flow()
    harness.signal("word", {"text": "late"}, after_ms=60)
    harness.signal("word", {"text": "one"})
    harness.signal("word", {"text": "two"})
    harness.signal("word", {"text": "in time"}, after_ms=20)
    assert run(harness, "[self.seen[:], host.ask('t', 'o'), len(self.seen), nap(50), len(self.seen)]") == [[], {}, 2, 50, 3]
    assert harness.query("seen") == [["one", 0], ["two", 0], ["in time", 20]]
    assert run(harness, "[nap(10), len(self.seen)]") == [60, 4]


def test_a_signals_handler_is_not_interrupted_by_the_next_signal() -> None:
    harness = flow()
    for text in ("a", "b"):
        harness.signal("nested", {"text": text})
    harness.answer("t", "o", lambda payload: harness.signal("nested", {"text": "c"}) if payload == {"text": "a"} else None)
    run(harness, "nap(1)")
    assert harness.query("seen") == [f"{part} {text}" for text in "abc" for part in ("begin", "end")]


def test_a_signals_handler_that_fails_fails_the_run() -> None:
    harness = flow()
    harness.signal("fail")
    with pytest.raises(ValueError, match="in a signal"):
        run(harness, "nap(1)")


def test_a_signal_that_comes_while_a_step_fails_is_handled() -> None:
    harness = flow()
    harness.signal("word", {"text": "x"})
    with pytest.raises(ActorNotFoundError):
        run(harness, "host.ask('nobody', 'o')")
    assert harness.query("seen") == [["x", 0]]


def test_a_signal_that_does_not_fit_its_handler_is_dropped() -> None:
    harness = flow()
    harness.signal("word", {})
    run(harness, "nap(1)")
    (line,) = harness.host.logs
    assert line == ("warn", "the signal 'word' was dropped: workflow_signal:word: field 'text' is missing")


def test_a_signal_is_waited_for() -> None:
    harness = flow()
    harness.signal("shipped", {"parcel": 7}, after_ms=1_000)
    assert run(harness, "[host.wait_for_signal('shipped'), nap(0)]") == [{"parcel": 7}, 1_000]
    assert run(harness, "[host.wait_for_signal('shipped', timeout_ms=500), nap(0)]") == [None, 1_500]
    # Others are kept; one that came before is found, and each is given once.
    for name, payload in (("b", 2), ("a", None), ("b", 3)):
        harness.signal(name, payload)
    code = "[nap(1), *[host.wait_for_signal(name, timeout_ms=1) for name in ('a', 'b', None, None)]]"
    assert run(harness, code) == [1_501, {}, 2, 3, None]
    assert harness.host.logs == []


def test_a_signal_with_a_handler_is_handled_and_waited_for() -> None:
    harness = flow()
    harness.signal("word", {"text": "x"}, after_ms=5)
    assert run(harness, "[host.wait_for_signal('word'), self.seen]") == [{"text": "x"}, [["x", 5]]]


def test_a_signal_that_nobody_takes_is_said_to_be_dropped() -> None:
    harness = flow()
    harness.signal("lost")
    run(harness, "nap(1)")
    assert [line.message for line in harness.host.logs] == [
        "the signal 'lost' was dropped: it has no handler and nothing waited for it"
    ]


def test_a_run_that_would_wait_for_ever_fails_the_test() -> None:
    with pytest.raises(AssertionError, match="the run waits for ever"):
        run(flow(), "host.wait_for_signal('never')")


def test_only_a_workflow_waits_for_signals() -> None:
    @actor
    class Plain:
        @handler("wait")
        def wait(self) -> None:
            host.wait_for_signal("x")

        @handler("nap")
        def nap(self) -> int:
            host.sleep(5)
            host.checkpoint()
            return host.now_ms() - START

    plain = ActorHarness(Plain)
    with pytest.raises(ConflictError, match="is for workflows"):
        plain.ask("wait")
    assert plain.ask("nap") == 5


def test_queries_see_the_state_at_the_last_wait() -> None:
    @workflow_actor
    class Steps:
        step: int = state(default=0)

        @init_handler
        def setup(self, config: dict) -> None:
            host.send_after(5, "tick")

        @run_handler
        def run(self, request: dict) -> list:
            seen = [host.ask("t", "o")]
            for self.step in (1, 2):
                seen.append(host.ask("t", "o"))
            self.step = 3
            host.checkpoint()
            self.step = 4
            return seen

        @query_handler("step")
        def get_step(self, add: int = 0) -> int:
            self.step += add
            return self.step

    harness = ActorHarness(Steps)
    timers = len(harness.host.timers)
    harness.answer("t", "o", lambda payload: [harness.query("step"), harness.query("step", {"add": 10})])
    assert harness.ask("workflow_run") == [[0, 10], [1, 11], [2, 12]]
    assert harness.host.published == '{"step":3}'
    assert harness.query("step") == 4
    assert len(harness.host.timers) == timers, "a query's init handler has no effect"


def test_a_cancelled_run_hears_it_once_at_its_wait() -> None:
    harness = flow()
    harness.cancel(after_ms=10)
    with pytest.raises(WorkflowCancelled, match=r"the run was cancelled \(cancelled\)") as caught:
        run(harness, "nap(20)")
    assert (caught.value.code, caught.value.retryable) == ("cancelled", False)
    assert run(harness, "nap(20)") == 30


def test_a_run_that_is_timed_out_hears_it_as_one_that_is_cancelled() -> None:
    harness = flow()
    harness.time_out(after_ms=10)
    with pytest.raises(WorkflowTimedOut, match=r"the run was timed out \(timed_out\)") as caught:
        run(harness, "nap(20)")
    assert isinstance(caught.value, WorkflowCancelled)
    assert (caught.value.code, caught.value.retryable) == ("timed_out", False)
    assert run(harness, "nap(20)") == 30


@pytest.fixture
def tries() -> tuple[ActorHarness, list[int]]:
    harness, times = flow(), []

    def answer(payload: Any) -> Any:
        times.append(harness.host.clock_ms - START)
        raise UnavailableError("not yet")

    harness.answer("t", "unavailable", answer)
    return harness, times


def test_a_step_is_tried_again_after_growing_pauses(tries: tuple[ActorHarness, list[int]]) -> None:
    harness, times = tries
    with pytest.raises(UnavailableError):
        run(harness, "host.retry(host.ask, 't', 'unavailable', attempts=5, initial_ms=100, factor=3, max_ms=500, jitter=0)")
    assert times == [0, 100, 400, 900, 1400]
    harness.answer("t", "unavailable", lambda payload: payload)
    assert run(harness, "host.retry(host.ask, 't', 'unavailable', {'n': 1}, timeout_ms=7)") == {"n": 1}


def test_what_cannot_help_is_not_tried_again() -> None:
    harness = flow()
    for error in (InvalidArgumentError("wrong"), HandlerFailedError("no", retryable=False), WorkflowCancelled("cancelled")):
        harness.answer("t", "fails", error)
        harness.host.asks.clear()
        with pytest.raises(type(error)):
            run(harness, "host.retry(host.ask, 't', 'fails', attempts=3)")
        assert len(harness.host.asks) == 1
    harness.answer("t", "fails", KeyError("x"))
    harness.host.asks.clear()
    with pytest.raises(KeyError):
        run(harness, "host.retry(host.ask, 't', 'fails', attempts=3)")
    assert len(harness.host.asks) == 1
    with pytest.raises(KeyError):
        run(harness, "host.retry(host.ask, 't', 'fails', attempts=3, retry_on=(KeyError,))")
    assert len(harness.host.asks) == 4


def test_the_pauses_of_many_are_spread_and_the_same_when_a_turn_is_run_again(tries: tuple[ActorHarness, list[int]]) -> None:
    spread = set()
    for key in ("a", "b", "c", "d"):
        harness = ActorHarness(Flow, key=key)
        harness.answer("t", "unavailable", UnavailableError("not yet"))
        with pytest.raises(UnavailableError):
            run(harness, "host.retry(host.ask, 't', 'unavailable', attempts=2, initial_ms=1000)")
        pause = harness.host.clock_ms - START
        assert 750 <= pause <= 1250
        spread.add(pause)
        harness.replay()
    assert len(spread) > 1


def test_an_error_that_is_excepted_is_not_tried_again() -> None:
    harness = flow()
    harness.answer("t", "fails", UnavailableError("never"))
    with pytest.raises(UnavailableError):
        run(harness, "self._picky()")
    assert len(harness.host.asks) == 1


@pytest.mark.parametrize("wrong", ["attempts=0", "attempts=True", "attempts=1.5", "factor=0.5", "factor='2'", "initial_ms=-1", "max_ms=None", "jitter=2", "jitter='1'"])
def test_a_policy_that_makes_no_sense_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidArgumentError):
        run(flow(), f"host.retry(lambda: 1, {wrong})")


def test_very_long_pauses_end_at_the_longest(tries: tuple[ActorHarness, list[int]]) -> None:
    harness, times = tries
    with pytest.raises(UnavailableError):
        run(harness, "host.retry(host.ask, 't', 'unavailable', attempts=4, initial_ms=10, factor=1e308, max_ms=50, jitter=0)")
    assert times == [0, 10, 60, 110]


@workflow_actor
class Trip:
    """Two steps and their compensations."""

    @run_handler
    def run(self, request: dict) -> str:
        with Saga(initial_ms=10, attempts=3) as saga:
            saga.add(host.ask, "hotel", "cancel", {"n": 1})
            host.ask("hotel", "book")
            saga.add(host.ask, "flight", "cancel")
            host.ask("flight", "book")
        return "booked"


def trip() -> ActorHarness:
    harness = ActorHarness(Trip)
    for target in ("hotel", "flight"):
        for operation in ("book", "cancel"):
            harness.answer(target, operation, None)
    return harness


def asked(harness: ActorHarness) -> list[str]:
    return [f"{ask.target} {ask.operation}" for ask in harness.host.asks]


def test_a_saga_that_works_compensates_nothing() -> None:
    harness = trip()
    assert harness.ask("workflow_run") == "booked"
    assert asked(harness) == ["hotel book", "flight book"]


def test_a_saga_compensates_in_reverse_order_and_the_exception_goes_on() -> None:
    harness = trip()
    harness.answer("flight", "book", HandlerFailedError("full"))
    with pytest.raises(HandlerFailedError, match="full"):
        harness.ask("workflow_run")
    assert asked(harness) == ["hotel book", "flight book", "flight cancel", "hotel cancel"]
    assert harness.host.asks[-1].payload == {"n": 1}


def test_a_compensation_is_tried_again_and_does_not_keep_others_from_being_called() -> None:
    harness = trip()
    harness.answer("flight", "book", ValueError("full"))
    harness.answer("flight", "cancel", UnavailableError("down"))
    with pytest.raises(ValueError, match="full") as caught:
        harness.ask("workflow_run")
    assert asked(harness) == ["hotel book", "flight book", *["flight cancel"] * 3, "hotel cancel"]
    assert caught.value.__notes__ == ["a compensation failed: UnavailableError: down (unavailable)"]
    (line,) = harness.host.logs
    assert line == ("error", "the compensation Host.ask failed for good: UnavailableError: down (unavailable)")


def test_a_cancelled_saga_compensates() -> None:
    harness = trip()
    harness.answer("hotel", "book", lambda payload: harness.cancel())
    with pytest.raises(WorkflowCancelled):
        harness.ask("workflow_run")
    assert asked(harness) == ["hotel book", "flight cancel", "hotel cancel"]


def test_what_a_compensation_sends_leaves_with_a_checkpoint() -> None:
    @workflow_actor
    class Undoing:
        undone: bool = state(default=False)

        def undo(self) -> None:
            self.undone = True
            host.tell("t", "undo")

        @run_handler
        def run(self) -> None:
            with Saga() as saga:
                saga.add(self.undo)
                raise ValueError("no")

    harness = ActorHarness(Undoing)
    with pytest.raises(ValueError, match="no"):
        harness.ask("workflow_run")
    assert [sent[:2] for sent in harness.host.tells] == [("t", "undo")]
    # What queries see is what was there at the run's last wait.
    assert harness.host.published is not None and '"undone":true' in harness.host.published.replace(" ", "")


def test_a_run_gives_another_its_time() -> None:
    harness = flow()
    harness.child("part", "p", {})
    run(harness, "host.start_workflow('part', 'p', {}, run_timeout_ms=1500) and None")
    assert [sent[:2] for sent in harness.host.asks] == [("part/p", "workflow_start:1500")]
    with pytest.raises(InvalidArgumentError, match="run_timeout_ms must be a number of milliseconds from 1"):
        run(harness, "host.start_workflow('part', 'p', {}, run_timeout_ms=0)")


def test_being_cancelled_while_it_compensates_does_not_stop_a_saga() -> None:
    harness = trip()
    attempts = iter([UnavailableError("down"), None])

    def cancel_flight(payload: Any) -> None:
        harness.cancel()
        if (error := next(attempts)) is not None:
            raise error

    harness.answer("flight", "book", HandlerFailedError("full"))
    harness.answer("flight", "cancel", cancel_flight)
    with pytest.raises(HandlerFailedError, match="full") as caught:
        harness.ask("workflow_run")
    # The first attempt's pause and the next step are each interrupted by a cancellation, and taken up again.
    assert asked(harness) == ["hotel book", "flight book", "flight cancel", "flight cancel", "hotel cancel"]
    assert not hasattr(caught.value, "__notes__")


def test_what_was_compensated_is_not_compensated_again() -> None:
    harness = flow()
    undone: list[int] = []

    @workflow_actor
    class Twice:
        @run_handler
        def run(self) -> list:
            saga = Saga()
            for n in (1, 2):
                saga.add(undone.append, n)
            saga.compensate()
            saga.compensate()
            with pytest.raises(InvalidArgumentError, match="must be callable"):
                saga.add(3)  # type: ignore[arg-type]
            return undone

    assert ActorHarness(Twice).ask("workflow_run") == [2, 1]
    assert harness.host.asks == []


# Running a turn again


def test_a_turn_that_is_run_again_does_the_same() -> None:
    harness = flow()
    harness.signal("word", {"text": "x"}, after_ms=5)
    random_code = "__import__('random').random()"
    run(harness, f"[host.ask('t', 'o', {{'r': {random_code}}}), nap(10), host.kv_put('k', str({random_code})), host.kv_list('')]")
    before = random.getstate()
    harness.replay()
    harness.replay()
    assert random.getstate() == before
    assert harness.query("seen") == [["x", 5]]
    harness.replay()


def test_a_turn_that_failed_fails_again() -> None:
    harness = flow()
    harness.answer("t", "fails", UnavailableError("down"))
    with pytest.raises(UnavailableError):
        run(harness, "host.retry(host.ask, 't', 'fails')")
    harness.replay()


def test_what_a_turn_does_otherwise_is_found() -> None:
    outside = iter(range(100))

    @workflow_actor
    class Fickle:
        @run_handler
        def run(self, how: str) -> Any:
            n = next(outside)
            if how == "argument":
                host.retry(host.ask, "t", "o", {"n": n})
            elif how == "more" and n % 2:
                host.tell("t", "o")
            elif how == "less" and not n % 2:
                host.tell("t", "o")
            return n if how == "reply" else None

    harness = ActorHarness(Fickle)
    harness.answer("t", "o", None)
    with pytest.raises(ValueError, match="nothing was handled yet"):
        harness.replay()
    for how, message in [
        ("argument", r"at call 0 the turn did ask\('t', 'o', '{\"n\":0}', 5000\); run again it did ask\('t', 'o', '{\"n\":1}', 5000\)"),
        ("more", r"at call 0 the turn did its end; run again it did tell\('t', 'o', '{}'\)"),
        ("less", r"at call 0 the turn did tell\('t', 'o', '{}'\); run again it did its end"),
        ("reply", "end with the reply '6' and the state {}; run again it did end with the reply '7'"),
    ]:
        harness.ask("workflow_run", {"how": how})
        with pytest.raises(NonDeterministicError, match=message):
            harness.replay()


@workflow_actor
class Parent:
    """Starts two runs side by side."""

    status: str = state(default="new")

    @run_handler
    def run(self, request: dict) -> dict:
        self.status = "starting"
        children = [host.start_workflow("part", f"p{n}", {"n": n}) for n in range(2)]
        self.status = "waiting"
        try:
            return {"parts": [child.result(request.get("timeout_ms")) for child in children]}
        except HandlerFailedError as error:
            return {"failed": error.message}

    @query_handler("starts")
    def starts(self) -> None:
        host.start_workflow("part", "p")


def parent(first: Any, second: Any, after_ms: int = 0) -> ActorHarness:
    harness = ActorHarness(Parent)
    harness.child("part", "p0", first, after_ms)
    harness.child("part", "p1", second, after_ms // 2)
    return harness


def test_a_run_starts_others_and_waits_for_their_results() -> None:
    harness = parent(lambda request: request, {"done": True}, after_ms=10_000)
    assert harness.ask("workflow_run") == {"parts": [{"n": 0}, {"done": True}]}
    assert [sent[:2] for sent in harness.host.asks] == [("part/p0", "workflow_start"), ("part/p1", "workflow_start")]
    assert harness.host.clock_ms == START + 10_000
    harness.replay()
    with pytest.raises(ConflictError, match="a query may not start anything"):
        harness.query("starts")


def test_a_run_hears_of_the_failure_of_one_that_it_has_started() -> None:
    harness = parent({}, HandlerFailedError("ValueError: no"))
    assert harness.ask("workflow_run") == {"failed": "ValueError: no"}
    harness = parent({}, {}, after_ms=10_000)
    with pytest.raises(AskTimeoutError, match=r"the run of default/part/p0 did not end in 7 ms; it goes on"):
        harness.ask("workflow_run", {"timeout_ms": 7})


def test_what_a_cancelled_run_has_started_is_cancelled_unless_it_has_ended() -> None:
    harness = parent({}, {}, after_ms=10_000)
    harness.cancel(after_ms=7_000)
    with pytest.raises(WorkflowCancelled):
        harness.ask("workflow_run")
    assert [sent[:2] for sent in harness.host.tells] == [("default/part/p0", "workflow_cancel")]
    harness.replay()


def test_a_result_is_for_workflows() -> None:
    harness = parent({}, {})

    @actor
    class Plain:
        @handler("start")
        def start(self) -> None:
            host.start_workflow("part", "p0").result()

    plain = ActorHarness(Plain)
    plain.child("part", "p0", {})
    with pytest.raises(ConflictError, match="is for workflows"):
        plain.ask("start")
    assert harness.ask("workflow_run") == {"parts": [{}, {}]}
