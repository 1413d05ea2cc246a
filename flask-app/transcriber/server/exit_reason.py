"""What a worker wants said last, after gunicorn has said that it stops: shared memory between master and worker."""

from __future__ import annotations

import json
import mmap

from ..domain.transcript import FallbackReason

_BYTES = 16 * 1024


class ExitReason:
    """Made before the fork; the worker writes it, the master reads it at its end."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _BYTES)

    def keep(self, cause: FallbackReason) -> None:
        """In the worker: why the service ends."""
        fields = {"code": cause.code, "message": cause.message[:1500], "fix": cause.fix[:1500]}
        self._memory.seek(0)
        self._memory.write(json.dumps(fields, ensure_ascii=False).encode()[: _BYTES - 1] + b"\0")

    def find(self) -> FallbackReason | None:
        """In the master: what was written; None if nothing was."""
        text = self._memory[:].partition(b"\0")[0]
        try:
            return FallbackReason(**json.loads(text)) if text else None
        except (ValueError, TypeError):
            return None
