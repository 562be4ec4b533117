"""HTTP over service links: from what an actor writes to what crosses the component's border, and back."""

from __future__ import annotations

import re
from binascii import b2a_base64
from typing import Any

from ._backend import HttpRequest, HttpResponse
from ._json import NotJson, decode, encode, printable
from .errors import InvalidArgumentError

_JSON = "application/json"
_CHARSET = re.compile(r""";\s*charset\s*=\s*"?([^\s";]+)""", re.IGNORECASE)


def request(method: str, path: str, body: Any, headers: Any, timeout_ms: int | None, idempotency_key: Any) -> HttpRequest:
    """Checks the arguments of ``host.http_fetch`` and adds the body's content type."""
    sent = _headers(headers)
    if idempotency_key is not None and not isinstance(idempotency_key, str):
        raise InvalidArgumentError(f"idempotency_key must be a string, not {type(idempotency_key).__name__}")
    data, content_type = _body(body)
    if content_type is not None and not any(name.lower() == "content-type" for name, _ in sent):
        sent.append(("content-type", content_type))
    return HttpRequest(method.upper(), path, sent, data, timeout_ms, idempotency_key)


def response(answer: HttpResponse) -> dict[str, Any]:
    """What ``host.http_fetch`` returns."""
    headers: dict[str, str] = {}
    for name, value in answer.headers:
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    result: dict[str, Any] = {"status": answer.status, "headers": headers, "body": answer.body}
    if isinstance(answer.body, bytes):
        # All of a response is JSON, so that it can be kept, sent and returned as it is.
        result["body"] = _text(answer.body, headers.get("content-type", ""))
        result["body_base64"] = b2a_base64(answer.body, newline=False).decode()
    try:
        result["json"] = decode(result["body"])
    except ValueError:
        pass  # a body that is not JSON has no such key
    return result


def _text(body: bytes, content_type: str) -> str:
    """A body that is not UTF-8, in the encoding that its sender names; what cannot be read so is replaced."""
    named = _CHARSET.search(content_type)
    try:
        return body.decode(named[1] if named else "utf-8", errors="replace")
    except (LookupError, UnicodeError):
        return body.decode(errors="replace")


def _headers(headers: Any) -> list[tuple[str, str]]:
    if headers is None:
        return []
    if not isinstance(headers, dict):
        raise InvalidArgumentError(f"headers must be a dict, not {type(headers).__name__}")
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise InvalidArgumentError(f"headers must hold strings, found {name!r}: {type(value).__name__}")
        if printable(name) != name or printable(value) != value:
            raise InvalidArgumentError("headers have characters without a UTF-8 form")
        if name.lower() == "idempotency-key":
            raise InvalidArgumentError("give the key as the argument idempotency_key")
    return list(headers.items())


def _body(body: Any) -> tuple[str | bytes | None, str | None]:
    if body is None:
        return None, None
    if isinstance(body, (bytes, bytearray)):
        return bytes(body), "application/octet-stream"
    if isinstance(body, str):
        if printable(body) != body:
            raise InvalidArgumentError("body has characters without a UTF-8 form")
        return body, _JSON if _is_json(body) else "text/plain; charset=utf-8"
    try:
        return encode(body, "body"), _JSON
    except NotJson as error:
        raise InvalidArgumentError(str(error)) from None


def _is_json(text: str) -> bool:
    """Whether a text is a JSON object or array: a number or a word alone is more likely plain text."""
    if not text.lstrip().startswith(("{", "[")):
        return False
    try:
        decode(text)
    except ValueError:
        return False
    return True
