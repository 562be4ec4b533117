"""Checks of what is given to host functions, so that a mistake is told with the name of the argument, and before the call leaves."""

from __future__ import annotations

from typing import Any

from ._json import NotJson, encode, printable
from .errors import InvalidArgumentError

_MAX_U32 = 2**32 - 1
# The largest whole number that JSON keeps exactly everywhere.
MAX_TIME = 2**53 - 1


def text(value: Any, what: str) -> str:
    """What is no text, or has no UTF-8 form, would trap on its way out of the component."""
    if not isinstance(value, str):
        raise InvalidArgumentError(f"{what} must be a string, not {type(value).__name__}")
    if not value.isascii() and printable(value) != value:
        raise InvalidArgumentError(f"{what} has characters without a UTF-8 form")
    return value


def filled(value: Any, what: str) -> str:
    """A text that is not empty."""
    if not text(value, what):
        raise InvalidArgumentError(f"{what} is empty")
    return str(value)


def optional(value: Any, what: str) -> str | None:
    """A text that is not empty, or nothing."""
    return None if value is None else filled(value, what)


def milliseconds(value: Any, what: str, most: int = _MAX_U32, *, least: int = 0) -> int:
    """A duration."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise InvalidArgumentError(f"{what} must be a number of milliseconds from {least} to {most}, not {value!r}")
    return int(value)


def lifetime(value: Any, what: str = "ttl_ms") -> int | None:
    """A duration that is not zero, or none: for ever."""
    return None if value is None else milliseconds(value, what, MAX_TIME, least=1)


def json_text(value: Any, what: str) -> str:
    """The JSON text of a value."""
    try:
        return encode(value, what)
    except NotJson as error:
        raise InvalidArgumentError(str(error)) from None


def value_text(value: Any) -> str:
    """What is stored for a value: a string as it is, anything else as its JSON text."""
    return text(value, "value") if isinstance(value, str) else json_text(value, "value")
