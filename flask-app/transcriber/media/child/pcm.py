"""The PCM output of a decode child: counts every sample, notes how loud it gets, and stops at the limit."""

from __future__ import annotations

from typing import BinaryIO

from transcriber.domain.ports import SAMPLE_BYTES, SAMPLE_RATE

from ..peaks import Peaks
from .refusal import MediaRefusedError

BYTES_PER_SECOND = SAMPLE_RATE * SAMPLE_BYTES


class PcmSink:
    """Writes int16 samples to a file, as they come."""

    def __init__(self, file: BinaryIO, max_samples: int, max_bytes: int | None = None) -> None:
        """`max_bytes`: what may be written; silence is none of it."""
        self._file = file
        self._max_samples = max_samples
        self._max_bytes = max_samples * SAMPLE_BYTES if max_bytes is None else max_bytes
        self._begin(1)

    def restart(self, channels: int) -> None:
        """Forget what was written. Samples are counted per channel, and channels take turns in the file."""
        if self.samples:
            self._file.seek(0)
            self._file.truncate(0)
        self._begin(channels)

    def _begin(self, channels: int) -> None:
        self.channels = channels
        self.samples = 0
        self._bytes_left = self._max_bytes
        self.peaks = Peaks(channels)

    def write(self, pcm: bytes) -> None:
        """Append samples. Raises MediaRefusedError at a limit, or when the disk is full."""
        self._count(len(pcm) // (SAMPLE_BYTES * self.channels))
        self._bytes_left -= len(pcm)
        if self._bytes_left < 0:
            raise MediaRefusedError("storage_full")
        try:
            self._file.write(pcm)
        except OSError:
            raise MediaRefusedError("storage_full") from None
        self.peaks.add(pcm)

    def silence(self, samples: int) -> None:
        """Append silence, as a hole that takes no disk."""
        self._count(samples)
        self.peaks.skip(samples * self.channels)
        self._file.seek(samples * SAMPLE_BYTES * self.channels, 1)

    def finish(self) -> None:
        """Bring everything to the file. Raises MediaRefusedError when the disk is full."""
        try:
            self._file.flush()
            self._file.truncate(self.samples * SAMPLE_BYTES * self.channels)
        except OSError:
            raise MediaRefusedError("storage_full") from None

    def _count(self, samples: int) -> None:
        if self.samples + samples > self._max_samples:
            raise MediaRefusedError("too_long")
        self.samples += samples
