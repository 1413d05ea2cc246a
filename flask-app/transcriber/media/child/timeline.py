"""Keeps the times of decoded audio true to the times in the file: where silence must be put in.

The origin is the start of the container, as in players: sound that begins 3 s after the picture is
preceded by 3 s of silence, but a recording whose clock starts at 1000 s begins at once. A hole in the
stream becomes silence. A leap that neither the file's own length nor its format confirms is a broken clock, and is
closed up instead.
"""

from __future__ import annotations

from transcriber.domain.ports import SAMPLE_RATE

#: Seconds the first frame may be late before the distance is filled.
START_TOLERANCE = 0.1
#: Seconds a later frame may be off before the timeline believes its own count no more. Browsers' and
#: Windows Media timestamps jitter by tens of milliseconds.
GAP_TOLERANCE = 0.5
#: Holes up to this many seconds are filled without looking at the file's length; of a live recording, whose header
#: gives none, in a format whose clock does not leap, these.
PLAIN_GAP = 10.0
LIVE_GAP = 600.0
#: Seconds that clock and samples may drift apart before they are made to agree, and how many frames a measurement of it
#: is smoothed over.
DRIFT = 0.06
_SMOOTHED_FRAMES = 50


class Timeline:
    """Counts samples against timestamps."""

    def __init__(self, *, origin: float, declared_end: float | None, is_live: bool = False) -> None:
        """origin, declared_end: in the file's own time. declared_end None: the file gives none to trust.

        is_live: the format's clock does not leap, and its header has no length.
        """
        self._origin = origin
        self._declared_end = declared_end
        self._is_live = is_live
        self._frames = 0
        self._usual: float | None = None
        self._smooth = 0.0
        self.jumps = 0
        #: Whether clock and samples run at different speeds.
        self.drifts = False

    def silence_before(self, time: float | None, written: int) -> int:
        """Samples of silence due before a frame with this timestamp, after `written` samples."""
        if time is None:
            return 0
        gap = time - (self._origin + written / SAMPLE_RATE)
        self._note_drift(gap)
        if gap > (GAP_TOLERANCE if written else START_TOLERANCE) and self._believes(gap, time):
            self._forget_drift()
            return round(gap * SAMPLE_RATE)
        if abs(gap) > GAP_TOLERANCE:
            self._origin += gap
            self._forget_drift()
            self.jumps += 1
        return 0

    def _believes(self, gap: float, time: float) -> bool:
        if gap <= PLAIN_GAP:
            return True
        if self._declared_end is None:
            return self._is_live and gap <= LIVE_GAP
        return time <= self._declared_end

    def _note_drift(self, gap: float) -> None:
        """The distance, smoothed, against what it was at first; clocks that jitter stay where they are."""
        self._frames += 1
        self._smooth += (gap - self._smooth) / min(self._frames, _SMOOTHED_FRAMES)
        if self._frames == _SMOOTHED_FRAMES:
            self._usual = self._smooth
        if self._usual is not None and abs(self._smooth - self._usual) > DRIFT:
            self.drifts = True

    def _forget_drift(self) -> None:
        self._frames, self._usual, self._smooth = 0, None, 0.0
