"""Gives the objects that `_image.py` lists the reference count of immortal objects, in a finished component.

A component made by componentize-py has one core module whose data is the memory of the whole program. The layouts are those of CPython
3.14 on 32 bits, which the pinned version of componentize-py brings along.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from ._image import MARK

_MAGIC = 8
_CORE_MODULE, _DATA = 1, 11
# Of an object: the count of references is its first word. Of a list: the number of its items, and the address of their addresses.
_SIZE, _ITEMS = 8, 12
_IMMORTAL, _IS_IMMORTAL = 5 << 28, 1 << 30
_MARK = re.compile(re.escape(MARK) + rb"(.{8})", re.DOTALL)
# What separates two pieces of data: shorter runs of zeros cost less than another piece.
_ZEROS = re.compile(rb"\0{32,}")


class ImageError(Exception):
    """A component that is not made as expected."""


def immortalise(component: bytes) -> bytes:
    """The component with the listed objects made immortal."""
    for kind, module, inside, module_end in _sections(component, _MAGIC, len(component)):
        if kind != _CORE_MODULE:
            continue
        for kind, data, content, data_end in _sections(component, inside + _MAGIC, module_end):
            if kind == _DATA:
                made = _section(_DATA, _write(_mark(_read(component, content))))
                made = _section(_CORE_MODULE, component[inside:data] + made + component[data_end:module_end])
                return component[:module] + made + component[module_end:]
    raise ImageError("expected a core module with data, found none")


def _mark(memory: bytearray) -> bytearray:
    marked = (struct.unpack("<II", found[1]) for found in _MARK.finditer(memory))
    lists = {address for address, complement in marked if address ^ complement == 0xFFFF_FFFF}
    if len(lists) != 1:
        raise ImageError(f"expected one list of objects in the component's memory, found {len(lists)}")
    kept = lists.pop()
    items = _word(memory, kept + _ITEMS)
    for number in range(_word(memory, kept + _SIZE)):
        at = _word(memory, items + 4 * number)
        references = _word(memory, at)
        if references == 0:
            raise ImageError(f"expected an object at {at:#x}, found no reference to it")
        if references < _IS_IMMORTAL:
            memory[at : at + 4] = _IMMORTAL.to_bytes(4, "little")
    return memory


def _word(memory: bytearray, at: int) -> int:
    if at % 4 or at + 4 > len(memory):
        raise ImageError(f"expected an address in the component's memory, found {at:#x}")
    return int.from_bytes(memory[at : at + 4], "little")


def _read(component: bytes, at: int) -> bytearray:
    """The memory that a data section describes."""
    memory = bytearray()
    count, at = _number(component, at)
    for _ in range(count):
        if component[at : at + 2] != b"\x00\x41":
            raise ImageError("expected data at a fixed address, found other data")
        address, at = _number(component, at + 2, signed=True)
        size, at = _number(component, at + 1)
        memory.extend(bytes(max(0, address + size - len(memory))))
        memory[address : address + size] = component[at : at + size]
        at += size
    return memory


def _write(memory: bytearray) -> bytes:
    """A data section's content."""
    pieces = []
    start = 0
    for zeros in [*_ZEROS.finditer(memory), None]:
        end = len(memory) if zeros is None else zeros.start()
        if start < end:
            pieces.append(b"\x00\x41" + _signed(start) + b"\x0b" + _unsigned(end - start) + memory[start:end])
        start = end if zeros is None else zeros.end()
    return _unsigned(len(pieces)) + b"".join(pieces)


def _sections(wasm: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Each section: its kind, where it begins, where its content begins, where it ends."""
    while at < end:
        size, content = _number(wasm, at + 1)
        yield wasm[at], at, content, content + size
        at = content + size


def _section(kind: int, content: bytes) -> bytes:
    return bytes([kind]) + _unsigned(len(content)) + content


def _number(wasm: bytes, at: int, signed: bool = False) -> tuple[int, int]:
    """A number in LEB128, and where it ends."""
    value = shift = 0
    while True:
        byte = wasm[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return (value - (1 << shift) if signed and byte & 0x40 else value), at


def _unsigned(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _signed(value: int) -> bytes:
    """A number that is not negative as a signed one, whose last byte must not have the sign's bit."""
    out = bytearray()
    while value > 0x3F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
