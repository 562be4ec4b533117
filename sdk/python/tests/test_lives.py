"""Other actors' lives and the actor's own timers, on the harness's host in memory."""

from typing import Any

import pytest

from plexspaces import ActorNotFoundError, ConflictError, actor, handler, host, init_handler, state
from plexspaces.testing import ActorHarness, Spawned


@actor
class Watcher:
    seen: list = state(default_factory=list)

    @handler("run")
    def run(self, code: str) -> Any:
        return eval(code, {"host": host})

    @handler("__DOWN__", "cast")
    def on_down(self, monitor_ref: str = "", down_from: str = "", down_reason: str = "") -> None:
        self.seen.append([monitor_ref, down_from, down_reason])

    @handler("__EXIT__", "cast")
    def on_exit(self, exit_from: str = "", exit_reason: str = "") -> None:
        self.seen.append([exit_from, exit_reason])

    @handler("tick", "cast")
    def tick(self, n: int = 0, op: str = "", sender: str = "") -> None:
        self.seen.append([host.now_ms() - 1_000, n, op, sender])


@pytest.fixture
def watcher() -> ActorHarness:
    harness = ActorHarness(Watcher, namespace="ns")
    harness.host.clock_ms = 1_000
    return harness


def run(harness: ActorHarness, code: str) -> Any:
    return harness.ask("run", {"code": code})


def seen(harness: ActorHarness) -> Any:
    return harness.snapshot()["seen"]


def test_a_watch_fires_once_with_its_reference(watcher: ActorHarness) -> None:
    one, two = run(watcher, 'host.monitor("w1")'), run(watcher, 'host.monitor("w1")')
    assert one != two and watcher.host.monitors == {one: "w1", two: "w1"}
    watcher.down(one, "shutdown")
    assert seen(watcher) == [[one, "w1", "shutdown"]]
    with pytest.raises(ValueError, match=f"there is no watch '{one}'; there are: {two}"):
        watcher.down(one)


def test_a_watch_that_was_ended_does_not_fire(watcher: ActorHarness) -> None:
    reference = run(watcher, 'host.monitor("w1")')
    run(watcher, f'[host.demonitor("{reference}"), host.demonitor("{reference}"), host.demonitor("never")]')
    with pytest.raises(ValueError, match="there are: none"):
        watcher.down(reference)


def test_a_linked_actors_end_is_told(watcher: ActorHarness) -> None:
    run(watcher, '[host.link("a"), host.link("a"), host.link("b"), host.unlink("b"), host.unlink("c")]')
    assert watcher.host.links == {"a"}
    watcher.exit("a", "kill")
    assert seen(watcher) == [["a", "kill"]]
    run(watcher, 'host.link("a")')
    for reason in ("normal", "shutdown"):
        with pytest.raises(ValueError, match=f"abnormal ends only, not of '{reason}'"):
            watcher.exit("a", reason)
    run(watcher, 'host.unlink("a")')
    for peer in ("a", "b"):
        with pytest.raises(ValueError, match=f"there is no link to '{peer}'"):
            watcher.exit(peer)


def test_an_actor_without_a_handler_for_an_exit_shares_its_fate() -> None:
    @actor
    class Plain:
        @init_handler
        def setup(self) -> None:
            host.link("peer")

        @handler("go")
        def go(self) -> str:
            return "gone"

    harness = ActorHarness(Plain)
    harness.exit("peer", "error: boom")
    assert harness.ended == "error: boom"
    with pytest.raises(ActorNotFoundError, match="has ended: error: boom"):
        harness.ask("go")
    harness.restart()
    assert (harness.ended, harness.ask("go"), harness.host.links) == (None, "gone", {"peer"})


def test_a_wildcard_takes_both(watcher: ActorHarness) -> None:
    @actor
    class Everything:
        seen: list = state(default_factory=list)

        @handler("*")
        def other(self, op: str, payload: dict) -> None:
            self.seen.append([op, payload])

        @init_handler
        def setup(self) -> None:
            host.link("peer")
            host.monitor("peer")

    harness = ActorHarness(Everything)
    (reference,) = harness.host.monitors
    harness.exit("peer", "error: boom")
    harness.down(reference)
    assert seen(harness) == [
        ["__EXIT__", {"exit_from": "peer", "exit_reason": "error: boom"}],
        ["__DOWN__", {"monitor_ref": reference, "down_from": "peer", "down_reason": "error"}],
    ]


def test_spawning_and_stopping(watcher: ActorHarness) -> None:
    assert run(watcher, 'host.spawn("worker", "w1", {"x": 1})') == "ns/worker/w1"
    assert run(watcher, 'host.spawn("worker", args={})').startswith("ns/worker/worker-")
    assert watcher.host.spawned[0] == Spawned("worker", "w1", {"x": 1})
    with pytest.raises(ConflictError, match="ns/worker/w1 lives already"):
        run(watcher, 'host.spawn("worker", "w1")')
    assert run(watcher, '[host.stop("ns/worker/w1"), host.stop("ns/worker/w1")]') == [True, False]
    assert run(watcher, 'host.spawn("worker", name="w1")') == "ns/worker/w1"
    watcher.host.alive.add("other")
    assert run(watcher, 'host.stop("other")') is True
    assert watcher.host.stopped == ["ns/worker/w1", "ns/worker/w1", "other"]


def test_an_actor_that_ended_may_be_spawned_again(watcher: ActorHarness) -> None:
    reference = run(watcher, 'host.monitor(host.spawn("worker", "w1"))')
    watcher.down(reference)
    assert run(watcher, 'host.spawn("worker", "w1")') == "ns/worker/w1"


ME = "ns/watcher/watcher"


def test_send_after_casts_to_the_actor_itself(watcher: ActorHarness) -> None:
    run(watcher, '[host.send_after(50, "tick", {"op": "tick", "n": 1}), host.send_after(20, "tick"), host.send_after(30, {"op": "tick"})]')
    watcher.advance(19)
    assert seen(watcher) == []
    watcher.advance(31)
    assert seen(watcher) == [[20, 0, "tick", ME], [30, 0, "tick", ME], [50, 1, "tick", ME]]
    assert watcher.host.clock_ms == 1_050 and watcher.host.timers == []


def test_a_timer_can_be_cancelled(watcher: ActorHarness) -> None:
    timer = run(watcher, 'host.send_after(50, "tick")')
    assert run(watcher, f'[host.timer_cancel("{timer}"), host.timer_cancel("{timer}")]') == [True, False]
    watcher.advance(100)
    assert seen(watcher) == []


def test_a_repeated_timer_comes_again_and_a_name_is_taken_over(watcher: ActorHarness) -> None:
    assert run(watcher, 'host.timer_start("tick", {"n": 1}, every_ms=10, name="beat")') == "beat"
    assert run(watcher, 'host.timer_start("tick", {"n": 2}, every_ms=20, name="beat")') == "beat"
    watcher.advance(45)
    assert [entry[:2] for entry in seen(watcher)] == [[20, 2], [40, 2]]


def test_what_a_timer_starts_is_delivered_in_the_same_stretch() -> None:
    @actor
    class Poll:
        at: list = state(default_factory=list)

        @init_handler
        def setup(self) -> None:
            host.send_after(10, "poll_tick", {"op": "poll_tick"})

        @handler("poll_tick", "cast")
        def poll_tick(self) -> None:
            self.at.append(host.now_ms() - 1_700_000_000_000)
            host.send_after(10, "poll_tick", {"op": "poll_tick"})

    harness = ActorHarness(Poll)
    harness.advance(35)
    assert harness.snapshot() == {"at": [10, 20, 30]}


def test_reminders_outlive_a_restart_and_timers_do_not(watcher: ActorHarness) -> None:
    run(watcher, '[host.timer_start("tick", every_ms=10, name="x"), host.reminder_register("x", "tick", {"n": 7}, after_ms=10)]')
    run(watcher, '[host.monitor("w"), host.link("w")]')
    watcher.restart()
    assert (watcher.host.monitors, watcher.host.links) == ({}, set())
    watcher.advance(30)
    assert [entry[:2] for entry in seen(watcher)] == [[10, 7]]
    run(watcher, 'host.reminder_register("y", "tick", every_ms=10)')
    assert run(watcher, '[host.timer_cancel("y"), host.reminder_unregister("y"), host.reminder_unregister("y")]') == [False, True, False]


def test_cron_expressions_are_recorded_and_fired_by_the_test(watcher: ActorHarness) -> None:
    run(watcher, 'host.reminder_register("daily", "tick", {"n": 1}, cron="0 6 * * *")')
    (timer,) = watcher.host.timers
    assert (timer.schedule, timer.durable, timer.due_ms) == (("cron", "0 6 * * *"), True, None)
    watcher.advance(10**9)
    assert seen(watcher) == []
    watcher.fire("daily")
    watcher.fire("daily")
    assert len(seen(watcher)) == 2
    with pytest.raises(ValueError, match="there is no timer 'hourly'; there are: daily"):
        watcher.fire("hourly")
