"""Decoded audio in the spool, read piece by piece: int16, 16 kHz, one channel, without a header."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...domain.ports import SAMPLE_RATE
from .arrays import Samples
from .vad import BLOCK_SAMPLES

#: Loudness is measured over this many samples (20 ms).
_LOUDNESS_SAMPLES = SAMPLE_RATE // 50

_SAMPLE_BYTES = 2


class Pcm:
    """One job's audio. Only what is asked for is read into memory."""

    def __init__(self, path: Path, samples: int) -> None:
        """Raises OSError or ValueError when the file is not there or is too short."""
        self.samples = samples
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._file)
        if os.fstat(self._file).st_size < samples * _SAMPLE_BYTES:
            raise ValueError(f"{path} has fewer than {samples} samples")

    def read(self, start: int, end: int) -> Samples:
        """Samples start to end as numbers from -1 to 1."""
        # Not mapped: of a ten-hour file more than a gigabyte would count as this process's memory.
        count = max(0, min(end, self.samples) - start)
        data = os.pread(self._file, count * _SAMPLE_BYTES, start * _SAMPLE_BYTES)
        return np.frombuffer(data, "<i2").astype(np.float32) / 32768.0

    def iter_blocks(self) -> Iterator[Samples]:
        """The whole file in blocks of whole VAD frames."""
        for start in range(0, self.samples, BLOCK_SAMPLES):
            yield self.read(start, start + BLOCK_SAMPLES)

    def find_quietest(self, low: int, high: int) -> int:
        """Where between low and high it is quietest; of equally quiet places, the last."""
        audio = self.read(low, high)
        count = len(audio) // _LOUDNESS_SAMPLES
        loudness = np.square(audio[: count * _LOUDNESS_SAMPLES]).reshape(count, -1).mean(axis=1)
        return low + _last_lowest(loudness) * _LOUDNESS_SAMPLES + _LOUDNESS_SAMPLES // 2


def find_least_speech(probabilities: npt.NDArray[np.float32], low: int, high: int, frame: int) -> int:
    """Where between two samples the speech probability, smoothed over five frames, is lowest."""
    first, last = low // frame + 1, high // frame
    smooth = np.convolve(probabilities[first:last], np.full(5, 0.2), mode="same")
    return (first + 2 + _last_lowest(smooth[2:-2])) * frame + frame // 2


def _last_lowest(values: npt.NDArray[np.floating]) -> int:
    """Position of the smallest value, the last of equals."""
    return len(values) - 1 - int(np.argmin(values[::-1]))
