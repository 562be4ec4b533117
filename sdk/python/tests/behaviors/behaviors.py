"""One actor of each behavior."""

from plexspaces import (
    actor,
    event_actor,
    fsm_actor,
    handler,
    host,
    init_handler,
    query_handler,
    run_handler,
    signal_handler,
    state,
    workflow_actor,
)


@actor
class Server:
    watching: str = state(default="")
    down: list = state(default_factory=list)

    @init_handler
    def setup(self, config: dict) -> None:
        self.watching = host.monitor("worker")

    @handler("__DOWN__", "cast")
    def on_down(self, monitor_ref: str = "", down_from: str = "", down_reason: str = "") -> None:
        self.down.append([monitor_ref, down_from, down_reason])

    @handler("__EXIT__", "cast")
    def on_exit(self, exit_from: str = "", exit_reason: str = "") -> None:
        self.down.append([exit_from, exit_reason])


@event_actor
class Events:
    seen: list = state(default_factory=list)

    @handler("event")
    def event(self, n: int) -> None:
        self.seen.append(n)

    @handler("count", "call")
    def count(self) -> int:
        return len(self.seen)


@fsm_actor(states=["closed", "open"], initial="closed")
class Machine:
    @handler("go")
    def go(self, to: str) -> None:
        self.fsm_state = to


@workflow_actor
class Flow:
    status: str = state(default="new")

    @run_handler
    def run(self, input_data: dict) -> dict | list:
        if "wait" in input_data:
            go, raw = [host.wait_for_signal(name) for name in input_data["wait"]]
            return [go, str(raw), self.status]
        self.status = "done"
        return input_data

    @signal_handler("cancel")
    def cancel(self, reason: str = "asked") -> None:
        self.status = reason

    @query_handler("status")
    def get_status(self) -> str:
        seen = self.status
        self.status = "a query was here"
        return seen


ACTOR_REGISTRY = {"server": Server, "events": Events, "machine": Machine, "flow": Flow}
