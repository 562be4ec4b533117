"""Workers that may crash, and those who live with it: a validator that watches them, a gate that lets nothing pass when too much
fails, a log that takes events. One component, four actor types."""

from plexspaces import PlexSpacesError, actor, event_actor, fsm_actor, gen_server_actor, handler, host, init_handler, state


@actor
class InferenceWorker:
    """Scores texts. It does not handle what it cannot score: its supervisor starts it anew."""

    scored: int = state(default=0)

    @handler("score")
    def score(self, text: str) -> dict:
        """The mean length of the text's words."""
        words = text.split()
        score = sum(len(word) for word in words) / len(words)
        self.scored += 1
        return {"score": score, "scored": self.scored}


@gen_server_actor
class ValidatorAgent:
    """Gives texts to the workers that live, one after the other."""

    next: int = state(default=0)

    @init_handler
    def setup(self, config: dict) -> None:
        args = config["args"]
        self.again_ms = int(args.get("watch_again_ms", 500))
        # References are of this stay in memory. As state, those of an earlier one would be laid over what is made here.
        self.watches: dict[str, str] = {}
        for worker in args.get("workers", []):
            self._watch(worker)

    @handler("validate")
    def validate(self, text: str) -> dict:
        """A worker's score for a text, unless the gate is closed or no worker lives."""
        gate = host.ask("quality_gate", "may_pass", {})
        if not gate["pass"]:
            return {"error": "the quality gate is open", "state": gate["state"]}
        workers = sorted(self.watches.values())
        if not workers:
            return {"error": "no worker lives"}
        worker = workers[self.next % len(workers)]
        self.next += 1
        try:
            result = host.ask(worker, "score", {"text": text}, timeout_ms=2000)
        except PlexSpacesError as error:
            host.tell("quality_gate", "failed", {"worker": worker})
            host.tell("audit", "record", {"event": "validation_failed", "detail": {"worker": worker, "code": error.code}})
            return {"error": "the worker failed", "worker": worker, "code": error.code}
        host.tell("quality_gate", "passed", {})
        return {"worker": worker, "score": result["score"]}

    @handler("workers")
    def workers(self) -> dict:
        """The workers that live, as far as the validator knows."""
        return {"alive": sorted(self.watches.values())}

    @handler("__DOWN__", "cast")
    def on_down(self, monitor_ref: str = "", down_from: str = "", down_reason: str = "") -> None:
        """A worker has ended: it gets no texts until it can be watched again."""
        worker = self.watches.pop(monitor_ref, None)
        if worker is None:
            return
        # `noproc` only says that its supervisor has not started it yet.
        if down_reason != "noproc":
            host.tell("audit", "record", {"event": "worker_down", "detail": {"worker": worker, "reason": down_reason}})
        host.send_after(self.again_ms, "watch", {"op": "watch", "worker": worker})

    @handler("watch", "cast")
    def watch(self, worker: str) -> None:
        """Watches a worker again."""
        self._watch(worker)

    def _watch(self, worker: str) -> None:
        self.watches[host.monitor(worker)] = worker


@fsm_actor(states=["closed", "open", "half_open"], initial="closed", facets=["durability"])
class QualityGate:
    """A circuit breaker: `closed` lets everything pass, `open` nothing, `half_open` tries again."""

    failures: int = state(default=0)
    threshold = 3

    @init_handler
    def setup(self, config: dict) -> None:
        self.cool_down_ms = int(config["args"].get("cool_down_ms", 5000))

    @handler("may_pass")
    def may_pass(self) -> dict:
        """Whether a text may be validated now."""
        return {"pass": self.fsm_state != "open", "state": self.fsm_state}

    @handler("passed", "cast")
    def passed(self) -> None:
        """A validation went well."""
        if self.fsm_state == "open":
            return  # it began before the gate opened
        self.failures = 0
        self.fsm_state = "closed"

    @handler("failed", "cast")
    def failed(self, worker: str = "") -> None:
        """A validation failed."""
        self.failures += 1
        if self.fsm_state != "open" and (self.fsm_state == "half_open" or self.failures >= self.threshold):
            self.fsm_state = "open"
            # A reminder and no timer: an open gate must not stay open because the node was restarted.
            host.reminder_register("cool_down", "cool_down", after_ms=self.cool_down_ms)
            host.tell("audit", "record", {"event": "gate_opened", "detail": {"failures": self.failures, "worker": worker}})

    @handler("cool_down", "cast")
    def cool_down(self) -> None:
        """Enough time has passed for another attempt."""
        if self.fsm_state == "open":
            self.fsm_state = "half_open"


@event_actor(facets=["durability"])
class AuditLog:
    """Takes down what happened. Nobody waits for it."""

    events: list = state(default_factory=list)
    counts: dict = state(default_factory=dict)
    kept = 1000

    @handler("record")
    def record(self, event: str, detail: dict | None = None, from_actor: str = "") -> None:
        """One event."""
        self.events.append({"at_ms": host.now_ms(), "event": event, "detail": detail or {}, "from": from_actor})
        self.events = self.events[-self.kept :]
        self.counts[event] = self.counts.get(event, 0) + 1

    @handler("recent", "call")
    def recent(self, limit: int = 10) -> dict:
        """The latest events, the oldest of them first."""
        return {"events": self.events[-limit:] if limit > 0 else []}

    @handler("get_stats", "call")
    def get_stats(self) -> dict:
        """How often each event happened."""
        return {"counts": self.counts}


ACTOR_REGISTRY = {"worker": InferenceWorker, "validator": ValidatorAgent, "quality_gate": QualityGate, "audit": AuditLog}
