"""The streams of all sessions: decoded, resampled, written down, and listened to."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from faster_whisper.vad import get_vad_model

from .sound import RATE, Samples, StreamResampler, decode, to_bytes
from .speech import Boundary, SpeechDetector, TurnDetection

#: Bytes before the first sample of a recording.
HEADER_BYTES = 44


@dataclass(slots=True)
class Stream:
    """One session's sound."""

    kind: str
    recording: Recording
    resampler: StreamResampler
    detector: SpeechDetector | None
    samples: int = 0
    #: Half a sample that came at the end of a message.
    odd: bytes = b""


class Streams:
    """All sessions, on one thread."""

    def __init__(self) -> None:
        session = get_vad_model().session

        def judge(frame: Samples, h: Samples, c: Samples) -> tuple[float, Samples, Samples]:
            found, next_h, next_c = session.run(None, {"input": frame, "h": h, "c": c})
            return float(np.asarray(found).reshape(-1)[0]), next_h, next_c

        self._model = judge
        self._streams: dict[str, Stream] = {}

    def open(self, session: str, path: Path, kind: str, rate: int, turns: dict[str, Any] | None) -> None:
        """Begin a stream, or go on with one in another format or with other turns."""
        known = self._streams.get(session)
        detector = None if turns is None else SpeechDetector(self._model, TurnDetection(**turns))
        if known is None:
            self._streams[session] = Stream(kind, Recording(path), StreamResampler(rate), detector)
            return
        if detector is not None:
            detector.skip(known.samples)
        known.kind, known.resampler, known.detector, known.odd = kind, StreamResampler(rate), detector, b""

    def feed(self, session: str, data: bytes) -> list[Boundary]:
        """Sound of the session; what is found in it. It is in the file, for whoever reads that, on return."""
        stream = self._streams[session]
        if stream.kind == "audio/pcm":
            data = stream.odd + data
            stream.odd = data[len(data) // 2 * 2 :]
        samples = stream.resampler.feed(decode(stream.kind, data))
        stream.recording.append(to_bytes(samples))
        stream.samples += len(samples)
        return [] if stream.detector is None else list(stream.detector.feed(samples))

    def end(self, session: str) -> None:
        """The utterance ends here, by somebody's word."""
        stream = self._streams[session]
        if stream.detector is not None:
            stream.detector.end(stream.samples)

    def samples(self, session: str) -> int:
        """Samples of the session so far."""
        return self._streams[session].samples

    def close(self, session: str) -> None:
        """Forget the session; fine when it is not known."""
        stream = self._streams.pop(session, None)
        if stream is not None:
            stream.recording.close()


class Recording:
    """A WAV file that grows: whole after every block, whatever ends this process."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._bytes = 0
        self.append(b"")

    def append(self, data: bytes) -> None:
        """Add samples, then say how many there are."""
        view, place = memoryview(data), HEADER_BYTES + self._bytes
        while view:
            written = os.pwrite(self._file, view, place)
            view, place = view[written:], place + written
        self._bytes += len(data)
        os.pwrite(self._file, _header(self._bytes), 0)

    def close(self) -> None:
        """Give the file back."""
        os.close(self._file)


def _header(data_bytes: int) -> bytes:
    return struct.pack(
        "<4sI8sIHHIIHH4sI",
        b"RIFF",
        36 + data_bytes,
        b"WAVEfmt ",
        16,
        1,
        1,
        RATE,
        2 * RATE,
        2,
        16,
        b"data",
        data_bytes,
    )
