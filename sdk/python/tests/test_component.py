"""A real component, made by the builder and run by wasmtime: what crosses its border, and that nothing traps."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wasm_host import Failed, WasmHost, WasmInstance

from plexspaces import build


@pytest.fixture(scope="module")
def component(tmp_path_factory: pytest.TempPathFactory) -> WasmHost:
    output = tmp_path_factory.mktemp("component") / "made" / "probe.wasm"
    built = build.build(Path(__file__).parent / "probe" / "probe.py", output)
    assert built.size == output.stat().st_size
    assert [path.name for path in output.parent.iterdir()] == ["probe.wasm"]
    # Whatever else is installed on this machine must not be inside.
    assert built.size < 25_000_000
    return WasmHost(output)


@pytest.fixture
def probe(component: WasmHost) -> Iterator[WasmInstance]:
    component.refusal = None
    instance = component.instance()
    instance.init("probe", {"actor_id": "ns/probe/k", "args": {"x": 1}})
    yield instance
    # The instance still works: nothing of the test has trapped.
    assert instance.handle("echo", {"body": "alive"}) == "alive"


def test_describe_is_what_the_check_saw(component: WasmHost) -> None:
    (described,) = component.instance().describe()["actors"]
    assert (described["type"], described["facets"]) == ("probe", [{"type": "durability", "config": {}}])


def test_modules_beside_the_entry_are_inside(probe: WasmInstance) -> None:
    assert probe.handle("beside", {"n": 4}) == {"double": 8, "name": "deep", "args": {"x": 1}, "id": "ns/probe/k"}


def test_what_only_functions_import_is_inside(probe: WasmInstance) -> None:
    found = ["late linked", "later", "a name, not a module"]
    assert probe.handle("late") == {"half": "1/2", "found": found, "hue": 1, "missing": None}


def test_nothing_of_the_build_runs_in_the_guest(probe: WasmInstance) -> None:
    modules = set(probe.handle("modules"))
    assert "plexspaces" in modules
    assert not modules & {"argparse", "subprocess", "asyncio", "socket", "plexspaces.build", "plexspaces.testing"}


def test_what_the_build_leaves_behind_is_shared_and_left_alone(probe: WasmInstance) -> None:
    things = "[host, ProbeActor, ProbeActor.echo, ProbeActor.echo.__code__, NAME, sys.modules, str.join]"
    counts = probe.handle("reply", {"code": f"[sys.getrefcount(thing) for thing in {things}]"})
    assert min(counts) >= 1 << 30
    assert probe.handle("reply", {"code": "sys.getrefcount(self)"}) < 100
    assert probe.handle("reply", {"code": "__import__('gc').get_freeze_count()"}) > 10_000


def test_state_moves_to_another_instance(component: WasmHost, probe: WasmInstance) -> None:
    probe.handle("set", {"value": {"a": [1, "ü"]}})
    other = component.instance()
    other.init("probe_actor", {})
    other.restore(probe.snapshot())
    assert other.snapshot() == {"value": {"a": [1, "ü"]}}


def test_a_turn_gives_the_state_when_it_is_wanted(probe: WasmInstance) -> None:
    assert probe.handle_with_state("set", {"value": "ü"}) == (None, {"value": "ü"})
    assert probe.handle_with_state("echo", {"body": 1}) == (1, {"value": "ü"})


def test_bytes_stay_bytes(probe: WasmInstance) -> None:
    assert probe.handle("echo", b"\x00\xff") == b"\x00\xff"
    assert probe.handle("reply", {"code": "bytearray(b'ab')"}) == b"ab"


@pytest.mark.parametrize(
    ("operation", "payload", "kind", "code", "message", "field"),
    [
        ("beside", {}, "rejected", "invalid_argument", "field 'n' is missing", "n"),
        ("beside", b"x", "failed", "handler_failed", "JSON cannot hold", None),
        ("set", None, "rejected", "invalid_argument", "field 'value' is missing", "value"),
        ("nope", {}, "rejected", "unknown_operation", "known operations: beside, echo, hoard", None),
        ("raise", {"kind": "exit"}, "failed", "handler_failed", "SystemExit: on demand ?", None),
        ("raise", {"kind": "interrupt"}, "failed", "handler_failed", "KeyboardInterrupt: on demand", None),
        ("raise", {"kind": "memory"}, "failed", "handler_failed", "MemoryError: on demand", None),
        ("raise", {"kind": "value"}, "failed", "handler_failed", "ValueError: on demand", None),
        ("raise", {"kind": "none"}, "failed", "handler_failed", "KeyError: 'none'", None),
        ("recurse", {}, "failed", "handler_failed", "RecursionError", None),
        ("nest", {"depth": 201}, "failed", "handler_failed", "reply is nested too deeply", None),
        ("nest", {"depth": 2_000}, "failed", "handler_failed", "reply is nested too deeply", None),
        ("hoard", {}, "failed", "handler_failed", "MemoryError", None),
        ("reply", {"code": "{'a': {1}}"}, "failed", "handler_failed", "reply.a is of type set", None),
        ("reply", {"code": "float('nan')"}, "failed", "handler_failed", "reply is nan", None),
        ("reply", {"code": "['\\ud800']"}, "failed", "handler_failed", "reply[0] has characters", None),
        ("reply", {"code": "open('/etc/passwd')"}, "failed", "handler_failed", "Error", None),
        ("reply", {"code": "host.pool_stats('b')"}, "failed", "handler_failed", "host.pool_stats is not available", None),
        ("reply", {"code": "host.ask('t', 'o', {}, -1)"}, "failed", "handler_failed", "timeout_ms", None),
    ],
)
def test_failures_come_back_as_failures(
    probe: WasmInstance, operation: str, payload: Any, kind: str, code: str, message: str, field: str | None
) -> None:
    with pytest.raises(Failed) as caught:
        probe.handle(operation, payload)
    failure = caught.value
    assert (failure.kind, failure.code, failure.field) == (kind, code, field)
    assert message in failure.message
    assert bool(failure.trace) == (kind == "failed")


def test_nesting_up_to_the_limit_works(probe: WasmInstance) -> None:
    value = probe.handle("nest", {"depth": 199})
    assert probe.handle("echo", {"body": value}) == value


def test_state_that_json_cannot_hold_fails_the_snapshot(probe: WasmInstance) -> None:
    probe.handle("store", {"code": "{'deep': [object()]}"})
    for call in (probe.snapshot, lambda: probe.handle_with_state("echo", {"body": 1})):
        with pytest.raises(Failed, match=r"failed/handler_failed: state\.value\.deep\[0\] is of type object"):
            call()


@pytest.mark.parametrize("text", ["", "{", "NaN", "[" * 201, "[" * 1_000_000, '{"a":' * 1_000_000, '{"a":'])
def test_a_payload_that_is_no_json_is_refused(probe: WasmInstance, text: str) -> None:
    with pytest.raises(Failed, match="rejected/invalid_argument: the payload is not JSON"):
        probe.raw("echo", text)


@pytest.mark.parametrize(
    ("actor_type", "config", "message"),
    [
        ("probe", "{", "rejected/invalid_argument: the configuration is not JSON"),
        ("probe", "[]", "rejected/invalid_argument: the configuration must be a JSON object"),
        ("probe", {"args": {"fail": True}}, "failed/handler_failed: SystemExit: 3"),
    ],
)
def test_init_fails_without_a_trap(component: WasmHost, actor_type: str, config: Any, message: str) -> None:
    instance = component.instance()
    with pytest.raises(Failed, match=message):
        instance.init(actor_type, config)
    assert instance.describe()["actors"]


def test_a_message_before_init_fails(component: WasmHost) -> None:
    instance = component.instance()
    for call in (lambda: instance.handle("echo", {"body": 1}), instance.snapshot, lambda: instance.restore({})):
        with pytest.raises(Failed, match="handler_failed: RuntimeError: the actor was not initialised"):
            call()


@pytest.mark.parametrize("state", [[1], "x", None])
def test_a_wrong_snapshot_is_refused(probe: WasmInstance, state: Any) -> None:
    with pytest.raises(Failed, match="handler_failed: ValueError: a snapshot must be a JSON object"):
        probe.restore(state)


def test_casts_answer_null_and_know_their_sender(component: WasmHost, probe: WasmInstance) -> None:
    component.lines.clear()
    assert probe.handle("note", {"text": "hi"}, kind="cast", sender="ns/t/k") is None
    assert component.lines == [("info", "ns/t/k: hi")]


def test_instances_do_not_share_their_random_numbers(component: WasmHost) -> None:
    numbers = set()
    for _ in range(3):
        instance = component.instance()
        instance.init("probe", {})
        numbers.add(instance.handle("random"))
    assert len(numbers) == 3


def test_host_calls_cross_the_border(component: WasmHost, probe: WasmInstance) -> None:
    def run(code: str) -> Any:
        return probe.handle("reply", {"code": code})

    component.pairs.clear()
    component.told.clear()
    assert run("[host.kv_put('a', '1'), host.kv_put('b', 2, ttl_ms=5), host.kv_get('a'), host.kv_get('x')]") == [None, None, "1", None]
    assert run("[host.kv_list(''), host.kv_exists('b'), host.kv_delete('b'), host.kv_delete('b')]") == [["a", "b"], True, True, False]
    assert run("[host.kv_cas('a', '0', '9'), host.kv_cas('a', '1', '9'), host.kv_cas('n', None, '1')]") == [False, True, True]
    assert run("[host.now_ms(), host.get_actor_id()]") == [1234567890123, "default/probe/one"]
    assert run("[host.ask('t', 'o', {'x': 1}), host.tell('t', 'o', {'y': 'ü'})]") == [{"ok": True}, None]
    assert component.told == [("t", "o", '{"y":"ü"}')]
    component.refusal = ("deadline_exceeded", "too late", True)
    for code in ("host.ask('t', 'o')", "host.tell('t', 'o')", "host.kv_put('a', 'b')", "host.kv_delete('a')"):
        with pytest.raises(Failed, match=r"AskTimeoutError: too late \(deadline_exceeded\)"):
            run(code)
    component.refusal = None


def test_lives_and_timers_cross_the_border(component: WasmHost, probe: WasmInstance) -> None:
    def run(code: str) -> Any:
        return probe.handle("reply", {"code": code})

    component.calls.clear()
    assert run("[host.monitor('w'), host.demonitor('m1'), host.link('p'), host.unlink('p')]") == ["m1", None, None, None]
    assert run("[host.spawn('worker', 'w1', {'x': 'ü'}), host.spawn('worker'), host.stop('w1')]") == ["default/worker/w1"] * 2 + [True]
    assert component.calls == [
        ("monitor", "w"), ("demonitor", "m1"), ("link", "p"), ("unlink", "p"),
        ("spawn", "worker", "w1", '{"x":"ü"}'), ("spawn", "worker", "", "{}"), ("stop", "w1"),
    ]
    component.calls.clear()
    assert run("[host.send_after(5, 'tick', {'op': 'tick'}), host.timer_start('t', {'n': 1}, every_ms=2**40, name='beat')]") == ["t1", "t1"]
    assert run("[host.reminder_register('daily', 'report', cron='0 6 * * *'), host.timer_start('raw', b'x', after_ms=0)]") == ["t1", "t1"]
    assert run("[host.timer_cancel('t1'), host.reminder_unregister('daily')]") == [True, True]
    assert component.calls == [
        ("start", None, ("after", 5), "tick", '{"op":"tick"}', False),
        ("start", "beat", ("every", 2**40), "t", '{"op":"t","n":1}', False),
        ("start", "daily", ("cron", "0 6 * * *"), "report", '{"op":"report"}', True),
        ("start", None, ("after", 0), "raw", b"x", False),
        ("cancel", "t1", False), ("cancel", "daily", True),
    ]
    component.refusal = ("conflict", "it lives", False)
    for code in ("host.spawn('worker', 'w1')", "host.stop('w')", "host.monitor('w')", "host.link('w')", "host.send_after(1, 't')"):
        with pytest.raises(Failed, match=r"ConflictError: it lives \(conflict\)"):
            run(code)
    component.refusal = None


def test_http_crosses_the_border(component: WasmHost, probe: WasmInstance) -> None:
    def run(code: str) -> Any:
        return probe.handle("reply", {"code": code})

    component.calls.clear()
    answer = run("host.http_fetch('llm', 'post', '/chat?x=1', {'p': 'ü'}, {'x-b': 'c'}, 500, idempotency_key='k')")
    assert answer == {
        "status": 200, "headers": {"content-type": "text/plain", "x-a": "1, 2"}, "body": '{"ok":true}', "json": {"ok": True},
    }
    component.fetched = b"\xff"
    answer = run("host.http_fetch('llm', 'GET', '/')")
    assert (answer["body"], answer["body_base64"], "json" in answer) == ("\ufffd", "/w==", False)
    assert run("host.http_fetch('llm', 'PUT', '/', b'\\xfe')['status']") == 200
    component.fetched = '{"ok":true}'
    headers = [("x-b", "c"), ("content-type", "application/json")]
    asked = {"method": "POST", "path": "/chat?x=1", "headers": headers, "body": '{"p":"ü"}', "timeout_ms": 500, "idempotency_key": "k"}
    bare = {"method": "GET", "path": "/", "headers": [], "body": None, "timeout_ms": None, "idempotency_key": None}
    octets = {**bare, "method": "PUT", "headers": [("content-type", "application/octet-stream")], "body": b"\xfe"}
    assert component.calls == [("fetch", "llm", asked), ("fetch", "llm", bare), ("fetch", "llm", octets)]
    component.refusal = ("unavailable", "the circuit is open", True)
    with pytest.raises(Failed, match=r"UnavailableError: the circuit is open \(unavailable\)"):
        run("host.http_fetch('llm', 'GET', '/')")
    component.refusal = None


def test_waits_cross_the_border(component: WasmHost, probe: WasmInstance) -> None:
    def run(code: str) -> Any:
        return probe.handle("reply", {"code": code})

    component.calls.clear()
    assert run("[host.sleep(5), host.checkpoint()]") == [None, None]
    assert component.calls == [("sleep", 1234567890128), ("sleep", 1234567890123)]
    component.refusal = ("cancelled", "the run was cancelled", False)
    for code in ("host.sleep(1)", "host.ask('t', 'o')", "host.retry(host.ask, 't', 'o')"):
        with pytest.raises(Failed, match=r"failed/cancelled: WorkflowCancelled: the run was cancelled \(cancelled\)"):
            run(code)
    component.refusal = None


def test_services_cross_the_border(component: WasmHost, probe: WasmInstance) -> None:
    def run(code: str) -> Any:
        return probe.handle("reply", {"code": code})

    component.calls.clear()
    component.served = '{"tuple":["a","ü"]}'
    assert run("""[host.ts.read(['a', None]), host.ts_take('["a",null]', timeout_ms=5)]""") == [["a", "ü"], '["a","ü"]']
    component.served = "{}"
    first, second = run("[host.channel.send('', 'c', 't', {'x': 1}), host.channel.send('default', 'c', 't', None)]")
    assert first != second and len(first) == len(second) == 32
    assert component.calls == [
        ("request", "tuples", "default", "read", {"pattern": ["a", None]}),
        ("request", "tuples", "default", "take", {"pattern": ["a", None], "timeout_ms": 5}),
        ("request", "channels", "c", "send", {"payload": {"x": 1}, "msg_id": first, "msg_type": "t"}),
        ("request", "channels", "c", "send", {"payload": {}, "msg_id": second, "msg_type": "t"}),
    ]
    component.refusal = ("unavailable", "the service starts", True)
    with pytest.raises(Failed, match=r"UnavailableError: the service starts \(unavailable\)"):
        run("host.ts.write([1])")
    component.refusal = None


def test_ten_thousand_messages_leave_the_instance_well(probe: WasmInstance) -> None:
    for n in range(10_000):
        probe.handle("set", {"value": n})
    assert probe.snapshot() == {"value": 9_999}


@pytest.fixture(scope="module")
def behaviors(tmp_path_factory: pytest.TempPathFactory) -> WasmHost:
    output = tmp_path_factory.mktemp("behaviors") / "behaviors.wasm"
    build.build(Path(__file__).parent / "behaviors" / "behaviors.py", output)
    return WasmHost(output)


def made(component: WasmHost, actor_type: str) -> WasmInstance:
    instance = component.instance()
    instance.init(actor_type)
    return instance


def test_a_component_says_how_its_types_behave(behaviors: WasmHost) -> None:
    described = behaviors.instance().describe()["actors"]
    assert [(a["type"], a["behavior"]) for a in described] == [
        ("server", "GenServer"), ("events", "GenEvent"), ("machine", "GenFSM"), ("flow", "Workflow"),
    ]
    assert [a["type"] for a in described if "states" in a or "initial" in a] == ["machine"]
    assert (described[2]["states"], described[2]["initial"]) == (["closed", "open"], "closed")
    assert [(h["operation"], h["kind"]) for h in described[3]["handlers"]] == [
        ("workflow_query:status", "query"), ("workflow_run", "run"), ("workflow_signal:cancel", "signal"),
    ]


def test_ends_of_others_reach_a_component(behaviors: WasmHost) -> None:
    behaviors.calls.clear()
    server = made(behaviors, "server")
    assert behaviors.calls == [("monitor", "worker")]
    down = {"monitor_ref": "m1", "down_from": "ns/worker/w", "down_reason": "noproc"}
    assert server.handle("__DOWN__", down, kind="cast") is None
    assert server.handle("__EXIT__", {"exit_from": "ns/peer/p", "exit_reason": "kill"}, kind="cast") is None
    assert server.snapshot() == {"watching": "m1", "down": [["m1", "ns/worker/w", "noproc"], ["ns/peer/p", "kill"]]}


def test_an_event_actor_in_a_component(behaviors: WasmHost) -> None:
    events = made(behaviors, "events")
    assert [events.handle("event", {"n": n}, kind="cast") for n in (1, 2)] == [None, None]
    assert events.handle("count") == 2


def test_a_state_machine_in_a_component(behaviors: WasmHost) -> None:
    machine = made(behaviors, "machine")
    machine.handle("go", {"to": "open"})
    with pytest.raises(Failed, match="failed/handler_failed: ValueError: fsm_state of Machine must be 'closed' or 'open', not 'ajar'"):
        machine.handle("go", {"to": "ajar"})
    other = made(behaviors, "machine")
    assert other.handle("fsm_state") == {"state": "closed", "states": ["closed", "open"]}
    other.restore(machine.snapshot())
    assert other.handle("fsm_state")["state"] == "open"


def test_a_workflow_in_a_component(behaviors: WasmHost) -> None:
    flow = made(behaviors, "flow")
    assert flow.handle_with_state("workflow_query:status") == ("new", {"status": "new"})
    assert flow.handle("workflow_run", {"op": "workflow_run", "id": 1}) == {"id": 1}
    assert flow.handle("workflow_signal", {"name": "cancel", "reason": "late"}, kind="cast") is None
    assert flow.handle("workflow_query", {"query": "status"}) == "late"
    with pytest.raises(Failed, match="rejected/unknown_operation: unknown operation 'workflow_signal:nope'"):
        flow.handle("workflow_signal:nope")


def test_a_run_in_a_component_shows_its_state_and_hears_signals(behaviors: WasmHost) -> None:
    flow = made(behaviors, "flow")
    behaviors.calls.clear()
    behaviors.signals = [("workflow_signal:cancel", '{"reason":"ü"}'), ("workflow_signal", '{"name":"go","n":1}'), ("workflow_signal:raw", b"x")]
    assert flow.handle("workflow_run", {"wait": ["go", "raw"]}) == [{"n": 1}, "b'x'", "ü"]
    assert behaviors.calls == [("publish", '{"status":"new"}'), ("sleep", 1234567890123 + 9 * 365 * 86_400_000)]
