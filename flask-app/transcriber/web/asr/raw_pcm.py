"""Raw samples as a file that the decoder knows: s16le, 16 kHz, mono, with a WAV header in front."""

from __future__ import annotations

import struct
from typing import IO, Any, ClassVar

from ...domain.ports import SAMPLE_RATE
from ..uploads.receiver import SpooledFile

_SAMPLE_BYTES = 2

#: The largest size that a 32-bit header can state.
_LARGEST = 2**32 - 1 - 36

HEADER_BYTES = 44


class RawPcmFile(SpooledFile):
    """The spool's side of a part that holds samples and no header. One that has a header after all stays as it is."""

    #: What is kept of the samples; None: all.
    keep_bytes: ClassVar[int | None] = None

    #: The first bytes, until it is known whether they are a header.
    _head: bytes | None = b""
    _is_raw = True

    def write(self, data: Any) -> int:
        """Append; raises as SpooledFile does. What is beyond `keep_bytes` is counted as taken and dropped."""
        given = len(data)
        if self._head is not None:
            data = self._head = self._head + bytes(data)
            if len(data) < 12:
                return given
            self._begin_samples(data)
        keep = self.keep_bytes
        if keep is not None and self._is_raw:
            data = data[: max(0, keep - self.size)]
        if data:
            super().write(data)
        return given

    def _begin_samples(self, data: bytes) -> None:
        self._is_raw = not (data[:4] == b"RIFF" and data[8:12] == b"WAVE")
        self._head = None
        if self._is_raw:
            self._file.write(wav_header(0))

    def _finish(self, file: IO[bytes]) -> None:
        """The header has the size, once it is known."""
        if self._head:
            held = self._head
            self._begin_samples(held)
            super().write(held)
        if self._is_raw and self.size:
            file.seek(0)
            file.write(wav_header(self.size))


class LanguageSample(RawPcmFile):
    """As much of the samples as is looked at to detect a language: 30 s."""

    keep_bytes = 30 * SAMPLE_RATE * _SAMPLE_BYTES


def wav_header(data_bytes: int) -> bytes:
    """44 bytes for this many bytes of samples; a half sample at the end does not count."""
    size = min(data_bytes - data_bytes % _SAMPLE_BYTES, _LARGEST)
    rate = SAMPLE_RATE * _SAMPLE_BYTES
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        size + 36,
        b"WAVE",
        b"fmt ",
        16,
        1,
        1,
        SAMPLE_RATE,
        rate,
        _SAMPLE_BYTES,
        16,
        b"data",
        size,
    )
