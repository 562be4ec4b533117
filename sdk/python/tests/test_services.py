"""What actors share: the functions of `host` for it, on the services in memory."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from plexspaces import (
    ConflictError,
    DeadlockError,
    InvalidArgumentError,
    OutsideActorError,
    UnavailableError,
    UnknownOperationError,
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
from plexspaces.testing import ActorHarness, World


@actor
class Probe:
    got: list = state(default_factory=list)

    @handler("run")
    def run(self, code: str) -> Any:
        short = {"ts": host.ts, "groups": host.process_groups, "channel": host.channel, "shared": host.shared_kv}
        return eval(code, {"host": host, **short})

    @handler("*", "cast")
    def take(self, payload: dict) -> None:
        self.got.append(payload)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def a(world: World) -> ActorHarness:
    return ActorHarness(Probe, key="a", world=world)


@pytest.fixture
def b(world: World) -> ActorHarness:
    return ActorHarness(Probe, key="b", world=world)


def run(probe: ActorHarness, code: str) -> Any:
    return probe.ask("run", {"code": code})


def test_tuples_go_from_one_actor_to_another(a: ActorHarness, b: ActorHarness) -> None:
    assert run(a, "[ts.write(['job', 1, {'n': [1]}]), host.ts_write(('job', 2, None)), ts.count(['job', None, None])]") == [None, None, 2]
    assert run(b, "[ts.read(['job', None, None]), host.ts_read(['job', 3, None]), ts.read(['job', 1])]") == [["job", 1, {"n": [1]}], None, None]
    assert run(b, "[host.ts.take(['job', None, None]), host.ts_take(['job', None, None]), host.ts.take(['job', None, None])]") == [
        ["job", 1, {"n": [1]}], ["job", 2, None], None,
    ]


def test_the_answer_is_of_the_patterns_kind(a: ActorHarness) -> None:
    run(a, """host.ts_write('["order", "ü", 1.0]')""")
    assert run(a, """[ts.read('["order", null, 1]'), host.ts_read_all('["order", null, null]')]""") == ['["order","ü",1.0]', '[["order","ü",1.0]]']
    assert run(a, """host.ts.replace('["order", null, null]', ["order", "ü", 2])""") == '["order","ü",1.0]'
    assert run(a, """[ts.read(["order", "ü", {"$gt": 1}]), host.ts_take('["order", null, 2]')]""") == [["order", "ü", 2], '["order","ü",2]']
    assert run(a, """[host.ts_take('["order", null, null]'), host.ts_read_all('["order"]'), host.ts_take_all(["order"])]""") == [None, "[]", []]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("[None]", [True, 1, "1", "ab", None, [1], {"a": 1, "b": 2}, 2.5]),
        ("[1]", [1]),
        ("[1.0]", [1]),
        ("[True]", [True]),
        ("[{'b': 2.0, 'a': 1}]", [{"a": 1, "b": 2}]),
        ("[{'$eq': None}]", [None]),
        ("[{'$gt': 0, '$lt': 2}]", [1]),
        ("[{'$gte': 'a'}]", ["ab"]),
        ("[{'$in': [1, 'ab', [1.0]]}]", [1, "ab", [1]]),
        ("[{'$prefix': 'a'}]", ["ab"]),
        ("[{'$type': 'number'}]", [1, 2.5]),
        ("[{'$type': 'integer'}]", [1]),
        ("[{'$ne': 1, '$type': 'number'}]", [2.5]),
    ],
)
def test_patterns(a: ActorHarness, pattern: str, found: list) -> None:
    for element in (True, 1, "1", "ab", None, [1], {"a": 1, "b": 2}, 2.5):
        run(a, f"host.ts.write([{element!r}])")
    assert run(a, f"host.ts.read_all({pattern})") == [[element] for element in found]


def test_write_once_and_replace(a: ActorHarness, b: ActorHarness) -> None:
    assert run(a, "[host.ts.write_once(['svc', 'x', None], ['svc', 'x', 'a']), host.ts.replace(['none'], ['none'])]") == [True, None]
    assert run(b, "host.ts_write_once(['svc', 'x', None], ['svc', 'x', 'b'])") is False
    assert run(b, "[host.ts.replace(['svc', 'x', None], ['svc', 'x', 'c']), host.ts.read_all(['svc', None, None])]") == [
        ["svc", "x", "a"], [["svc", "x", "c"]],
    ]


def test_a_lease_that_is_not_confirmed_ends(a: ActorHarness, b: ActorHarness) -> None:
    run(a, "[host.ts.write(['job', n]) for n in (1, 2)]")
    job, lease = run(a, "host.ts.take(['job', None], lease_ms=1000)")
    assert job == ["job", 1] and run(b, "host.ts.read_all(['job', None])") == [["job", 2]]
    a.advance(1000)
    # It is there again, as old as it was.
    taken, second = run(b, """host.ts.take('["job", null]', lease_ms=1000)""")
    assert taken == '["job",1]'
    with pytest.raises(ConflictError, match="the lease .* is over"):
        run(a, f"host.ts.confirm({lease!r})")
    assert run(b, f"[host.ts_release({second!r}), host.ts.count(['job', None])]") == [None, 2]
    _, third = run(b, "host.ts.take(['job', 1], lease_ms=1000)")
    run(b, f"host.ts_confirm({third!r})")
    b.advance(1000)
    assert run(b, "[host.ts_count(['job', None]), host.ts.take(['none'], lease_ms=5)]") == [1, [None, None]]


def test_all_pages_are_read(a: ActorHarness) -> None:
    run(a, "[host.ts.write(['n', n]) for n in range(2500)]")
    assert run(a, "len(host.ts.read_all(['n', None]))") == 2500
    assert run(a, "[t[1] for t in host.ts.take_all(['n', {'$lt': 2400}])]") == list(range(2400))
    assert run(a, "host.ts.count(['n', None])") == 100


def test_a_tuple_has_its_time(a: ActorHarness) -> None:
    run(a, "host.ts.write(['brief'], ttl_ms=10)")
    a.advance(9)
    assert run(a, "host.ts.read(['brief'])") == ["brief"]
    a.advance(1)
    assert run(a, "host.ts.read(['brief'])") is None


def test_whoever_waits_lets_the_time_pass(a: ActorHarness, b: ActorHarness) -> None:
    began = a.host.clock_ms
    assert run(a, "[host.ts.read(['x'], 50), host.ts.take(['x'], timeout_ms=50), host.now_ms()]") == [None, None, began + 100]
    run(a, "[host.ts.write(['x']), host.ts.take(['x'], lease_ms=500)]")
    # The lease ends while the other one waits.
    assert run(b, "[host.ts.take(['x'], timeout_ms=10_000), host.now_ms()]") == [["x"], began + 600]


def test_a_subscription(world: World, a: ActorHarness, b: ActorHarness) -> None:
    subscription = run(a, "host.ts.subscribe(['job', None])")
    run(b, "[host.ts.write(['job', 1]), host.ts.write(['other', 1])]")
    assert world.deliver() == 1
    assert a.snapshot()["got"] == [{"tuple": ["job", 1], "subscription": subscription}]
    run(a, f"host.ts_unsubscribe({subscription!r})")
    run(b, "host.ts.write(['job', 2])")
    assert world.deliver() == 0


def test_namespaces_share_nothing(a: ActorHarness, world: World) -> None:
    other = ActorHarness(Probe, key="a", namespace="other", world=world)
    run(a, "[host.ts.write(['x']), host.shared_kv.put('k', 'v'), host.process_groups.join('g'), host.lock_acquire('l', 1000)]")
    assert run(other, "[host.ts.read(['x']), host.shared_kv.get('k'), host.process_groups.members('g')]") == [None, None, []]
    assert run(other, "host.lock_acquire('l', 1000)")


def test_locks_in_their_short_form(a: ActorHarness, b: ActorHarness) -> None:
    version = run(a, "host.lock_acquire('refund:1', 5000)")
    assert isinstance(version, str) and version
    assert run(b, "[host.lock_acquire('refund:1', 5000), host.lock_acquire('refund:2', 5000) is None]") == [None, False]
    assert run(a, "host.lock_acquire('refund:1', ttl_ms)".replace("ttl_ms", "5000")) is None
    assert run(b, f"[host.lock_release('refund:1', '99'), host.lock_release('refund:1', None), host.lock_renew('refund:1', '99', 5)]") == [False] * 3
    assert run(a, f"[host.lock_renew('refund:1', {version!r}, 9000), host.lock_release('refund:1', {version!r})]") == [True, True]
    assert run(a, f"host.lock_release('refund:1', {version!r})") is False
    later = run(b, "host.lock_acquire('refund:1', 5000)")
    assert int(later) > int(version)


def test_locks_in_their_long_form(a: ActorHarness, b: ActorHarness) -> None:
    won = 'host.lock_acquire("", "leader-election", "a", "leader", 30, 0)'
    lost = 'host.lock_acquire("default", "leader-election", "b", "leader", 30, {})'
    first = json.loads(run(a, won))
    assert isinstance(first["version"], str) and first["holder"] == "a"
    assert run(b, lost.format(0)) == "ERROR: the lock 'leader-election' is held by a"
    a.advance(20_000)
    again = json.loads(run(a, won))
    assert again["version"] == first["version"] and again["expires_ms"] == first["expires_ms"] + 20_000
    # Waiting, in seconds, until the holder's lease is over.
    assert run(b, lost.format(29.5)).startswith("ERROR")
    second = json.loads(run(b, lost.format(1)))
    assert int(second["version"]) > int(first["version"])
    assert run(a, f'host.lock_release("", "leader-election", "a", {first["version"]!r})') is False
    assert run(a, f'host.lock_release("", "leader-election", "a", {second["version"]!r})') is False
    assert run(b, f'host.lock_release("", "leader-election", "b", {second["version"]!r})') is True


@actor
class Candidate:
    """Tells of its part in an election."""

    def __init__(self) -> None:
        self.election = host.election("boss", 9000)

    @handler("do")
    def do(self, what: str, timeout_ms: int | None = None) -> Any:
        election, arguments = self.election, [] if timeout_ms is None else [timeout_ms]
        value = getattr(election, what)
        return [value(*arguments) if callable(value) else value, election.is_leader, election.token]


def test_an_election_has_one_leader_at_a_time_with_a_token_that_grows(world: World) -> None:
    one, two = (ActorHarness(Candidate, key=key, world=world) for key in ("one", "two"))

    def do(candidate: ActorHarness, what: str, timeout_ms: int | None = None) -> Any:
        return candidate.ask("do", {"what": what, "timeout_ms": timeout_ms})

    won, leads, first = do(one, "campaign")
    assert won and leads and do(two, "campaign") == [False, False, ""]
    assert do(two, "leader")[0] == do(one, "leader")[0] == "default/candidate/one"
    # Whoever renews in time leads on, with the same token.
    for _ in range(3):
        one.advance(6000)
        assert do(one, "renew") == [True, True, first]
        assert do(two, "renew") == [False, False, ""] and do(two, "campaign") == [False, False, ""]
    # The lease of one that does not is over for itself too, before it has asked.
    one.advance(9000)
    assert do(one, "is_leader") == [False, False, ""] and do(two, "leader")[0] is None
    won, leads, second = do(two, "campaign")
    assert won and leads and int(second) > int(first)
    assert do(one, "renew") == [False, False, ""] and do(one, "resign") == [False, False, ""]
    assert do(two, "resign") == [True, False, ""]
    assert do(one, "campaign", 1000)[:2] == [True, True]


def test_a_wait_for_a_lock(a: ActorHarness, b: ActorHarness) -> None:
    run(a, "host.lock_acquire('k', 1000)")
    assert run(b, "host.lock_acquire('k', 1000, timeout_ms=999)") is None
    assert run(b, "host.lock_acquire('k', 1000, timeout_ms=1)") is not None


def test_shared_pairs(a: ActorHarness, b: ActorHarness) -> None:
    assert run(a, "[host.shared_kv.put('a', '1'), host.shared_kv.put('b', {'x': 1}), host.kv_get('a')]") == [None] * 3
    assert run(b, "[host.shared_kv.get('a'), host.shared_kv.get('b'), host.shared_kv.get('c')]") == ["1", '{"x":1}', None]
    assert run(b, "[host.shared_kv.exists('a'), host.shared_kv.exists('c'), host.shared_kv.list(), host.shared_kv.list('b')]") == [
        True, False, ["a", "b"], ["b"],
    ]
    assert run(b, "[shared.cas('a', '0', '2'), shared.cas('a', '1', '2'), shared.cas('c', None, 3)]") == [False, True, True]
    assert run(a, "[host.shared_kv.delete('a'), host.shared_kv.delete('a'), host.shared_kv.get('c')]") == [True, False, "3"]
    run(a, "host.shared_kv.put('brief', 'x', ttl_ms=100)")
    b.advance(100)
    assert run(b, "host.shared_kv.get('brief')") is None


def test_changes_of_shared_pairs_are_seen(a: ActorHarness, b: ActorHarness) -> None:
    begun = run(b, "host.shared_kv.watch('flag/')")
    assert begun == {"changes": [], "version": 0, "reset": False}
    run(a, "[host.shared_kv.put('flag/x', 'on'), host.shared_kv.put('y', 'on'), host.shared_kv.put('flag/x', 'off')]")
    run(a, "host.shared_kv.cas('flag/z', None, 'on')")
    later = run(b, "host.shared_kv.watch('flag/', 0, timeout_ms=1000)")
    assert [(change["key"], change["value"]) for change in later["changes"]] == [("flag/x", "off"), ("flag/z", "on")]
    run(a, "host.shared_kv.delete('flag/x')")
    last = run(b, f"host.shared_kv.watch('flag/', after={later['version']})")
    assert last["changes"] == [{"key": "flag/x", "value": None, "version": None}]
    assert run(b, f"host.shared_kv.watch('flag/', {last['version']}, 10)")["changes"] == []


def test_groups(world: World, a: ActorHarness, b: ActorHarness) -> None:
    assert run(a, "host.process_groups.members('room')") == []
    run(b, "[host.process_groups.join('room'), host.process_groups.join('room', 'default/probe/a'), host.process_groups.join('room')]")
    members = ["default/probe/b", "default/probe/a"]
    assert run(a, "[host.process_groups.members('room'), host.process_groups.get_members('room')]") == [members, members]
    run(a, "[host.process_groups.publish('room', {'text': 'hello'}), host.process_groups.broadcast('room', {'op': 'ping', 'n': 1})]")
    run(a, "[host.process_groups.publish('room', {'op': 'x'}, 'named'), host.process_groups.publish('room', [1], msg_type='list')]")
    told = [(sent.target[-1], sent.operation, sent.payload) for sent in a.host.tells]
    assert told == [
        (member, operation, payload)
        for operation, payload in [
            ("group_message", {"text": "hello"}), ("ping", {"op": "ping", "n": 1}), ("named", {"op": "x"}), ("list", [1]),
        ]
        for member in "ba"
    ]
    run(a, "host.process_groups.leave('room', 'default/probe/b')")
    assert run(a, "[host.process_groups.members('room'), host.process_groups.leave('room'), host.process_groups.members('room')]") == [
        ["default/probe/a"], None, [],
    ]


def test_topics_of_a_group(a: ActorHarness) -> None:
    run(a, "[groups.join('g', 'n/t/all'), groups.join('g', 'n/t/news', 'news'), groups.join('g', 'n/t/both', topic=['news', 'sport'])]")
    assert run(a, "[host.process_groups.members('g', topic) for topic in ('news', 'sport', 'other')]") == [
        ["n/t/all", "n/t/news", "n/t/both"], ["n/t/all", "n/t/both"], ["n/t/all"],
    ]
    run(a, "host.process_groups.publish('g', {}, topic='sport')")
    assert [sent.target for sent in a.host.tells] == ["n/t/all", "n/t/both"]


def test_an_actor_that_ends_leaves_its_groups(a: ActorHarness, b: ActorHarness) -> None:
    run(b, "host.process_groups.join('room')")
    assert run(a, "[host.stop('default/probe/b'), host.process_groups.members('room'), host.stop('default/probe/b')]") == [True, [], False]


def test_a_queue(a: ActorHarness, b: ActorHarness) -> None:
    first, second = run(a, "[host.channel.send('', 'tasks', 'add', {'n': n}) for n in (1, 2)]")
    message, ok, err = run(b, "host.channel.receive('', 'tasks', 0)")
    assert (ok, err) == (True, None)
    assert message.pop("receipt").startswith("1-")
    assert message == {
        "msg_id": first, "msg_type": "add", "payload": {"n": 1}, "channel": "tasks", "timestamp": b.host.clock_ms, "delivery_count": 1,
    }
    run(b, f"host.channel.nack('', 'tasks', {first!r}, True)")
    assert run(b, "host.channel.receive('default', 'tasks', 0)[0]['delivery_count']") == 2
    run(b, f"host.channel.ack('', 'tasks', {first!r})")
    assert run(b, "host.channel.receive('', 'tasks', visibility_ms=1000)[0]['msg_id']") == second
    assert run(b, "host.channel.receive('', 'tasks', 500)") == [None, False, None]
    # Its consumer has died.
    assert run(a, "host.channel.receive('', 'tasks', 5000)[0]['msg_id']") == second
    run(a, f"host.channel.nack('', 'tasks', {second!r}, requeue=False)")
    counts = {"ready": 0, "delayed": 0, "in_flight": 0, "dead": 1, "published": 0, "subscribers": 0}
    assert run(a, "host.channel.status('', 'tasks')") == counts
    assert run(a, "host.channel.receive('', 'tasks', 60_000)") == [None, False, None]


def test_a_message_is_sent_once_and_later(a: ActorHarness) -> None:
    assert run(a, "[channel.send('', 'c', 't', {}, msg_id='m', delay_ms=100), channel.send('', 'c', 't', {}, msg_id='m')]") == ["m", "m"]
    assert run(a, "[channel.receive('', 'c')[1], channel.receive('', 'c', 100)[0]['msg_id'], channel.receive('', 'c')[1]]") == [False, "m", False]


def test_an_error_that_may_pass_is_the_third_value(a: ActorHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> str:
        raise UnavailableError("the service starts")

    monkeypatch.setattr(a.host, "request", fail)
    assert run(a, "host.channel.receive('', 'c')") == [None, False, "the service starts (unavailable)"]
    with pytest.raises(UnavailableError):
        run(a, "host.channel.send('', 'c', 't', {})")


def test_a_topic(a: ActorHarness, b: ActorHarness) -> None:
    began = a.host.clock_ms
    assert run(a, "[host.channel_publish('news', {'n': n}) for n in (1, 2)]") == [None, None]
    assert run(a, "[host.channel_subscribe('news').next(), host.channel.subscribe('news').next(timeout_ms=5)]") == [{"n": 1}, {"n": 2}]
    assert run(b, "host.channel_subscribe('news').next(0)") == {"n": 1}
    assert run(b, "host.channel_subscribe('news', 'latest', 'late').next(0)") is None
    run(b, "host.channel.publish('news', {'n': 3}, 'update')")
    assert run(b, "[channel.subscribe('news', subscriber='late').next(0), channel.subscribe('news').next()]") == [{"n": 3}, {"n": 2}]
    run(b, "host.channel_subscribe('news').unsubscribe()")
    assert run(b, "host.channel_subscribe('news').next()") == {"n": 1}
    assert a.host.clock_ms == began
    assert run(a, "[channel.subscribe('news').next(), channel.subscribe('news').next()]") == [{"n": 3}, None]
    assert a.host.clock_ms == began + 300_000


def test_consumers_of_a_group_share_a_topic(a: ActorHarness, b: ActorHarness) -> None:
    group = "host.channel_subscribe('news', subscriber='g')"
    run(a, "[host.channel_publish('news', {'n': n}, msg_id=f'm{n}') for n in (1, 2, 3)]")
    one, two = run(a, f"{group}.receive(0)"), run(b, f"{group}.receive(0, visibility_ms=1000)")
    assert [one["payload"], two["payload"]] == [{"n": 1}, {"n": 2}]
    run(a, f"{group}.ack({one!r})")
    assert run(a, "host.channel_subscribe('news').receive(0)['payload']") == {"n": 1}, "an actor by itself is a group of one"
    # What one has not acknowledged in time another is given.
    assert run(a, f"{group}.receive(0)['payload']") == {"n": 3}
    again = run(a, f"{group}.receive(2000)")
    assert (again["payload"], again["delivery_count"]) == ({"n": 2}, 2)
    with pytest.raises(ConflictError, match="does not hold any more"):
        run(b, f"{group}.ack({two!r})")
    run(a, f"{group}.nack({again!r}, requeue=False)")
    assert run(b, f"{group}.receive(5)") is None
    with pytest.raises(InvalidArgumentError, match="takes a message of receive"):
        run(a, f"{group}.ack('m1')")



def test_names(a: ActorHarness, b: ActorHarness) -> None:
    run(a, "host.registry_register('search', labels={'kind': 'tool', 'lang': 'en'}, metadata={'v': [1]}, ttl_ms=1000)")
    entry = run(b, "host.registry_lookup('search')")
    assert entry == {
        "name": "search", "target": "default/probe/a", "labels": {"kind": "tool", "lang": "en"}, "metadata": {"v": [1]}, "healthy": True,
        "expires_ms": b.host.clock_ms + 1000,
    }
    with pytest.raises(ConflictError, match="default/probe/a"):
        run(b, "host.registry_register('search')")
    run(b, "host.registry_register('sum', 'https://tools.test/sum', {'kind': 'tool'})")
    run(b, "host.registry_renew('sum', healthy=False)")
    assert run(b, "[[e['name'] for e in host.registry_find({'kind': 'tool'}, healthy)] for healthy in (None, True, False)]") == [
        ["search", "sum"], ["search"], ["sum"],
    ]
    a.advance(999)
    assert run(a, "host.registry_renew('search', 1000)") is True
    a.advance(1000)
    assert run(a, "[host.registry_lookup('search'), host.registry_unregister('search')]") == [None, False]
    assert run(a, "host.registry_renew('search')") is False
    assert run(b, "[host.registry_unregister('sum'), host.registry_find()]") == [True, []]


@pytest.mark.parametrize("version", ["'stale'", "7", "'{\"version\": \"1\"}'", "{'version': '1'}", "'-1'", "'²'", "' 1'", "None", "''"])
def test_what_is_no_version_releases_nothing(a: ActorHarness, version: str) -> None:
    held = run(a, "host.lock_acquire('refund:2', 9000)")
    assert run(a, f"[host.lock_release('refund:2', {version}), host.lock_release('', 'refund:2', 'h', {version})]") == [False, False]
    assert run(a, f"host.lock_release('refund:2', {held!r})") is True


def test_a_registered_name_is_a_target(world: World, a: ActorHarness, b: ActorHarness) -> None:
    run(a, "host.registry_register('search')")
    assert run(b, "host.ask('search', 'run', {'code': 'host.get_actor_id()'})") == "default/probe/a"
    run(b, "host.tell('search', 'note', {'n': 1})")
    world.deliver()
    assert a.snapshot()["got"] == [{"n": 1}]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("host.ts.write('[1')", "tuple is a string that is not JSON"),
        ("host.ts.write('{}')", "tuple must be a list or the JSON text of one, not dict"),
        ("host.ts.write([])", "tuple must have 1 to 64 elements, not 0"),
        ("host.ts.write([1] * 65)", "not 65"),
        ("host.ts.write([1, {2}])", r"tuple\[1\] is of type set"),
        ("host.ts.write([1], ttl_ms=0)", "ttl_ms must be a number of milliseconds from 1"),
        ("host.ts.read(None)", "pattern must be a list or the JSON text of one, not NoneType"),
        ("host.ts.read([1], -1)", "timeout_ms must be"),
        ("host.ts.take([1], 86_400_001)", "timeout_ms must be a number of milliseconds from 0 to 86400000"),
        ("host.ts.take([1], lease_ms=0)", "lease_ms must be"),
        ("host.ts.confirm('')", "lease is empty"),
        ("host.ts.confirm(None)", "lease must be a string"),
        ("host.ts.read([{'$no': 1}])", r"pattern\[0\]: there is no condition \$no"),
        ("host.process_groups.join('')", "group is empty"),
        ("host.process_groups.join('g', 1)", "actor_id must be a string"),
        ("host.process_groups.join('g', 'binder')", r"actor_id 'binder' is not an actor's printed identity \(namespace/type/key\)"),
        ("host.process_groups.leave('g', 'a b/c/d')", "actor_id 'a b/c/d' is not an actor's"),
        ("host.process_groups.leave('g', 'a/b/')", "actor_id 'a/b/' is not an actor's"),
        ("host.process_groups.join('g', None, [])", "topic must be a string or a list of strings"),
        ("host.process_groups.join('g', None, ['a', 1])", "topic must be a string, not int"),
        ("host.process_groups.publish('g', {1})", "payload is of type set"),
        ("host.process_groups.publish('g', {}, 5)", "msg_type must be a string"),
        ("host.process_groups.publish('g', {'op': 5})", "op must be a string, not int"),
        ("host.lock_acquire('k')", r"lock_acquire takes \(key, ttl_ms, timeout_ms=0\) or \(scope, key"),
        ("host.lock_acquire('k', 0)", "ttl_ms must be a number of milliseconds from 1"),
        ("host.lock_acquire('', 5)", "key is empty"),
        ("host.lock_acquire('other', 'k', 'h', 'n', 30, 0)", "scope must be empty or this actor's namespace 'default', not 'other'"),
        ("host.lock_acquire('', 'k', '', 'n', 30, 0)", "holder_id is empty"),
        ("host.lock_acquire('', 'k', 'h', 'n', 0, 0)", "lease_secs must be a number of seconds above zero"),
        ("host.lock_acquire('', 'k', 'h', 'n', 30, -1)", "wait_secs must be a number of seconds, not -1"),
        ("host.lock_acquire('', 'k', 'h', 'n', 30, 90_000)", "timeout_ms must be"),
        ("host.lock_release('k')", r"lock_release takes \(key, version\) or"),
        ("host.lock_renew('k', '', 5)", "version is empty"),
        ("host.channel.send('other', 'c', 't', {})", "scope must be empty"),
        ("host.channel.send('', '', 't', {})", "channel is empty"),
        ("host.channel.send('', 'c', '', {})", "msg_type is empty"),
        ("host.channel.send('', 'c', 't', {1})", "payload is of type set"),
        ("host.channel.send('', 'c', 't', {}, delay_ms=-1)", "delay_ms must be"),
        ("host.channel.receive(None, 'c', 0)", "scope must be a string"),
        ("host.channel.ack('', 'c', '')", "msg_id is empty"),
        ("host.channel.nack('', 'c', 'm', 1)", "requeue must be a bool"),
        ("host.channel_subscribe('c', 'middle')", "start must be 'earliest' or 'latest'"),
        ("host.shared_kv.put('', 'v')", "key is empty"),
        ("host.shared_kv.put('k', {1})", "value is of type set"),
        ("host.shared_kv.watch('p', 'x')", "after must be"),
        ("host.registry_register('', 't')", "name is empty"),
        ("host.registry_register('n', labels={'a': 1})", "labels must be a dict of strings"),
        ("host.registry_register('n', metadata={1})", "metadata is of type set"),
        ("host.registry_renew('n', healthy=1)", "healthy must be a bool"),
        ("host.registry_find(healthy='yes')", "healthy must be a bool"),
    ],
)
def test_wrong_arguments(a: ActorHarness, call: str, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        run(a, call)


def test_outside_of_an_actor_there_are_no_services() -> None:
    with pytest.raises(OutsideActorError, match=r"host.ts_write\(\) was called where no actor runs"):
        host.ts.write([1])


def test_what_a_service_does_not_have(world: World) -> None:
    with pytest.raises(UnknownOperationError):
        world.request("n/t/k", "tuples", "default", "fetch", {})
    with pytest.raises(InvalidArgumentError, match="unexpected keyword argument 'colour'"):
        world.request("n/t/k", "tuples", "default", "write", {"tuple": [1], "colour": 1})


@workflow_actor(facets=["durability"])
class Flow:
    stopped: str = state(default="")
    seen: list = state(default_factory=list)

    @run_handler
    def run(self, code: str) -> Any:
        self.seen.append("begun")
        return [eval(code, {"host": host}), self.stopped]

    @signal_handler("stop")
    def stop(self, reason: str) -> None:
        self.stopped = reason

    @query_handler("seen")
    def look(self) -> list:
        return self.seen

    @query_handler("change")
    def change(self) -> Any:
        refused = []
        changes = (
            lambda: host.lock_acquire("q", 1000), lambda: host.lock_release("q", "1"), lambda: host.ts.take(["x"]),
            lambda: host.ts.subscribe(["x"]), lambda: host.kv.put("k", "v"), lambda: host.tell("f", "x"), lambda: host.spawn("w"),
            lambda: host.send_after(1, "x"), lambda: host.blob_put("b", b"x"), lambda: host.sleep(1), lambda: host.http_fetch("l", "GET", "/"),
        )
        for change in changes:
            try:
                change()
            except ConflictError as error:
                refused.append(str(error).split(": ")[0])
        return [len(changes), refused, host.ts.read(["x"]), host.kv.get("k")]


@pytest.mark.parametrize(
    "wait",
    [
        "host.ts.take(['none'], timeout_ms=10)", "host.channel.receive('', 'c', 10)[0]", "host.channel_subscribe('c').next(10)",
        "host.lock_acquire('held', 5, timeout_ms=10)", "host.shared_kv.watch('none', 0, 10)['changes'] or None",
    ],
)
def test_a_workflow_hears_signals_where_it_waits(world: World, wait: str) -> None:
    flow = ActorHarness(Flow, key="f", world=world)
    run(ActorHarness(Probe, key="p", world=world), "host.lock_acquire('held', 1_000_000)")
    flow.signal("stop", {"reason": "enough"})
    assert flow.ask("workflow_run", {"code": wait}) == [None, "enough"]
    assert flow.host.published is not None and '"begun"' in flow.host.published
    flow.replay()


def test_a_turn_that_is_run_again_asks_the_same(world: World) -> None:
    flow = ActorHarness(Flow, key="f", world=world)
    code = "[host.channel.send('', 'c', 't', {}), host.ts.write(['x']), host.ts.take(['x']), host.lock_acquire('k', 5)]"
    flow.ask("workflow_run", {"code": code})
    flow.replay()
    assert flow.host.world is world and world.request("default/p/p", "channels", "c", "status", {}).startswith('{"ready":1,')


def test_a_query_beside_a_run_changes_nothing(world: World) -> None:
    flow = ActorHarness(Flow, key="f", world=world)
    seen: list = []
    flow.answer("other", "op", lambda _: seen.append([flow.query("change"), flow.query("seen")]))
    flow.ask("workflow_run", {"code": "[host.ts.write(['x']), host.ask('other', 'op')]"})
    refused = [11, ["a query may not change anything"] * 11, ["x"], None]
    assert seen == [[refused, ["begun"]]]
    assert flow.query("change") == refused
    assert not flow.host.tells and not flow.host.timers


def test_actors_of_one_world_ask_and_tell_each_other(world: World, a: ActorHarness, b: ActorHarness) -> None:
    assert run(a, "host.ask('b', 'run', {'code': 'host.get_actor_id()'})") == "default/probe/b"
    with pytest.raises(DeadlockError):
        run(a, "host.ask('b', 'run', {'code': 'host.ask(\"a\", \"run\", {\"code\": \"1\"})'})")
    run(a, "[host.tell('default/probe/b', 'note', {'n': 1}), host.tell('elsewhere', 'note')]")
    assert b.snapshot()["got"] == [] and world.deliver() == 1
    assert b.snapshot()["got"] == [{"n": 1}]


def test_init_may_use_the_services(world: World) -> None:
    @actor
    class Member:
        @init_handler
        def setup(self, config: dict) -> None:
            host.process_groups.join("members")

        @handler("who")
        def who(self) -> list:
            return host.process_groups.members("members")

    members = [ActorHarness(Member, key=key, world=world) for key in "xy"]
    members[0].restart()
    assert members[1].ask("who") == ["default/member/x", "default/member/y"]


@pytest.mark.parametrize("actor_type", ["plain", "durable"])
def test_the_services_in_memory_answer_as_those_of_a_node(actor_type: str) -> None:
    """The node's are asked the same in crates/cli/tests/sharing.rs."""
    beside = Path(__file__).parent / "services"
    spec = importlib.util.spec_from_file_location("services_probe", beside / "probe.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    probe = ActorHarness(module.ACTOR_REGISTRY[actor_type])
    for code, expected in json.loads((beside / "calls.json").read_text()):
        assert run(probe, code) == expected, code
        if actor_type == "durable":
            probe.replay()


def test_a_link_is_made_of_what_can_be_read_or_written(a: ActorHarness) -> None:
    run(a, "host.blob_put('dir/a', 'text')")
    assert "dir%2Fa?" in run(a, "host.blob_presign('dir/a')")
    assert "method=PUT" in run(a, "host.blob_presign('none', 60, method='PUT')")
    for code, message in [
        ("host.blob_presign('none')", "there is no blob 'none'"),
        ("host.blob_presign('dir/a', 0)", "expires_secs must be 1 to 604800"),
        ("host.blob_presign('dir/a', method='DELETE')", "method must be 'GET' or 'PUT'"),
    ]:
        with pytest.raises(Exception, match=message):
            run(a, code)


def test_a_receipt_is_of_one_delivery(world: World, a: ActorHarness) -> None:
    run(a, "host.channel.send('', 'work', 'job', {}, msg_id='m')")
    late = run(a, "host.channel.receive('', 'work', visibility_ms=1000)")[0]
    world.clock_ms += 2000
    again = run(a, "host.channel.receive('', 'work')")[0]
    with pytest.raises(ConflictError, match="does not hold any more"):
        run(a, f"host.channel.ack('', 'work', 'm', receipt={late['receipt']!r})")
    run(a, f"host.channel.ack('', 'work', 'm', receipt={again['receipt']!r})")
    assert run(a, "host.channel.status('', 'work')['in_flight']") == 0


def test_a_name_that_is_registered_for_another_is_its_target(world: World, a: ActorHarness, b: ActorHarness) -> None:
    run(a, '[host.registry_register("desk", "default/probe/b"), host.registry_register("near", "b")]')
    for name in ("desk", "near"):
        assert run(a, f"host.ask({name!r}, 'run', {{'code': 'host.get_actor_id()'}})") == "default/probe/b"


def test_pairs_have_keys_as_on_a_node(a: ActorHarness) -> None:
    for call in ("host.kv_put('', 'v')", "host.kv_get('')", "host.kv_cas('', None, 'v')", "host.kv_delete('')", "host.kv_put('ü' * 257, 'v')"):
        with pytest.raises(InvalidArgumentError, match="a key has (0|514) bytes, expected 1 to 512"):
            run(a, call)


def test_the_configuration_has_the_keys_of_a_node() -> None:
    @actor
    class ToolBoxActor:
        config: dict = state(default_factory=dict)

        @init_handler
        def setup(self, config: dict) -> None:
            self.config = config

    assert ActorHarness(ToolBoxActor, args={"a": 1}, namespace="n", key="k").snapshot()["config"] == {
        "actor_id": "n/tool_box/k", "args": {"role": "tool_box", "a": 1}, "role": "tool_box", "actor_type": "tool_box", "name": "k",
        "application": "n", "namespace": "n", "tenant_id": "default", "node_id": "test", "behavior_kind": "GenServer", "labels": {},
    }
