"""What a worker wants said last, after gunicorn has said that it stops: shared memory between master and worker."""

from __future__ import annotations

import json
import mmap
from typing import Any

from ..domain.transcript import FallbackReason

_BYTES = 16 * 1024


class ExitReason:
    """Made before the fork; the worker writes it, the master reads it at its end."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _BYTES)

    def keep(self, cause: FallbackReason, status: int = 0) -> None:
        """In the worker: why the service ends, and with which exit status. 0: the master finds that out."""
        fields = {
            "status": status,
            "code": cause.code,
            "message": cause.message[:1500],
            "fix": cause.fix[:1500],
        }
        self._memory.seek(0)
        self._memory.write(json.dumps(fields, ensure_ascii=False).encode()[: _BYTES - 1] + b"\0")

    def find(self) -> FallbackReason | None:
        """In the master: the cause that was written; None if nothing was."""
        fields = self._read()
        try:
            return FallbackReason(code=fields["code"], message=fields["message"], fix=fields["fix"])
        except KeyError:
            return None

    @property
    def status(self) -> int:
        """In the master: the exit status that was written; 0 if none was."""
        return int(self._read().get("status", 0))

    def _read(self) -> dict[str, Any]:
        text = self._memory[:].partition(b"\0")[0]
        try:
            return dict(json.loads(text))
        except ValueError:  # nothing, or a write that was cut off
            return {}
