"""Tasks in a queue for any number of workers. A task whose worker dies is given out again, and no account is worked on by two at a time."""

from plexspaces import actor, handler, host, init_handler, state

TASKS = "tasks"


@actor(facets=["durability"])
class Accounts:
    """What the tasks change: balances. It knows the tasks that it has seen, so that a second delivery changes nothing."""

    balances: dict = state(default_factory=dict)
    done: dict = state(default_factory=dict)

    @handler("submit")
    def submit(self, account: str, amount: int) -> dict:
        """Puts a task into the queue."""
        return {"task": host.channel.send("", TASKS, "deposit", {"account": account, "amount": amount})}

    @handler("deposit")
    def deposit(self, task: str, account: str, amount: int) -> dict:
        """Does a task, once."""
        if task not in self.done:
            self.done[task] = True
            self.balances[account] = self.balances.get(account, 0) + amount
        return {"balance": self.balances[account]}

    @handler("balances")
    def get_balances(self) -> dict:
        """All balances."""
        return {"balances": self.balances}


@actor
class Worker:
    """Works off the queue. It keeps nothing: what it has taken and not acknowledged comes back when it dies."""

    @init_handler
    def setup(self, config: dict) -> None:
        """Begins to look for tasks."""
        args = config["args"]
        self.visibility_ms = int(args.get("visibility_ms", 5_000))
        self.worked = 0
        if "every_ms" in args:
            host.timer_start("work", every_ms=int(args["every_ms"]))

    @handler("work", "cast")
    def work(self, wait_ms: int = 0) -> None:
        """Does one task after the other until none is left."""
        while True:
            task, ok, _ = host.channel.receive("", TASKS, wait_ms, visibility_ms=self.visibility_ms)
            if not ok:
                return
            self._do(task)

    @handler("take_and_die")
    def take_and_die(self) -> dict:
        """Takes a task and fails before it is done."""
        task, _, _ = host.channel.receive("", TASKS, 1_000, visibility_ms=self.visibility_ms)
        raise RuntimeError(f"died with the task {task['msg_id'] if task else None}")

    @handler("worked")
    def get_worked(self) -> dict:
        """How many tasks this worker has done since it was started."""
        return {"worked": self.worked}

    def _do(self, task: dict) -> None:
        account = task["payload"]["account"]
        lock = host.lock_acquire(f"account:{account}", self.visibility_ms, timeout_ms=self.visibility_ms // 2)
        if not lock:
            # Another worker has the account. The task is not acknowledged, so that it comes again.
            return
        try:
            host.ask("accounts", "deposit", {"task": task["msg_id"], **task["payload"]})
            host.channel.ack("", TASKS, task["msg_id"])
            self.worked += 1
        finally:
            host.lock_release(f"account:{account}", lock)


ACTOR_REGISTRY = {"accounts": Accounts, "worker": Worker}
