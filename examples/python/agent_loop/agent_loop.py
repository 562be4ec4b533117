"""An agent as a workflow: it asks a model what to do, does it, and tells the model what came of it, until there is an answer."""

from typing import Any

from plexspaces import UnavailableError, actor, handler, host, query_handler, run_handler, signal_handler, state, workflow_actor

# A model that never comes to an end would cost money for ever.
MOST_STEPS = 8


@workflow_actor(facets=["durability"])
class Agent:
    """One task. Its key is the task's name."""

    status: str = state(default="new")
    transcript: list = state(default_factory=list)
    stopped: str = state(default="")

    @run_handler
    def run(self, input_data: dict) -> dict:
        """From the question to the answer. What the model was asked before a crash it is not asked again."""
        self.transcript.append({"role": "user", "content": input_data["question"]})
        for _ in range(MOST_STEPS):
            self.status = "thinking"
            wish = host.retry(self._ask_the_model, attempts=5, initial_ms=input_data.get("pause_ms", 200))
            if self.stopped:
                return self._end("stopped", self.stopped)
            if "answer" in wish:
                return self._end("answered", wish["answer"])
            self.status = f"using {wish['tool']}"
            found = host.ask("tools", wish["tool"], wish.get("arguments", {}))
            self.transcript.append({"role": "tool", "name": wish["tool"], "content": found})
        return self._end("gave up", f"no answer after {MOST_STEPS} steps")

    @signal_handler("stop")
    def stop(self, reason: str = "its user's wish") -> None:
        """Ends the task at its next step."""
        self.stopped = reason

    @query_handler("progress")
    def progress(self) -> dict:
        """What the agent does and has found, also while the model thinks."""
        return {"status": self.status, "transcript": self.transcript}

    def _ask_the_model(self) -> dict:
        reply = host.http_fetch("model", "POST", "/chat", {"messages": self.transcript})
        if reply["status"] != 200:
            raise UnavailableError(f"the model answered {reply['status']}")
        wish: dict[str, Any] = reply["json"]
        self.transcript.append({"role": "assistant", "content": wish})
        return wish

    def _end(self, status: str, text: str) -> dict:
        self.status = status
        return {"status": status, "text": text, "steps": len(self.transcript)}


@actor(facets=["durability"])
class Tools:
    """What the agent can use. Each use is counted, so that one can see that none happens twice."""

    uses: int = state(default=0)

    @handler("add")
    def add(self, numbers: list) -> dict:
        """The sum of some numbers."""
        self.uses += 1
        return {"sum": sum(numbers)}

    @handler("uses")
    def count(self) -> dict:
        """How often tools were used."""
        return {"uses": self.uses}


ACTOR_REGISTRY = {"agent": Agent, "tools": Tools}
