"""JSON as the node takes it: compact, without NaN, and with errors that say where the value is that does not fit."""

from __future__ import annotations

import json
import math
from typing import Any

from plexspaces.errors import PayloadError

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
loads = json.loads


def dumps(value: Any, what: str) -> str:
    """Return the JSON text of a value; `what` names it in the error."""
    try:
        text = _encode(value)
        if not text.isascii():
            # A lone surrogate is fine in a str, but is no text outside of Python.
            text.encode()
        return text
    except (TypeError, ValueError, RecursionError) as error:
        raise PayloadError(f"{what} is not JSON-compatible: {_where(value) or error}") from error


def printable(text: str) -> str:
    """Return a text that can leave Python, whatever is in it."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _where(value: Any, path: str = "$", depth: int = 0) -> str | None:
    if value is None or isinstance(value, (bool, int)):
        return None
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return f"{path} has a character that is no Unicode text"
        return None
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{path} is {value}"
    if depth > 100:
        return f"{path} is nested too deeply"
    items: Any
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, (str, int, float, bool)) and key is not None:
                return f"{path} has a key of type {type(key).__name__}"
        items = ((f"{path}.{key}", item) for key, item in value.items())
    elif isinstance(value, (list, tuple)):
        items = ((f"{path}[{index}]", item) for index, item in enumerate(value))
    else:
        return f"{path} is of type {type(value).__name__}"
    return next((found for at, item in items if (found := _where(item, at, depth + 1))), None)
