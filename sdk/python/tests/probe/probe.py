"""An actor that does what actors should not do, to see that nothing of it traps."""

import random
import sys
from typing import Any

from beside import double  # a module beside this one
from parts.deep import NAME  # a package beside this one

from plexspaces import actor, handler, host, init_handler, state


@actor(facets=["durability"])
class ProbeActor:
    """Misbehaves on demand."""

    value: Any = state(default=None)

    @init_handler
    def setup(self, config: dict) -> None:
        self.args = config["args"]
        if self.args.get("fail"):
            raise SystemExit(3)

    @handler("beside")
    def beside(self, n: int) -> dict:
        return {"double": double(n), "name": NAME, "args": self.args, "id": self.actor_id}

    @handler("late")
    def late(self) -> dict:
        import importlib
        from fractions import Fraction  # the standard library, seldom used

        from parts import later, missing_or_not

        import late

        fetch = importlib.import_module("colorsys")
        try:
            import no_such_module
        except ImportError:
            no_such_module = None
        found = [late.NAME, later.NAME, missing_or_not]
        return {"half": str(Fraction(2, 4)), "found": found, "hue": fetch.rgb_to_hsv(0, 0, 1)[2], "missing": no_such_module}

    @handler("set")
    def set(self, value: Any) -> None:
        self.value = value

    @handler("reply")
    def reply(self, code: str) -> Any:
        return eval(code)

    @handler("store")
    def store(self, code: str) -> None:
        self.value = eval(code)

    @handler("raise")
    def fail(self, kind: str) -> None:
        raise {"exit": SystemExit, "interrupt": KeyboardInterrupt, "memory": MemoryError, "value": ValueError}[kind]("on demand \ud800")

    @handler("recurse")
    def recurse(self, depth: int = 0) -> int:
        return self.recurse(depth + 1) + 1

    @handler("hoard")
    def hoard(self) -> None:
        self.value = bytearray(1 << 29)

    @handler("nest")
    def nest(self, depth: int) -> list:
        value: list = []
        for _ in range(depth - 1):
            value = [value]
        return value

    @handler("random")
    def random(self) -> float:
        return random.random()

    @handler("modules")
    def modules(self) -> list:
        return sorted(sys.modules)

    @handler("echo")
    def echo(self, body: Any) -> Any:
        return body

    @handler("note", "cast")
    def note(self, text: str, from_actor: str = "") -> str:
        host.info(f"{from_actor}: {text}")
        return "nobody reads this"
