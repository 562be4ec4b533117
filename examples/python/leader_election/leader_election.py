"""One of several candidates leads. The lease of one that is gone ends, another leads, and what the former one still sends is refused."""

from plexspaces import actor, handler, host, init_handler, state


@actor
class Candidate:
    """Tries to lead, and stays the leader for as long as it renews its lease."""

    @init_handler
    def setup(self, config: dict) -> None:
        """Begins to try."""
        args = config["args"]
        lease_ms = int(float(args.get("lease_secs", 30)) * 1000)
        self.election = host.election("leader", lease_ms)
        self.token = ""
        self.paused = False
        host.timer_start("try_to_lead", every_ms=lease_ms // 3)

    @handler("try_to_lead", "cast")
    def try_to_lead(self) -> None:
        """Becomes the leader or begins its lease anew: the same call does both."""
        if self.paused:
            return
        self.election.campaign()
        self.token = self.election.token

    @handler("status")
    def status(self) -> dict:
        """Whether this candidate believes that it leads."""
        return {"leads": bool(self.token)}

    @handler("pause")
    def pause(self, paused: bool = True) -> dict:
        """Renews no more, as if it hung, and does not know that it leads no longer."""
        self.paused = paused
        return {"paused": paused}

    @handler("write")
    def write(self, text: str) -> dict:
        """Writes into the ledger as the leader."""
        if not self.token:
            return {"error": "this candidate does not lead"}
        return host.ask("ledger", "append", {"token": self.token, "text": text})


@actor(facets=["durability"])
class Ledger:
    """What only the leader may change. Versions of a lock grow, so that the ledger knows whom it must not believe any more."""

    token: int = state(default=0)
    lines: list = state(default_factory=list)

    @handler("append")
    def append(self, token: str, text: str) -> dict:
        """Adds a line, unless the writer's lock is older than one that was seen."""
        if int(token) < self.token:
            return {"error": "a later leader has written already"}
        self.token = int(token)
        self.lines.append(text)
        return {"lines": len(self.lines)}

    @handler("read")
    def read(self) -> dict:
        """All lines."""
        return {"lines": self.lines}


ACTOR_REGISTRY = {"candidate": Candidate, "ledger": Ledger}
