"""Decoded audio in the spool, read piece by piece: int16, 16 kHz, one channel, without a header."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...domain.ports import SAMPLE_RATE
from .arrays import Samples
from .vad import BLOCK_SAMPLES
from .windows import SpeechChunk

#: Loudness is measured over this many samples (20 ms).
_LOUDNESS_SAMPLES = SAMPLE_RATE // 50

_SAMPLE_BYTES = 2

#: What is no louder is silence, also where it was dithered; a stretch of sound gets so much of what is around it.
_SILENCE = 3.5 / 32768
_PAD_SAMPLES = SAMPLE_RATE // 4


class Pcm:
    """One job's audio. Only what is asked for is read into memory."""

    def __init__(self, path: Path, samples: int, channels: int = 1, channel: int = 0) -> None:
        """One of the channels that take turns in the file. Raises OSError or ValueError when it is not there or too short."""
        self.samples = samples
        self._channels = channels
        self._channel = channel
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._file)
        if os.fstat(self._file).st_size < samples * channels * _SAMPLE_BYTES:
            raise ValueError(f"{path} has fewer than {samples} samples")

    def read(self, start: int, end: int) -> Samples:
        """Samples start to end as numbers from -1 to 1."""
        # Not mapped: of a ten-hour file more than a gigabyte would count as this process's memory.
        count = max(0, min(end, self.samples) - start)
        step = self._channels * _SAMPLE_BYTES
        data = os.pread(self._file, count * step, start * step)
        return np.frombuffer(data, "<i2")[self._channel :: self._channels].astype(np.float32) / 32768.0

    def iter_blocks(self) -> Iterator[Samples]:
        """The whole file in blocks of whole VAD frames."""
        for start in range(0, self.samples, BLOCK_SAMPLES):
            yield self.read(start, start + BLOCK_SAMPLES)

    def iter_sound(self) -> Iterator[SpeechChunk]:
        """What is not silence, padded; in the order of time."""
        held: SpeechChunk | None = None
        for start in range(0, self.samples, BLOCK_SAMPLES):
            for low, high in _loud_stretches(self.read(start, start + BLOCK_SAMPLES)):
                chunk = SpeechChunk(
                    start=max(0, start + low - _PAD_SAMPLES),
                    end=min(self.samples, start + high + _PAD_SAMPLES),
                )
                if held is not None and chunk.start <= held.end:
                    held = replace(held, end=chunk.end)
                    continue
                if held is not None:
                    yield held
                held = chunk
        if held is not None:
            yield held

    def find_quietest(self, low: int, high: int) -> int:
        """Where between low and high it is quietest; of equally quiet places, the last."""
        audio = self.read(low, high)
        count = len(audio) // _LOUDNESS_SAMPLES
        loudness = np.square(audio[: count * _LOUDNESS_SAMPLES]).reshape(count, -1).mean(axis=1)
        return low + _last_lowest(loudness) * _LOUDNESS_SAMPLES + _LOUDNESS_SAMPLES // 2


def _loud_stretches(audio: Samples) -> list[tuple[int, int]]:
    """(start, end) of each stretch with a sample that is more than the noise of 16 bits."""
    count = -(-len(audio) // _LOUDNESS_SAMPLES)
    padded = np.pad(np.abs(audio), (0, count * _LOUDNESS_SAMPLES - len(audio)))
    loud = padded.reshape(count, -1).max(axis=1) > _SILENCE
    edges = np.flatnonzero(np.diff(np.concatenate([[False], loud, [False]]).astype(np.int8)))
    return [
        (int(low) * _LOUDNESS_SAMPLES, min(len(audio), int(high) * _LOUDNESS_SAMPLES))
        for low, high in edges.reshape(-1, 2)
    ]


def find_least_speech(probabilities: npt.NDArray[np.float32], low: int, high: int, frame: int) -> int:
    """Where between two samples the speech probability, smoothed over five frames, is lowest."""
    first, last = low // frame + 1, high // frame
    smooth = np.convolve(probabilities[first:last], np.full(5, 0.2), mode="same")
    return (first + 2 + _last_lowest(smooth[2:-2])) * frame + frame // 2


def _last_lowest(values: npt.NDArray[np.floating]) -> int:
    """Position of the smallest value, the last of equals."""
    return len(values) - 1 - int(np.argmin(values[::-1]))
