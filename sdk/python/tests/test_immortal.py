"""What the builder changes in a component's memory, and what it refuses."""

import struct

import pytest

from plexspaces._image import MARK
from plexspaces._immortal import ImageError, _number, _read, _sections, _signed, _unsigned, immortalise

KEPT, ITEMS, MORTAL, IMMORTAL = 0x2000, 0x3000, 0x4000, 0x5000
COUNT = 5 << 28


def section(kind: int, content: bytes) -> bytes:
    return bytes([kind]) + _unsigned(len(content)) + content


def component(pieces: dict[int, bytes], flag: bytes = b"\x00\x41") -> bytes:
    data = b"".join(flag + _signed(at) + b"\x0b" + _unsigned(len(piece)) + piece for at, piece in pieces.items())
    module = b"\0asm\x01\0\0\0" + section(0, b"\x04name") + section(11, _unsigned(len(pieces)) + data) + section(0, b"\x03end")
    return b"\0asm\x0d\0\x01\0" + section(7, b"type") + section(1, module) + section(10, b"after")


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


def image(items: tuple[int, ...] = (MORTAL, IMMORTAL)) -> dict[int, bytes]:
    return {
        0x1003: MARK + b"elsewhere",
        0x1103: MARK + words(KEPT, KEPT ^ 0xFFFF_FFFF),
        KEPT: words(1, 0x99, len(items), ITEMS),
        ITEMS: words(*items),
        MORTAL: b"\x02",  # the rest of the count is zero, and not in the component
        IMMORTAL: words(6 << 28),
    }


def memory(made: bytes) -> bytearray:
    ((_, _, start, end),) = [s for s in _sections(made, 8, len(made)) if s[0] == 1]
    ((_, _, data, _),) = [s for s in _sections(made, start + 8, end) if s[0] == 11]
    return _read(made, data)


def test_listed_objects_become_immortal_and_nothing_else_changes() -> None:
    original = component(image())
    made = immortalise(original)
    before, after = memory(original), memory(made)
    assert struct.unpack_from("<I", after, MORTAL) == (COUNT,)
    assert struct.unpack_from("<I", after, IMMORTAL) == (6 << 28,)
    before[MORTAL : MORTAL + 4] = words(COUNT)
    assert after == before
    assert made.startswith(original[:14]) and made.endswith(section(0, b"\x03end") + section(10, b"after"))
    assert immortalise(made) == made


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (b"\0asm\x0d\0\x01\0", "a core module with data"),
        (component({0x10: b"x"}), "one list of objects in the component's memory, found 0"),
        (component({**image(), 0x9000: MARK + words(0x30, 0x30 ^ 0xFFFF_FFFF)}), "one list of objects in the component's memory, found 2"),
        (component(image((MORTAL + 1,))), "an address in the component's memory, found 0x4001"),
        (component(image((1 << 30,))), "an address in the component's memory, found 0x40000000"),
        (component(image((0x4800,))), "an object at 0x4800, found no reference to it"),
        (component(image(), b"\x00\x23"), "data at a fixed address"),
    ],
)
def test_other_components_are_refused(made: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        immortalise(made)


@pytest.mark.parametrize("value", [0, 1, 63, 64, 127, 128, 8191, 8192, 1 << 20, (1 << 31) - 1])
def test_numbers_are_read_as_they_are_written(value: int) -> None:
    assert _number(_unsigned(value), 0) == (value, len(_unsigned(value)))
    assert _number(_signed(value), 0, signed=True) == (value, len(_signed(value)))
