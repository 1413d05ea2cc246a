"""How many jobs are worked on at once, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

from ..system.backoff import Backoff
from .events import HEARTBEAT_SECONDS, PACE_SECONDS
from .queue import Slots

#: The limit where none is set: a base, and a factor for each second of audio.
BASE_TIMEOUT_SECONDS = 1800.0
TIMEOUT_FACTOR = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class JobLimits:
    """How much is worked on at once, what a short job is, and how long one may take (0: by its duration)."""

    slots: Slots
    short_seconds: float
    job_timeout_seconds: float = 0.0
    #: Seconds without an event before followers get a sign of life, and between two events at least.
    heartbeat_seconds: float = HEARTBEAT_SECONDS
    pace_seconds: float = PACE_SECONDS
    #: Before a job is tried again whose disk failed.
    backoff: Backoff = Backoff(1.0, 60.0)

    def timeout(self, duration: float) -> float:
        """Seconds that an attempt at a job of this duration may take."""
        return self.job_timeout_seconds or BASE_TIMEOUT_SECONDS + TIMEOUT_FACTOR * duration
