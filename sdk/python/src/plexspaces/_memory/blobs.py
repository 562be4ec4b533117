"""Blobs of a test, in memory."""

from __future__ import annotations

import hashlib

from .._backend import BlobInfo
from ..errors import ActorNotFoundError, InvalidArgumentError


class Blobs:
    """The blobs of all namespaces of a world."""

    def __init__(self) -> None:
        self._blobs: dict[tuple[str, str], tuple[BlobInfo, bytes]] = {}

    def put(self, namespace: str, name: str, content_type: str, content: bytes | str, now_ms: int) -> BlobInfo:
        """Writes one."""
        if name.startswith("/"):
            raise InvalidArgumentError("the name of a blob begins with no '/' and has no control characters")
        data = content.encode() if isinstance(content, str) else content
        info = BlobInfo(name, len(data), hashlib.sha256(data).hexdigest(), content_type, now_ms)
        self._blobs[namespace, name] = info, data
        return info

    def get(self, namespace: str, name: str, offset: int, length: int | None) -> tuple[BlobInfo, bytes]:
        """Reads one, or a part of it."""
        info = self.head(namespace, name)
        if offset > info.size:
            raise InvalidArgumentError(f"the blob {name!r} has {info.size} bytes, asked for from {offset} on")
        data = self._blobs[namespace, name][1]
        return info, data[offset:] if length is None else data[offset : offset + length]

    def head(self, namespace: str, name: str) -> BlobInfo:
        """What a name stands for."""
        found = self._blobs.get((namespace, name))
        if found is None:
            raise ActorNotFoundError(f"there is no blob {name!r} in namespace {namespace}")
        return found[0]

    def delete(self, namespace: str, name: str) -> bool:
        """Removes one; true when there was one."""
        return self._blobs.pop((namespace, name), None) is not None

    def list(self, namespace: str, prefix: str, after: str | None, limit: int) -> list[BlobInfo]:
        """A page of them."""
        names = sorted((name for space, name in self._blobs if space == namespace and name.startswith(prefix)), key=str.encode)
        later = [name for name in names if after is None or name.encode() > after.encode()]
        return [self._blobs[namespace, name][0] for name in later[:limit]]
