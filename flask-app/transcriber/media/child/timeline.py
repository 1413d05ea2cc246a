"""Keeps the times of decoded audio true to the times in the file: where silence must be put in.

The origin is the start of the container, as in players: sound that begins 3 s after the picture is
preceded by 3 s of silence, but a recording whose clock starts at 1000 s begins at once. A hole in the
stream becomes silence. A leap that the file's own length does not confirm is a broken clock, and is
closed up instead.
"""

from __future__ import annotations

from transcriber.domain.ports import SAMPLE_RATE

#: Seconds the first frame may be late before the distance is filled.
START_TOLERANCE = 0.1
#: Seconds a later frame may be off before the timeline believes its own count no more. Browsers' and
#: Windows Media timestamps jitter by tens of milliseconds.
GAP_TOLERANCE = 0.5
#: Holes up to this many seconds are filled without looking at the file's length.
PLAIN_GAP = 10.0


class Timeline:
    """Counts samples against timestamps."""

    def __init__(self, *, origin: float, declared_end: float | None) -> None:
        """origin, declared_end: in the file's own time. declared_end None: the file gives none to trust."""
        self._origin = origin
        self._declared_end = declared_end
        self.jumps = 0

    def silence_before(self, time: float | None, written: int) -> int:
        """Samples of silence due before a frame with this timestamp, after `written` samples."""
        if time is None:
            return 0
        gap = time - (self._origin + written / SAMPLE_RATE)
        if gap > (GAP_TOLERANCE if written else START_TOLERANCE) and self._believes(gap, time):
            return round(gap * SAMPLE_RATE)
        if abs(gap) > GAP_TOLERANCE:
            self._origin += gap
            self.jumps += 1
        return 0

    def _believes(self, gap: float, time: float) -> bool:
        if gap <= PLAIN_GAP:
            return True
        return self._declared_end is not None and time <= self._declared_end
