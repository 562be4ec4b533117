"""A durable bank account: every acknowledged deposit survives the node."""

from plexspaces import actor, handler, host, state


@actor(facets=["durability"])
class BankAccount:
    """One customer's account."""

    balance: float = state(default=0)
    transactions: list = state(default_factory=list)

    @handler("deposit")
    def deposit(self, amount: float, memo: str = "") -> dict:
        """Add money."""
        if not isinstance(amount, (int, float)) or isinstance(amount, bool) or amount <= 0:
            return {"error": "amount must be a positive number", "balance": self.balance}
        self.balance += amount
        return self._record("deposit", amount, memo)

    @handler("withdraw")
    def withdraw(self, amount: float, memo: str = "") -> dict:
        """Take money out, as far as there is any."""
        if not isinstance(amount, (int, float)) or isinstance(amount, bool) or amount <= 0:
            return {"error": "amount must be a positive number", "balance": self.balance}
        if amount > self.balance:
            return {"error": "insufficient funds", "balance": self.balance}
        self.balance -= amount
        return self._record("withdraw", amount, memo)

    @handler("get")
    def get(self) -> dict:
        """Return the balance and how many transactions led to it."""
        return {"balance": self.balance, "transactions": len(self.transactions)}

    @handler("balance")
    def current(self) -> dict:
        """Return the balance."""
        return {"balance": self.balance}

    @handler("history")
    def history(self, limit: int = 100) -> dict:
        """Return the latest transactions, newest last."""
        return {"transactions": self.transactions[-limit:] if limit > 0 else []}

    @handler("replay")
    def replay(self) -> dict:
        """Derive the balance again from the transactions and compare."""
        derived = sum(t["amount"] if t["kind"] == "deposit" else -t["amount"] for t in self.transactions)
        return {"balance": self.balance, "replayed": derived, "consistent": derived == self.balance}

    def _record(self, kind: str, amount: float, memo: str) -> dict:
        self.transactions.append({"kind": kind, "amount": amount, "memo": memo, "at_ms": host.now_ms()})
        return {"balance": self.balance, "transactions": len(self.transactions)}
