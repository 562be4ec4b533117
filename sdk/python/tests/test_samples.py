"""Actors as their authors write them, with what they share: each runs unchanged, without a node."""

import json
from typing import Optional, Tuple

import pytest

from plexspaces import actor, gen_server_actor, handler, host, init_handler, run_handler, state, workflow_actor
from plexspaces.testing import ActorHarness, World


@pytest.fixture
def world() -> World:
    return World()


@actor
class OrderProducer:
    @handler("create_order")
    def create_order(self, order_id: str, items: list) -> dict:
        host.ts_write(json.dumps(["order", order_id, "pending", items]))
        return {"status": "created", "order_id": order_id}


@actor
class OrderProcessor:
    processed: int = state(default=0)

    @handler("process_next")
    def process_next(self) -> dict:
        result = host.ts_take(json.dumps(["order", None, "pending", None]))
        if not result:
            return {"status": "idle"}
        order = json.loads(result)
        self.processed += 1
        host.ts_write(json.dumps(["order", order[1], "processed", order[3]]))
        return {"status": "processed", "order_id": order[1], "items": order[3]}


def test_orders_in_the_tuple_space(world: World) -> None:
    producer, processor = ActorHarness(OrderProducer, world=world), ActorHarness(OrderProcessor, world=world)
    assert processor.ask("process_next") == {"status": "idle"}
    for number in (1, 2):
        producer.ask("create_order", {"order_id": f"o-{number}", "items": ["tea", {"n": number}]})
    assert processor.ask("process_next") == {"status": "processed", "order_id": "o-1", "items": ["tea", {"n": 1}]}
    assert processor.ask("process_next")["order_id"] == "o-2"
    assert processor.ask("process_next") == {"status": "idle"}


@actor(facets=["durability", "metrics"])
class PaymentProcessor:
    refunds: int = state(default=0)

    @handler("refund")
    def refund(self, transaction_id: str, amount: float) -> dict:
        lock_key = f"refund:{transaction_id}"
        lock_version = host.lock_acquire(lock_key, 5000)
        if not lock_version:
            return {"error": "refund in progress"}
        try:
            if amount <= 0:
                raise ValueError("nothing to refund")
            self.refunds += 1
            host.kv_put(f"refund:{transaction_id}", json.dumps({"amount": amount}))
            return {"status": "refunded", "amount": amount}
        finally:
            host.lock_release(lock_key, lock_version)


def test_a_refund_under_a_lock(world: World) -> None:
    payments, other = ActorHarness(PaymentProcessor, world=world), ActorHarness(PaymentProcessor, key="other", world=world)
    assert payments.ask("refund", {"transaction_id": "TX", "amount": 5}) == {"status": "refunded", "amount": 5}
    with pytest.raises(ValueError, match="nothing to refund"):
        other.ask("refund", {"transaction_id": "TX", "amount": 0})
    assert other.ask("refund", {"transaction_id": "TX", "amount": 1})["status"] == "refunded"
    world.request("default/any/any", "locks", "default", "acquire", {"key": "refund:TX", "ttl_ms": 5000})
    assert payments.ask("refund", {"transaction_id": "TX", "amount": 5}) == {"error": "refund in progress"}


@actor
class ChatRoom:
    heard: list = state(default_factory=list)

    @handler("join")
    def join_room(self, room: str) -> dict:
        host.process_groups.join(room, host.get_actor_id())
        return {"status": "joined", "room": room}

    @handler("send")
    def send_message(self, room: str, text: str) -> dict:
        host.process_groups.publish(room, {"text": text})
        return {"status": "sent"}

    @handler("members")
    def list_members(self, room: str) -> dict:
        return {"members": host.process_groups.get_members(room)}

    @handler("group_message", "cast")
    def on_message(self, text: str = "", from_actor: str = "") -> None:
        self.heard.append([from_actor, text])


def test_a_chat_room(world: World) -> None:
    ann, bob = (ActorHarness(ChatRoom, key=key, world=world) for key in ("ann", "bob"))
    assert ann.ask("members", {"room": "tea"}) == {"members": []}
    for guest in (ann, bob):
        guest.ask("join", {"room": "tea"})
    ann.ask("send", {"room": "tea", "text": "hello"})
    assert world.deliver() == 2
    assert ann.snapshot()["heard"] == bob.snapshot()["heard"] == [["default/chat_room/ann", "hello"]]
    assert bob.ask("members", {"room": "tea"}) == {"members": ["default/chat_room/ann", "default/chat_room/bob"]}


@actor
class LeaderElection:
    is_leader: bool = state(default=False)
    lock_version: str = state(default="")

    @handler("try_lead")
    def try_lead(self, candidate_id: str = "") -> dict:
        holder = candidate_id or self.actor_id
        result = host.lock_acquire("", "leader-election", holder, "leader", 30, 0)
        if result and not result.startswith("ERROR"):
            self.is_leader = True
            self.lock_version = json.loads(result).get("version", result)
        else:
            self.is_leader = False
        return {"is_leader": self.is_leader, "version": self.lock_version}


def test_a_leader_is_elected(world: World) -> None:
    one, two = (ActorHarness(LeaderElection, key=key, world=world) for key in ("one", "two"))
    first = one.ask("try_lead", {"candidate_id": "one"})
    assert first["is_leader"] and isinstance(first["version"], str)
    assert two.ask("try_lead") == {"is_leader": False, "version": ""}
    world.clock_ms += 20_000
    assert one.ask("try_lead", {"candidate_id": "one"}) == first
    world.clock_ms += 29_999
    assert not two.ask("try_lead")["is_leader"]
    world.clock_ms += 1
    second = two.ask("try_lead")
    assert second["is_leader"] and int(second["version"]) > int(first["version"])
    assert not one.ask("try_lead", {"candidate_id": "one"})["is_leader"]


def register_service(service_type: str, actor_id: str) -> None:
    """The first instance wins."""
    existing = host.ts.read(["svc", service_type, None])
    if existing is None:
        host.ts.write(["svc", service_type, actor_id])


def discover_service(service_type: str) -> Optional[str]:
    found = host.ts.read(["svc", service_type, None])
    return found[2] if found else None


@gen_server_actor
class ToolRegistry:
    @init_handler
    def on_init(self, config: dict) -> None:
        register_service("tool_registry", self.actor_id)

    @handler("find")
    def find(self, service_type: str) -> dict:
        return {"actor_id": discover_service(service_type)}


def test_services_are_found_by_tuples(world: World) -> None:
    first = ActorHarness(ToolRegistry, key="first", world=world)
    second = ActorHarness(ToolRegistry, key="second", world=world)
    first.restart()
    assert second.ask("find", {"service_type": "tool_registry"}) == {"actor_id": "default/tool_registry/first"}
    assert second.ask("find", {"service_type": "none"}) == {"actor_id": None}


@workflow_actor(facets=["virtual_actor", "durability"])
class BackgroundResearchAgent:
    status: str = state(default="idle")

    @run_handler
    def run(self, input_data: dict) -> dict:
        self.status = "running"
        user, question = input_data["user"], input_data["question"]
        for step in range(2):
            host.channel_publish(f"progress:{user}", {"step": step, "question": question})
        host.ts_write(["result", user, {"answer": 42}])
        host.channel_publish(f"progress:{user}", {"done": True})
        self.status = "done"
        return {"status": self.status}


@actor
class Client:
    @handler("watch")
    def watch(self, user: str) -> dict:
        subscriber = host.channel_subscribe(f"progress:{user}")
        seen = []
        while True:
            message = subscriber.next(timeout_ms=300_000)
            if message is None or message.get("done"):
                break
            seen.append(message["step"])
        return {"seen": seen, "result": host.ts.read(["result", user, None])}


def test_an_agent_that_outlives_its_caller(world: World) -> None:
    agent, client = ActorHarness(BackgroundResearchAgent, world=world), ActorHarness(Client, world=world)
    agent.ask("workflow_run", {"user": "ann", "question": "?"})
    agent.replay()
    assert client.ask("watch", {"user": "ann"}) == {"seen": [0, 1], "result": ["result", "ann", {"answer": 42}]}


def pg_first(group: str) -> str:
    members = host.process_groups.members(group)
    return members[0] if members else ""


def dequeue(channel: str) -> Tuple[Optional[dict], str]:
    message, ok, err = host.channel.receive("", channel, 0)
    return (message, "") if ok else (None, err or "")


@actor
class TaskQueue:
    """A queue's actor, which others find by its group."""

    @init_handler
    def on_init(self, config: dict) -> None:
        host.process_groups.join("task_queue")

    @handler("enqueue")
    def enqueue(self, task_type: str, task: dict) -> dict:
        msg_id = host.channel.send("", "tasks:pending", task_type, task)
        try:
            host.ts.write(["audit", self.actor_id, "enqueued", msg_id, host.now_ms()])
        except Exception as error:
            host.warn(f"no audit: {error}")
        return {"msg_id": msg_id}

    @handler("dequeue")
    def dequeue(self, limit: int = 10) -> dict:
        tasks = []
        for _ in range(int(limit)):
            message, error = dequeue("tasks:pending")
            if message is None:
                break
            tasks.append(message)
        return {"tasks": tasks, "count": len(tasks)}

    @handler("done")
    def done(self, msg_id: str, ok: bool = True) -> dict:
        if ok:
            host.channel.ack("", "tasks:pending", msg_id)
        else:
            host.channel.nack("", "tasks:pending", msg_id, True)
        return {"events": host.ts.read_all(["audit", None, "enqueued", None, None])}


@actor
class Worker:
    @handler("work")
    def work(self, fail: bool = False) -> dict:
        queue = pg_first("task_queue")
        tasks = host.ask(queue, "dequeue", {"op": "dequeue", "limit": 1}, timeout_ms=10000)["tasks"]
        for task in tasks:
            host.ask(queue, "done", {"msg_id": task["msg_id"], "ok": not fail}, 15000)
        return {"payloads": [[task["msg_type"], task["payload"], task["delivery_count"]] for task in tasks]}


def test_a_task_queue_found_by_its_group(world: World) -> None:
    queue, worker = ActorHarness(TaskQueue, world=world), ActorHarness(Worker, world=world)
    sent = [queue.ask("enqueue", {"task_type": "sum", "task": {"n": n}})["msg_id"] for n in (1, 2)]
    assert len(set(sent)) == 2
    assert worker.ask("work", {"fail": True}) == {"payloads": [["sum", {"n": 1}, 1]]}
    assert worker.ask("work") == {"payloads": [["sum", {"n": 1}, 2]]}
    assert worker.ask("work") == {"payloads": [["sum", {"n": 2}, 1]]}
    assert queue.ask("dequeue") == {"tasks": [], "count": 0}
    # A consumer that dies: what it did not acknowledge comes again.
    queue.ask("enqueue", {"task_type": "sum", "task": {"n": 3}})
    assert queue.ask("dequeue", {"limit": "5"})["count"] == 1
    world.clock_ms += 30_000
    assert worker.ask("work") == {"payloads": [["sum", {"n": 3}, 2]]}
    assert [event[3] for event in queue.ask("done", {"msg_id": "none"})["events"]][:2] == sent
