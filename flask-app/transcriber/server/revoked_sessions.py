"""Browser sessions that signed out, in a small file, so that a restart does not open them again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import structlog

from ..domain.errors import CapacityError
from ..system.durable_files import write_small

logger = structlog.get_logger(__name__)


class RevokedSessions:
    """The ids of sessions with the Unix time at which they would have ended."""

    def __init__(self, path: Path, natively: Callable[[Callable[[], None]], None]) -> None:
        """natively: runs what blocks on the disk."""
        self._path = path
        self._natively = natively

    def read(self) -> dict[str, int]:
        """Those that were kept; none where the file is not there or damaged."""
        try:
            found = json.loads(self._path.read_bytes())
            return {str(session_id): int(until) for session_id, until in found.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            logger.warning("revoked_sessions_not_read", error=str(error))
            return {}

    def write(self, ended: dict[str, int]) -> None:
        """Keep these. If the disk fails, sign-out still works: this process remembers them."""
        data = json.dumps(ended).encode()
        try:
            self._natively(lambda: write_small(self._path, data))
        except CapacityError as error:
            logger.warning("revoked_sessions_not_saved", code=error.code, error=error.message)
