"""Bytes as they come over the wire, as 16 kHz samples: PCM at any usual rate, and telephony's two laws."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]

RATE = 16_000

#: Taps of the low-pass filter on each side of a sample, in samples of the lower rate.
_REACH = 16


def decode(kind: str, data: bytes) -> Samples:
    """Numbers from -1 to 1. kind: audio/pcm (16 bits, little-endian), audio/pcmu, audio/pcma."""
    if kind == "audio/pcmu":
        return _TABLES["audio/pcmu"][np.frombuffer(data, np.uint8)]
    if kind == "audio/pcma":
        return _TABLES["audio/pcma"][np.frombuffer(data, np.uint8)]
    return np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.float32) / 32768.0


class StreamResampler:
    """One stream to 16 kHz: windowed-sinc interpolation, with what it needs of the blocks before."""

    def __init__(self, rate: int) -> None:
        self._step = rate / RATE
        cutoff = min(1.0, RATE / rate)
        self._reach = int(np.ceil(_REACH / cutoff))
        self._cutoff = cutoff
        self._held: Samples = np.zeros(self._reach, np.float32)
        #: Where the next output lies, in samples of `_held`.
        self._position = float(self._reach)

    def feed(self, block: Samples) -> Samples:
        """The outputs that can be made now."""
        if self._step == 1.0:
            return block
        held = np.concatenate([self._held, block])
        last = len(held) - self._reach - 1
        count = max(0, int(np.floor((last - self._position) / self._step)) + 1)
        places = self._position + self._step * np.arange(count)
        near = np.floor(places).astype(np.int64)
        offsets = np.arange(-self._reach + 1, self._reach + 1)
        distance = (near[:, None] + offsets) - places[:, None]
        kernel = self._cutoff * np.sinc(self._cutoff * distance)
        kernel *= 0.5 + 0.5 * np.cos(np.pi * np.clip(distance / self._reach, -1, 1))
        made = np.sum(held[near[:, None] + offsets] * kernel, axis=1, dtype=np.float32)
        self._position += self._step * count
        drop = max(0, int(self._position) - self._reach)
        self._held = held[drop:]
        self._position -= drop
        return np.asarray(made, np.float32)


def to_bytes(samples: Samples) -> bytes:
    """16 bits, little-endian."""
    return (np.clip(samples, -1, 32767 / 32768) * 32768).astype("<i2").tobytes()


def _mu_law() -> Samples:
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << ((code & 0x70) >> 4)) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.float32) / 32768.0


def _a_law() -> Samples:
    code = np.arange(256, dtype=np.int32) ^ 0x55
    segment = (code & 0x70) >> 4
    magnitude = (code & 0x0F) << 4
    magnitude = np.where(segment == 0, magnitude + 8, (magnitude + 0x108) << np.maximum(segment - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.float32) / 32768.0


_TABLES = {"audio/pcmu": _mu_law(), "audio/pcma": _a_law()}
