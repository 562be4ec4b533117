"""The host as a query finds it: whatever would change something is refused."""

from __future__ import annotations

from typing import Any

from ..errors import ConflictError
from . import SERVICES

_LOOKS = {"actor_id", "now_ms", "ask", "kv_get", "kv_list", "log", "take_signals", "publish", "fresh_id"}
_LOOKS |= {"blob_get", "blob_head", "blob_list", "blob_presign"}


class Look:
    """A backend before another one."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._backend, name)
        if name in _LOOKS or not callable(found):
            return found

        def refuse(*arguments: Any) -> Any:
            words = [name, *(part for part in arguments[:2] if isinstance(part, str))]
            raise ConflictError(f"a query may not change anything: {' '.join(words)}")

        return refuse

    def request(self, service: str, name: str, operation: str, arguments: str) -> Any:
        """See `Backend`."""
        kind = SERVICES.get(service)
        if kind is not None and operation not in kind.looks:
            raise ConflictError(f"a query may not change anything: {service} {operation}")
        return self._backend.request(service, name, operation, arguments)
