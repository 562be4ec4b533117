"""What the memory of a component should be like when it is made, so that actors share most of it.

Every actor begins with the memory that the build leaves behind, and shares each page of it until it writes there. CPython writes
everywhere: it counts references in the objects themselves, its collector keeps lists in them, and it fills caches when code first runs.
So the collector is told to leave alone what is there, and all objects get a reference count that CPython never changes: that of immortal
objects. Nothing in Python can set it, so the builder does, in the finished component (`_immortal.py`); here the objects are listed for it.
"""

from __future__ import annotations

import gc
import sys
from types import CodeType

# Stands in the image before the address of the list and the complement of the address; without these two it stands there too, in this code.
MARK = b"plexspaces: these objects live for ever"

# They are referred to from here so that none of them is gone when the builder changes them.
_kept: list[object] = []
_mark = b""

# Sizes of free places that matter. Below the smaller one every size is tried.
_LARGEST, _SMALL = 256 << 10, 4096
_filling: list[object] = []


def seal() -> None:
    """To be called when everything is loaded."""
    global _mark
    gc.collect()
    gc.freeze()
    _kept[:] = _reachable()
    address = id(_kept)
    _mark = MARK + address.to_bytes(4, "little") + (address ^ 0xFFFF_FFFF).to_bytes(4, "little")
    _fill()


def _reachable() -> list[object]:
    found: dict[int, object] = {}
    level: list[object] = list(sys.modules.values())
    while level:
        found.update((id(thing), thing) for thing in level)
        inside = gc.get_referents(*level)
        for thing in level:
            inside.append(type(thing))
            if isinstance(thing, CodeType):
                inside.extend(_parts(thing))
            elif isinstance(thing, type):
                inside.extend((thing.__mro__, *gc.get_referents(thing.__dict__)))
        level = [thing for thing in {id(thing): thing for thing in inside}.values() if id(thing) not in found]
    return list(found.values())


def _parts(code: CodeType) -> tuple[object, ...]:
    """The collector does not know code objects."""
    names = (code.co_names, *code.co_names, *code.co_varnames, *code.co_freevars, *code.co_cellvars)
    return (code.co_consts, code.co_filename, code.co_name, code.co_qualname, code.co_linetable, code.co_exceptiontable, *names)


def _fill() -> None:
    """Takes the free places between the objects, so that what an actor makes lies close together behind them, in pages of its own. The
    largest first: what is left of a place is then taken by something smaller."""
    end = max(id(thing) for thing in _kept)
    for size in [*range(_LARGEST, _SMALL, -_SMALL), *range(_SMALL, 0, -16)]:
        while id(thing := bytes(size)) < end:
            _filling.append(thing)
    while id(least := object()) < end:
        _filling.append(least)
