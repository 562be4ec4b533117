"""``host.blob_*``: large objects of the namespace, by name."""

from __future__ import annotations

from typing import Any

from . import _course, _service
from ._arguments import MAX_TIME, filled, text
from ._backend import BlobInfo, current
from .errors import ActorNotFoundError, InvalidArgumentError


class Blobs:
    """The part of the host API for blobs. A blob that is read or written at once is no larger than a payload may be."""

    def blob_put(self, name: str, data: bytes | str, content_type: str | None = None) -> dict[str, Any]:
        """Writes a blob, in the place of one of the same name if there is one, and returns what it is: ``name``, ``size`` in bytes,
        ``sha256``, ``content_type`` and ``created_ms``. Text is written as UTF-8; without ``content_type`` it is ``text/plain; charset=utf-8``,
        anything else ``application/octet-stream``. Raises ``PayloadTooLargeError`` and, over the namespace's quota, ``quota_exceeded``."""
        if isinstance(data, str):
            content: bytes | str = text(data, "data")
        elif isinstance(data, (bytes, bytearray, memoryview)):
            content = bytes(data)
        else:
            raise InvalidArgumentError(f"data must be bytes or a string, not {type(data).__name__}")
        usual = "text/plain; charset=utf-8" if isinstance(data, str) else "application/octet-stream"
        media = usual if content_type is None else text(content_type, "content_type")
        blob = filled(name, "name")
        return _course.waiting(lambda: current("blob_put").blob_put(blob, media, content))._asdict()

    def blob_get(self, name: str, offset: int = 0, length: int | None = None) -> bytes | None:
        """The bytes of a blob from ``offset`` on, at most ``length``; ``None`` when there is none of this name."""
        start, size = _bytes(offset, "offset"), None if length is None else _bytes(length, "length")
        blob = filled(name, "name")
        try:
            _, content = _course.waiting(lambda: current("blob_get").blob_get(blob, start, size))
        except ActorNotFoundError:
            return None
        return content.encode() if isinstance(content, str) else content

    def blob_head(self, name: str) -> dict[str, Any] | None:
        """What a blob is, as ``blob_put`` returns it; ``None`` when there is none of this name."""
        try:
            return current("blob_head").blob_head(filled(name, "name"))._asdict()
        except ActorNotFoundError:
            return None

    def blob_delete(self, name: str) -> bool:
        """Removes a blob; true when there was one."""
        blob = filled(name, "name")
        return _course.waiting(lambda: current("blob_delete").blob_delete(blob))

    def blob_presign(self, name: str, expires_secs: int = 900, method: str = "GET") -> str:
        """A URL by which somebody without credentials can read a blob (``GET``) or write it (``PUT``), for 1 to 604 800 seconds. Whoever
        has the URL can use it. Raises ``ActorNotFoundError`` where there is no blob to read."""
        if isinstance(expires_secs, bool) or not isinstance(expires_secs, int) or not 1 <= expires_secs <= 604_800:
            raise InvalidArgumentError(f"expires_secs must be 1 to 604800 seconds, not {expires_secs!r}")
        if method not in ("GET", "PUT"):
            raise InvalidArgumentError(f"method must be 'GET' or 'PUT', not {method!r}")
        return current("blob_presign").blob_presign(filled(name, "name"), method, expires_secs)

    def blob_list(self, prefix: str = "") -> list[dict[str, Any]]:
        """What the blobs are whose names begin with ``prefix``, in byte order of their names."""
        backend, found = current("blob_list"), list[BlobInfo]()
        page = backend.blob_list(text(prefix, "prefix"), None, _service.PAGE)
        while page:
            found += page
            page = backend.blob_list(prefix, page[-1].name, _service.PAGE) if len(page) == _service.PAGE else []
        return [info._asdict() for info in found]


def _bytes(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_TIME:
        raise InvalidArgumentError(f"{what} must be a number of bytes from 0 on, not {value!r}")
    return value
