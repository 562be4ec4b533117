"""Requests to the services that the actors of a namespace share, as docs/services.md lists them."""

from __future__ import annotations

from typing import Any

from . import _course
from ._arguments import milliseconds, text
from ._backend import current
from ._json import NotJson, decode, encode
from .errors import InvalidArgumentError

# The longest that a request may wait inside a service.
_LONGEST_WAIT_MS = 24 * 60 * 60 * 1000
PAGE = 1000


def ask(function: str, service: str, operation: str, arguments: dict[str, Any], name: str = "default") -> dict[str, Any]:
    """Asks a service and returns its reply; ``function`` is what the actor called. An argument that is ``None`` is left out.

    The reply is empty where nothing may be changed, as in a query: whoever reads it must not count on a key.
    """
    backend = current(function)
    given = {key: value for key, value in arguments.items() if value is not None}
    timeout_ms = milliseconds(given.pop("timeout_ms", 0), "timeout_ms", _LONGEST_WAIT_MS)
    if timeout_ms:
        given["timeout_ms"] = timeout_ms
    try:
        body = encode(given, "arguments")
    except NotJson as error:
        # Names the argument, and the place in it.
        raise InvalidArgumentError(str(error).removeprefix("arguments.")) from None
    if timeout_ms:
        reply = decode(_course.waiting(lambda: backend.request(service, name, operation, body)))
    else:
        reply = decode(backend.request(service, name, operation, body))
    return reply if isinstance(reply, dict) else {}


def pages(
    function: str, service: str, operation: str, arguments: dict[str, Any], key: str, after: Any = None
) -> list[Any]:
    """All pages of a list together, or those after a place; ``key`` is where a reply holds its part."""
    found: list[Any] = []
    while True:
        reply = ask(function, service, operation, {**arguments, "after": after, "limit": PAGE})
        found += reply.get(key, [])
        after = reply.get("next")
        if after is None:
            return found


def check_scope(function: str, scope: Any) -> None:
    """A scope is ``""`` or the actor's own namespace."""
    if not text(scope, "scope"):
        return
    own = current(function).actor_id().partition("/")[0]
    if scope != own:
        raise InvalidArgumentError(f"scope must be empty or this actor's namespace {own!r}, not {scope!r}")
