"""The numbers of the module ``random`` in a component.

Its generator is part of what is built, so that all actors would draw the same numbers. Here each turn begins anew, with a number of the
host's: these differ, and in a durable actor they are the same when a turn is run again. To begin anew takes as long as a small handler, so
that it waits until a turn draws.
"""

from __future__ import annotations

import os
import random
from typing import Any


class _Turns(random.Random):
    """The generator behind the functions of ``random``."""

    _over = False

    def begin(self) -> None:
        """What is drawn from here on belongs to another turn."""
        # To write what is there would give each actor a page of its own.
        if not self._over:
            self._over = True

    def _draw(self) -> None:
        if self._over:
            self.seed(int.from_bytes(os.urandom(8)))

    def seed(self, a: Any = None, version: int = 2) -> None:
        self._over = False
        super().seed(a, version)

    def getstate(self) -> tuple[Any, ...]:
        self._draw()
        return super().getstate()

    def setstate(self, state: tuple[Any, ...]) -> None:
        self._over = False
        super().setstate(state)

    # All others draw from these two, but for a number that `gauss` has left over.

    def random(self) -> float:
        self._draw()
        return super().random()

    def getrandbits(self, k: int, /) -> int:
        self._draw()
        return super().getrandbits(k)

    def gauss(self, mu: float = 0.0, sigma: float = 1.0) -> float:
        self._draw()
        return super().gauss(mu, sigma)


_turns = _Turns()
begin_turn = _turns.begin


def install() -> None:
    """Puts it behind the functions of ``random``. To be called before anybody takes one of them."""
    before = random._inst
    for name, value in list(vars(random).items()):
        if getattr(value, "__self__", None) is before:
            setattr(random, name, getattr(_turns, name))
    random._inst = _turns
