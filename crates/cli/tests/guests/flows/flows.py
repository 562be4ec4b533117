"""Workflows that are killed, paused, signalled and asked, and the actor outside of them that counts what they do."""

import random
import uuid

from plexspaces import (
    Saga,
    WorkflowCancelled,
    actor,
    handler,
    host,
    query_handler,
    run_handler,
    signal_handler,
    state,
    workflow_actor,
)


@actor(facets=["durability"])
class Recorder:
    """Notes what reached it, each time that it did."""

    notes: list = state(default_factory=list)

    @handler("note")
    def note(self, what: str) -> dict:
        self.notes.append(what)
        return {"number": len(self.notes)}

    @handler("slow")
    def slow(self, what: str, ms: int) -> dict:
        host.sleep(ms)
        return self.note(what)

    @handler("refuse")
    def refuse(self, what: str) -> dict:
        self.note(what)
        raise ValueError("refused")

    @handler("notes")
    def all(self) -> list:
        return self.notes


@workflow_actor(facets=["durability"])
class Steps:
    """Asks, tells and sleeps, again and again. What it says holds random numbers and times: they must be the same when it says it again."""

    step: int = state(default=0)
    heard: list = state(default_factory=list)

    @run_handler
    def run(self, request: dict) -> dict:
        numbers = []
        for n in range(request["steps"]):
            self.step = n
            mark = f"{n} {random.random()} {uuid.uuid4()} {host.now_ms()}"
            numbers.append(host.ask("recorder", "note", {"what": f"ask {mark}"})["number"])
            host.tell("recorder", "note", {"what": f"tell {mark}"})
            host.sleep(request.get("pause_ms", 10))
        self.step = request["steps"]
        return {"steps": self.step, "numbers": numbers, "heard": self.heard}

    @signal_handler("word")
    def word(self, text: str) -> None:
        host.ask("recorder", "note", {"what": f"word {text}"})
        self.heard.append(text)

    @query_handler("status")
    def status(self) -> dict:
        self.step += 1000
        return {"step": self.step - 1000, "heard": self.heard}


@workflow_actor(facets=["durability"])
class Order:
    """Waits for signals, and undoes what it did when it is cancelled."""

    status: str = state(default="new")
    reason: str = state(default="")

    @run_handler
    def run(self, request: dict) -> dict:
        try:
            with Saga(initial_ms=1) as saga:
                saga.add(host.ask, "recorder", "note", {"what": "refund"})
                host.ask("recorder", "note", {"what": "pay"})
                self.status = "paid"
                shipped = host.wait_for_signal("shipped", timeout_ms=request.get("timeout_ms", 600_000))
                self.status = "late" if shipped is None else "shipped"
                return {"status": self.status, "parcel": shipped}
        except WorkflowCancelled:
            self.status = "cancelled"
            return {"status": self.status, "reason": self.reason}

    @signal_handler("cancel")
    def cancel(self, reason: str = "") -> None:
        self.reason = reason

    @query_handler("status")
    def get_status(self) -> dict:
        return {"status": self.status, "reason": self.reason}


@workflow_actor(facets=["durability"])
class Long:
    """Sleeps for longer than it stays in memory."""

    status: str = state(default="new")

    @run_handler
    def run(self, request: dict) -> dict:
        begun = host.now_ms()
        host.ask("recorder", "note", {"what": "before"})
        self.status = "sleeping"
        host.sleep(request["ms"])
        host.ask("recorder", "note", {"what": "after"})
        self.status = "done"
        return {"slept": host.now_ms() - begun}

    @query_handler("status")
    def get_status(self) -> str:
        return self.status


@workflow_actor(facets=["durability"])
class Failing:
    """Fails after it has done something."""

    tries: int = state(default=0)

    @run_handler
    def run(self, request: dict) -> dict:
        host.ask("recorder", "note", {"what": "begun"})
        if request.get("retry"):
            host.retry(host.ask, "recorder", "refuse", {"what": "refused"}, attempts=3, initial_ms=1)
        raise RuntimeError("it cannot be done")

    @query_handler("tries")
    def get_tries(self) -> int:
        return self.tries


@workflow_actor(facets=["durability"])
class Undoing:
    """Fails, and undoes what it did with nothing but messages."""

    @run_handler
    def run(self, request: dict) -> dict:
        with Saga() as saga:
            for what in ("hotel", "flight"):
                saga.add(host.tell, "recorder", "note", {"what": f"no {what}"})
            host.ask("recorder", "note", {"what": "begun"})
            raise RuntimeError("it cannot be done")


@workflow_actor(facets=["durability"])
class Part:
    """What a parent starts."""

    @run_handler
    def run(self, request: dict) -> dict:
        n = request["n"]
        try:
            host.ask("recorder", "note", {"what": f"part {n} begun"})
            host.sleep(request["ms"])
            host.tell("recorder", "note", {"what": f"part {n} done"})
            return {"part": n}
        except WorkflowCancelled:
            host.ask("recorder", "note", {"what": f"part {n} undone"})
            raise


@workflow_actor(facets=["durability"])
class Parent:
    """Starts two runs that go on side by side."""

    status: str = state(default="new")

    @run_handler
    def run(self, request: dict) -> dict:
        name, within = host.get_actor_id().split("/")[-1], request.get("run_timeout_ms")
        parts = [host.start_workflow("part", f"{name}-{n}", {**request, "n": n}, run_timeout_ms=within) for n in range(2)]
        self.status = "waiting"
        results = [part.result() for part in parts]
        self.status = "done"
        host.ask("recorder", "note", {"what": "all done"})
        return {"parts": results}

    @query_handler("status")
    def get_status(self) -> str:
        return self.status


ACTOR_REGISTRY = {"recorder": Recorder, "steps": Steps, "order": Order, "long": Long, "failing": Failing, "undoing": Undoing, "part": Part, "parent": Parent}
