"""How loud a recording is along its way: the picture of it that pages show, taken while it is decoded.

Only the standard library: this runs in the confined child, for every sample of every file.
"""

from __future__ import annotations

import base64

#: Parts that a recording has at most; the page has room for fewer.
MOST_PARTS = 1024

#: Samples in a part of a short recording (10 ms); longer ones have parts of twice, four times, … as many.
FIRST_PART = 160

#: Only every n-th sample is looked at: speech is as loud a moment later, and the decoder has better things to do.
STRIDE = 8

_FULL = 255

#: The level of a recording is what so many of its shortest parts reach (0.3 s).
_LOUD_PARTS = 30


class Peaks:
    """The loudest sample of each part of a recording of unknown length. Feed it int16 samples in order."""

    def __init__(self, channels: int = 1) -> None:
        """channels: how many take turns in the samples."""
        self._parts: list[int] = []
        self._channels = channels
        self._size = FIRST_PART * channels
        self._at = 0

    def add(self, pcm: bytes) -> None:
        """The next samples, whole ones, in this machine's byte order."""
        samples = memoryview(pcm).cast("h")
        taken = 0
        while taken < len(samples):
            part, begun = divmod(self._at, self._size)
            some = samples[taken : taken + self._size - begun]
            looked_at = some[::STRIDE]
            self._raise(part, max(max(looked_at), -min(looked_at)))
            taken += len(some)
            self._at += len(some)

    def skip(self, samples: int) -> None:
        """That many samples of silence."""
        self._at += samples

    def level(self) -> float:
        """How loud the loudest 0.3 s are, 0 to 1: in all but long recordings a click or two do not count."""
        loudest = sorted(self._parts, reverse=True)[
            : -(-_LOUD_PARTS * FIRST_PART * self._channels // self._size)
        ]
        return loudest[-1] / 32768 if loudest else 0.0

    def to_text(self) -> str:
        """One byte for each part, 255 where it is loudest, in base64; empty for no samples."""
        if not self._at:
            return ""
        self._raise((self._at - 1) // self._size, 0)
        most = max(1, *self._parts)
        return base64.b64encode(bytes(peak * _FULL // most for peak in self._parts)).decode()

    def _raise(self, part: int, peak: int) -> None:
        while part >= MOST_PARTS:
            self._halve()
            part //= 2
        self._parts.extend([0] * (part + 1 - len(self._parts)))
        self._parts[part] = max(self._parts[part], peak)

    def _halve(self) -> None:
        self._parts = [max(self._parts[at : at + 2]) for at in range(0, len(self._parts), 2)]
        self._size *= 2
