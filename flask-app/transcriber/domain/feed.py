"""What a follower of a job receives: events with ids that stay the same over restarts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedEvent:
    """One event of GET /jobs/{id}/stream.

    kind: 'progress', 'segment', 'done' or 'error'; data is JSON-safe. Segments are numbered from 1 by their id
    (segment.id + 1); a 'done' or 'error' has the number after the last segment; 'progress' has none, so that a
    follower who comes back with the last number it saw misses no segment and sees none twice.
    """

    kind: str
    data: dict[str, Any]
    number: int | None = None

    @property
    def is_last(self) -> bool:
        return self.kind in ("done", "error")
