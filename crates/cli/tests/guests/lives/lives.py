"""Actors that watch, link, start and stop others and have timers, as they are told from outside."""

from plexspaces import actor, handler, host, init_handler, state


@actor(facets=["durability"])
class Watcher:
    """Does with the lives of others what it is told, and keeps what it hears."""

    heard: list = state(default_factory=list)
    labels: dict = state(default_factory=dict)

    @handler("do")
    def do(self, call: str, arguments: list, options: dict | None = None) -> dict:
        return {"result": getattr(host, call)(*arguments, **(options or {}))}

    @handler("__DOWN__")
    def down(self, monitor_ref: str, down_from: str, down_reason: str) -> None:
        self.heard.append(["down", monitor_ref, down_from, down_reason])

    @handler("__EXIT__")
    def exit(self, exit_from: str, exit_reason: str) -> None:
        self.heard.append(["exit", exit_from, exit_reason])

    @handler("tick")
    def tick(self, of: str) -> None:
        self.heard.append(["tick", of])

    @init_handler
    def begin(self, config: dict) -> None:
        self.labels = config.get("labels", {})

    @handler("labels")
    def told_labels(self) -> dict:
        return self.labels

    @handler("heard")
    def all_heard(self) -> dict:
        return {"heard": self.heard}


@actor
class Mortal:
    """Ends as it is told; without a handler for ``__EXIT__`` it ends as those do to whom it is linked."""

    args: dict = state(default_factory=dict)

    @init_handler
    def begin(self, config: dict) -> None:
        self.args = config["args"]

    @handler("ping")
    def ping(self) -> dict:
        return {"args": self.args}

    @handler("tie")
    def tie(self, peer: str) -> None:
        host.link(peer)

    @handler("leave")
    def leave(self) -> dict:
        return {"lived": host.stop(host.get_actor_id())}

    @handler("fail")
    def fail(self) -> None:
        raise RuntimeError("boom")
