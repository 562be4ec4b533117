"""A bank account whose every transaction outlives a crash of the node: its state is stored before a caller gets the answer."""

from plexspaces import actor, handler, host, state


@actor(facets=["durability"])
class BankAccount:
    """One customer's account."""

    balance: float = state(default=0)
    transactions: list = state(default_factory=list)

    @handler("deposit")
    def deposit(self, amount: float, memo: str = "") -> dict:
        """Adds money."""
        refused = self._refuse(amount)
        return refused or self._book("deposit", amount, memo)

    @handler("withdraw")
    def withdraw(self, amount: float) -> dict:
        """Takes money, if there is enough."""
        refused = self._refuse(amount)
        if refused is None and amount > self.balance:
            refused = {"error": "insufficient funds", "balance": self.balance, "requested": amount}
        return refused or self._book("withdraw", -amount)

    @handler("get")
    def get(self) -> dict:
        """The balance and the number of transactions."""
        return {"balance": self.balance, "transaction_count": len(self.transactions)}

    @handler("balance")
    def get_balance(self) -> dict:
        """The balance."""
        return {"balance": self.balance}

    @handler("history")
    def history(self) -> dict:
        """All transactions, the oldest first."""
        return {"transactions": self.transactions, "count": len(self.transactions)}

    @handler("replay")
    def replay(self) -> dict:
        """Computes the balance again from the transactions and compares."""
        replayed = 0
        for transaction in self.transactions:
            replayed += transaction["amount"]  # in the order of booking, and not with sum(), which rounds differently
        return {"balance": self.balance, "replayed": replayed, "consistent": replayed == self.balance}

    def _refuse(self, amount: float) -> dict | None:
        # Messages carry whatever JSON holds; True is an int to Python, but no amount of money.
        if isinstance(amount, bool) or not isinstance(amount, (int, float)) or amount <= 0:
            return {"error": "amount must be a number above zero"}
        return None

    def _book(self, kind: str, amount: float, memo: str = "") -> dict:
        self.balance += amount
        entry = {"type": kind, "amount": amount, "balance": self.balance, "at_ms": host.now_ms()}
        self.transactions.append(entry | {"memo": memo} if memo else entry)
        return {"balance": self.balance}
