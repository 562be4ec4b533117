"""The host API, on the harness's host in memory."""

from typing import Any

import pytest

from plexspaces import (
    ActorNotFoundError,
    AskTimeoutError,
    InvalidArgumentError,
    NotAvailableError,
    OutsideActorError,
    PlexSpacesError,
    actor,
    actor_application_id,
    errors,
    handler,
    host,
)
from plexspaces.testing import ActorHarness


@actor
class Probe:
    @handler("run")
    def run(self, code: str) -> Any:
        return eval(code, {"host": host})


@pytest.fixture
def probe() -> ActorHarness:
    return ActorHarness(Probe, key="k")


def run(probe: ActorHarness, code: str) -> Any:
    return probe.ask("run", {"code": code})


@pytest.mark.parametrize(
    "call",
    ['host.ask("t", "op", {"x": 1})', 'host.ask("t", "op", {"x": 1}, 10000)', 'host.ask("t", "op", {"x": 1}, timeout_ms=10)'],
)
def test_ask_returns_the_reply(probe: ActorHarness, call: str) -> None:
    probe.answer("t", "op", lambda payload: {"got": payload})
    assert run(probe, call) == {"got": {"x": 1}}


def test_ask_takes_the_operation_from_the_payload(probe: ActorHarness) -> None:
    probe.answer("t", "op", lambda payload: payload)
    assert run(probe, 'host.ask("t", {"op": "op", "x": 1}, timeout_ms=5)') == {"op": "op", "x": 1}
    assert run(probe, 'host.ask("t", {"action": "op"})') == {"action": "op"}


def test_ask_raises_what_the_other_side_answered(probe: ActorHarness) -> None:
    probe.answer("t", "op", AskTimeoutError("too late"))
    with pytest.raises(AskTimeoutError) as caught:
        run(probe, 'host.ask("t", "op")')
    assert (caught.value.code, caught.value.retryable, caught.value.message) == ("deadline_exceeded", True, "too late")
    with pytest.raises(ActorNotFoundError):
        run(probe, 'host.ask("nobody", "op")')


def test_messages_without_a_reply_are_recorded(probe: ActorHarness) -> None:
    run(probe, '[host.tell("a", "x", {"n": 1}), host.send("b", "y"), host.tell("c", {"op": "z"})]')
    assert probe.host.tells == [("a", "x", {"n": 1}), ("b", "y", {}), ("c", "z", {"op": "z"})]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ('host.ask("t", "")', "op is empty"),
        ('host.ask("t", {"x": 1})', "names no operation"),
        ('host.ask("t", {"op": "a"}, {"x": 1})', "give the payload once"),
        ('host.ask(3, "op")', "target must be a string, not int"),
        ('host.ask("t", "op", {}, -1)', "timeout_ms must be a number of milliseconds"),
        ('host.ask("t", "op", {}, 2**32)', "timeout_ms must be"),
        ('host.ask("t", "op", {}, True)', "timeout_ms must be"),
        ('host.tell("t", "op", {"a": [1, {2}]})', r"payload\.a\[1\] is of type set"),
        ('host.tell("t", "op", {"a": float("nan")})', r"payload\.a is nan"),
        ('host.kv_put("k", "\\ud800")', "value has characters without a UTF-8 form"),
        ('host.kv_put(1, "v")', "key must be a string"),
        ('host.kv_put("k", b"v")', "value is of type bytes"),
        ('host.kv_put("k", "v", ttl_ms=-1)', "ttl_ms must be"),
        ("host.monitor(None)", "actor_id must be a string"),
        ("host.demonitor(None)", "monitor_ref must be a string"),
        ("host.link(1)", "peer_id must be a string"),
        ("host.unlink(1)", "peer_id must be a string"),
        ('host.spawn("worker", None)', "name must be a string"),
        ('host.spawn("worker", "w", ["x"])', "args must be a dict, not list"),
        ('host.spawn("worker", "w", {"x": {1}})', r"args\.x is of type set"),
        ("host.stop(None)", "actor_id must be a string"),
        ('host.send_after(-1, "t")', "delay_ms must be a number of milliseconds"),
        ('host.send_after(1, "")', "op is empty"),
        ('host.timer_start("t")', "exactly one of every_ms, after_ms and cron"),
        ('host.timer_start("t", every_ms=1, after_ms=1)', "exactly one of"),
        ('host.timer_start("t", every_ms=0)', "every_ms must be a number of milliseconds from 1"),
        ('host.timer_start("t", after_ms=2**53)', "after_ms must be"),
        ('host.timer_start("t", cron=5)', "cron must be a string"),
        ('host.timer_start("t", every_ms=1, name="")', "name is empty"),
        ('host.reminder_register("", "t", every_ms=1)', "name is empty"),
        ("host.reminder_unregister(None)", "name must be a string"),
    ],
)
def test_wrong_arguments_never_reach_the_host(probe: ActorHarness, call: str, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        run(probe, call)


def test_key_value(probe: ActorHarness) -> None:
    assert run(probe, 'host.kv_get("a")') is None
    assert run(probe, '[host.kv_put("a", "1"), host.kv_get("a"), host.kv.exists("a"), host.kv_exists("b")]') == [None, "1", True, False]
    assert run(probe, '[host.kv.put("b", {"x": 1}), host.kv.get("b")]') == [None, '{"x":1}']
    assert run(probe, '[host.kv_cas("a", "0", "2"), host.kv_cas("a", "1", "2"), host.kv.cas("c", None, "3")]') == [False, True, True]
    assert run(probe, "[host.kv_list(''), host.kv.list('b')]") == [["a", "b", "c"], ["b"]]
    assert run(probe, '[host.kv_delete("a"), host.kv.delete("a")]') == [True, False]
    run(probe, 'host.kv_put("brief", "x", ttl_ms=100)')
    probe.advance(99)
    assert run(probe, 'host.kv_get("brief")') == "x"
    probe.advance(1)
    assert run(probe, 'host.kv_get("brief")') is None


def test_a_list_of_keys_is_read_to_its_end(probe: ActorHarness) -> None:
    assert run(probe, '[[host.kv_put(f"k{n:04}", "") for n in range(2000)], len(host.kv_list("k"))][1]') == 2000


def test_identity_clock_and_log(probe: ActorHarness) -> None:
    assert run(probe, "host.get_actor_id()") == "default/probe/k"
    probe.host.clock_ms = 42
    assert run(probe, "host.now_ms()") == 42
    run(probe, '[host.debug("d"), host.info("i"), host.warn("w"), host.error("\\ud800")]')
    assert probe.host.logs == [("debug", "d"), ("info", "i"), ("warn", "w"), ("error", "?")]


def test_outside_of_an_actor_there_is_no_host() -> None:
    calls = [lambda: host.ask("t", "op"), lambda: host.tell("t", "op"), host.now_ms, lambda: host.info("x"), lambda: host.kv_get("k")]
    for call in calls:
        with pytest.raises(OutsideActorError, match="At module level there is no host"):
            call()


NOT_SERVED = """
    create_shard_group scatter_gather broadcast_shard_group barrier_shard_group reduce_shard_group all_reduce_shard_group
    allreduce_shard_group bulk_update_shard_group map_shard_group pool_checkout pool_checkin pool_stats application_metrics_add
""".split()


@pytest.mark.parametrize("name", NOT_SERVED)
def test_what_is_not_served_says_so(name: str) -> None:
    function = getattr(host, name)
    with pytest.raises(NotAvailableError, match=rf"^host\.{name} is not available") as caught:
        function("a", 1, key="b")
    assert caught.value.function == f"host.{name}"


@pytest.mark.parametrize("name", ["no_such_name", "ts.no_such_name", "kv.no_such_name", "channel.no_such_name"])
def test_a_name_in_no_list_is_an_ordinary_attribute_error(name: str) -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        eval(f"host.{name}")


def test_every_error_code_has_its_exception() -> None:
    codes = """invalid_argument unknown_operation not_found conflict overloaded deadline_exceeded unavailable deadlock handler_failed
        limit_exceeded permission_denied payload_too_large storage_full storage_failed internal""".split()
    for code in codes:
        error = errors.error_from(code, "m", True)
        assert type(error) is not PlexSpacesError and (error.code, error.message, error.retryable) == (code, "m", True)
    other = errors.error_from("fenced", "m", False)
    assert type(other) is PlexSpacesError and other.code == "fenced"


def test_the_application_of_an_actor_id() -> None:
    assert actor_application_id("bank/bank_account/alice") == "bank"
    assert actor_application_id("bank/bank_account/alice@node-1") == "bank"
    assert [actor_application_id(x) for x in ("", "alice", "a/b", "/b/c")] == ["", "", "", ""]
