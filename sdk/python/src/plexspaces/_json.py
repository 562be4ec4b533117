"""JSON as it crosses between actor and node: compact, strict, and with errors that say where the bad value sits."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any, NoReturn


# Inside a component the C code of `json` uses up the stack, and traps, before Python's own recursion limit stops it.
MAX_DEPTH = 200
_CONTAINERS = (dict, list, tuple)
# A string, closed or not, or a bracket.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)


class NotJson(Exception):
    """A value that JSON cannot hold."""


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_encoder = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_decoder = json.JSONDecoder(parse_constant=_refuse_constant)


def _make_encode() -> Callable[[Any], str]:
    """`JSONEncoder.encode` sets up its C code anew for each text, which takes longer than most texts do: here that is done once. What it
    would do besides, to refuse a value that contains itself, is done before."""
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return _encoder.encode
    chunks = make(None, _encoder.default, json.encoder.encode_basestring, None, ":", ",", False, False, False)
    return lambda value: "".join(chunks(value, 0))


_encode = _make_encode()
_scan: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once  # type: ignore[attr-defined]


def encode(value: Any, what: str) -> str:
    """The value's JSON text. ``what`` names the value in the error."""
    if _is_deep(value):
        raise NotJson(_explain(value, what) or f"{what} is nested too deeply")
    try:
        text = _encode(value)
        # A lone surrogate has no UTF-8 form: it would trap on its way out of the component.
        if not text.isascii():
            text.encode("utf-8")
        return text
    except (TypeError, ValueError, RecursionError) as error:
        raise NotJson(_explain(value, what) or f"{what} is not JSON: {error}") from None


def decode(text: str) -> Any:
    """The value of a JSON text; raises ``ValueError`` for anything else."""
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_deep_text(text):
        raise ValueError("it is nested too deeply")
    try:
        value, end = _scan(text, 0)
    except StopIteration:
        end = -1
    # What has space around it, or an error that is to be explained, takes the long way.
    return value if end == len(text) else _decoder.decode(text)


def _is_deep(value: Any) -> bool:
    """Looks at one level after the other, and at each container only once a level: values may be shared, or contain themselves."""
    level = [value] if isinstance(value, _CONTAINERS) else []
    depth = 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            return True
        inside = [x for c in level for x in (c.values() if isinstance(c, dict) else c) if isinstance(x, _CONTAINERS)]
        level = inside if len(inside) < 2 else list({id(x): x for x in inside}.values())
    return False


def _is_deep_text(text: str) -> bool:
    depth = 0
    for token in _TOKEN.finditer(text):
        first = text[token.start()]
        if first in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif first in "]}":
            depth -= 1
    return False


def _explain(value: Any, path: str) -> str | None:
    """Finds the first value that JSON cannot hold. It keeps its own stack: the value may be nested too deeply for calls."""
    todo: list[tuple[Any, str, int]] = [(value, path, 0)]
    open_containers: dict[int, int] = {}
    while todo:
        item, where, depth = todo.pop()
        for container in [known for known, at in open_containers.items() if at >= depth]:
            del open_containers[container]
        if item is None or isinstance(item, (bool, int)):
            continue
        if isinstance(item, str):
            if not _has_utf8(item):
                return f"{where} has characters without a UTF-8 form"
        elif isinstance(item, float):
            if not math.isfinite(item):
                return f"{where} is {item}, which JSON cannot hold"
        elif isinstance(item, (dict, list, tuple)):
            if id(item) in open_containers:
                return f"{where} contains itself"
            if depth >= MAX_DEPTH:
                return f"{path} is nested too deeply"
            open_containers[id(item)] = depth
            if isinstance(item, dict):
                for key in item:
                    if key is not None and not isinstance(key, (str, int, float)):
                        return f"{where} has a key of type {type(key).__name__}, which JSON cannot hold"
                    if isinstance(key, str) and not _has_utf8(key):
                        return f"{where} has a key without a UTF-8 form"
                    if isinstance(key, float) and not math.isfinite(key):
                        return f"{where} has the key {key}, which JSON cannot hold"
                children = [(child, f"{where}.{key}") for key, child in item.items()]
            else:
                children = [(child, f"{where}[{index}]") for index, child in enumerate(item)]
            todo.extend((child, name, depth + 1) for child, name in reversed(children))
        else:
            return f"{where} is of type {type(item).__name__}, which JSON cannot hold"
    return None


def _has_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def printable(text: str) -> str:
    """The text with whatever has no UTF-8 form replaced, for messages and logs that must never be refused."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
