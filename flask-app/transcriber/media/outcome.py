"""What a decode child's messages mean: decoded audio, or the error in the service's own words.

The child may belong to an attacker, so every field is checked, and no text of the child's is passed on
except names in a narrow alphabet.
"""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from transcriber.domain.errors import (
    AudioRoomError,
    AudioTooLongError,
    AudioTrackNotFoundError,
    DecoderCrashedError,
    DecoderUnavailableError,
    DecodeTimeoutError,
    NoAudioStreamError,
    TranscriberError,
    UndecodableMediaError,
)
from transcriber.domain.options import CHANNELS, MOST_CHANNELS
from transcriber.domain.ports import SAMPLE_BYTES, AudioTrack, DecodedAudio
from transcriber.domain.transcript import Notice

from .messages import MAX_MESSAGE_BYTES, Message, MessageError, parse_message
from .peaks import MOST_PARTS

#: Reason in a child's error message → the error to raise.
ERRORS: dict[str, Callable[[], TranscriberError]] = {
    "unrecognised": lambda: UndecodableMediaError(
        "The upload is not an audio or video file of an accepted format."
    ),
    "no_audio_stream": NoAudioStreamError,
    "unknown_codec": lambda: UndecodableMediaError(
        "The upload's audio is coded in a way that can't be decoded here."
    ),
    "nothing_decoded": lambda: UndecodableMediaError(
        "The upload's audio is damaged; nothing of it can be decoded."
    ),
    "no_samples": lambda: UndecodableMediaError("The upload's audio stream is empty."),
    "unreadable": lambda: UndecodableMediaError("The upload is damaged and can't be read."),
    "out_of_memory": lambda: UndecodableMediaError("Reading the upload takes more memory than is allowed."),
    "too_long": AudioTooLongError,
    "storage_full": AudioRoomError,
    "no_such_track": AudioTrackNotFoundError,
    "no_sandbox": DecoderUnavailableError,
}

NOTICES = {
    "truncated_audio": "The file ends before it should; the transcript covers what is there.",
    "damaged_audio": "Parts of the file are damaged and were left out.",
    "cancelled_channels": "The two channels cancel each other out when they are mixed; the louder one was transcribed.",
    "one_channel": "The file has one channel, so channels had no effect.",
    "silent_track": "The file's first audio track is silent; another one was transcribed (media.tracks, audio_track).",
    "timestamp_jump": "The file's clock leaps; times after the leap count from the audio that is there.",
}

_NAME = re.compile(r"[A-Za-z0-9_,.+-]{1,64}")
_LARGEST_NUMBER = 2**31
_LARGEST_GAIN = 100.0
_PEAKS = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_LONGEST_PEAKS = 4 * -(-MOST_PARTS // 3)


def build_audio(message: Message, pcm: Path, max_samples: int) -> DecodedAudio:
    """The decoded audio that a "done" message describes. Raises DecoderCrashedError if it does not add up."""
    samples, pcm_channels = _number(message, "samples"), _number(message, "pcm_channels")
    if not 0 < samples <= max_samples or not 1 <= pcm_channels <= MOST_CHANNELS:
        raise DecoderCrashedError
    if pcm.stat().st_size != samples * pcm_channels * SAMPLE_BYTES:
        raise DecoderCrashedError
    notices = message.get("notices")
    if not isinstance(notices, list) or not all(isinstance(code, str) for code in notices):
        raise DecoderCrashedError
    return DecodedAudio(
        path=pcm,
        samples=samples,
        container=_name(message, "container"),
        codec=_name(message, "codec"),
        channels=_number(message, "channels"),
        sample_rate=_number(message, "sample_rate"),
        audio_streams=_number(message, "audio_streams"),
        stream_index=_number(message, "stream_index"),
        notices=tuple(Notice(code=c, message=NOTICES[c], param="audio") for c in notices if c in NOTICES),
        peaks=_peaks(message),
        pcm_channels=pcm_channels,
        channels_used=_one_of(message, "channels_used", CHANNELS),
        gain_db=_gain(message),
        tracks=tuple(_track(each) for each in _list(message, "tracks")),
    )


def build_error(message: Message) -> TranscriberError:
    """The error that an "error" message stands for."""
    build = ERRORS.get(str(message.get("reason")))
    return DecoderCrashedError() if build is None else build()


def error_of_exit(returncode: int | None) -> TranscriberError:
    """The error for a child that ended without a word; None when not even its end was reported."""
    if returncode in (-signal.SIGALRM, -signal.SIGXCPU):
        return DecodeTimeoutError()
    crashed = DecoderCrashedError()
    crashed.is_kill = returncode in (None, -signal.SIGKILL)
    return crashed


def _number(message: Message, key: str) -> int:
    value = message.get(key)
    if type(value) is not int or not 0 <= value < _LARGEST_NUMBER:
        raise DecoderCrashedError
    return value


def _list(message: Message, key: str) -> list[Message]:
    value = message.get(key)
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise DecoderCrashedError
    return value


def _one_of(message: Message, key: str, allowed: tuple[str, ...]) -> str:
    value = message.get(key)
    if value not in allowed:
        raise DecoderCrashedError
    return str(value)


def _gain(message: Message) -> float:
    value = message.get("gain_db")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LARGEST_GAIN:
        raise DecoderCrashedError
    return float(value)


def _track(fields: Message) -> AudioTrack:
    marks = fields.get("marks")
    if not isinstance(marks, list) or not all(
        isinstance(mark, str) and _NAME.fullmatch(mark) for mark in marks
    ):
        raise DecoderCrashedError
    language = fields.get("language")
    return AudioTrack(
        codec=_name(fields, "codec"),
        channels=_number(fields, "channels"),
        sample_rate=_number(fields, "sample_rate"),
        language=_name(fields, "language") if language else "",
        marks=tuple(marks),
        is_used=fields.get("is_used") is True,
    )


def _peaks(message: Message) -> str:
    value = message.get("peaks")
    if not isinstance(value, str) or len(value) > _LONGEST_PEAKS or not _PEAKS.fullmatch(value):
        raise DecoderCrashedError
    return value


def _name(message: Message, key: str) -> str:
    value = message.get(key)
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise DecoderCrashedError
    return value


#: The type that stands for a message that can't be parsed.
_BROKEN = "broken"


class LostBeforeStartError(Exception):
    """The server died before it forked a child for the job, so the file is not the cause."""


class Reports:
    """What the server and a child reported of a job so far."""

    def __init__(self) -> None:
        self.samples = 0
        self.complete = False
        self.broken = False
        self._heard = False
        self._outcome: Message | None = None
        self._returncode: int | None = None

    def take(self, message: Message) -> None:
        self._heard = True
        kind = message["type"]
        if kind == "progress" and isinstance(message.get("samples"), int):
            self.samples = message["samples"]
        elif kind in ("done", "error"):
            self._outcome = message
        elif kind == "exited":
            self.complete = True
            self._returncode = message.get("returncode")
        elif kind == _BROKEN:
            self.broken = True
        elif kind == "unstarted":
            self.complete = True
            self._outcome = {"type": "error", "reason": "no_sandbox"}

    def result(self) -> Message:
        """The "done" message. Raises what the others stand for."""
        if not self._heard:
            raise LostBeforeStartError
        if self._outcome is None:
            raise error_of_exit(self._returncode)
        if self._outcome["type"] == "error":
            raise build_error(self._outcome)
        return self._outcome


def iter_messages(report: socket.socket) -> Iterator[Message | None]:
    """Messages until the socket closes, that is, until child and server are done; None now and then."""
    while True:
        try:
            data = report.recv(MAX_MESSAGE_BYTES)
        except TimeoutError:
            yield None
            continue
        except ConnectionError:
            return
        if not data:
            return
        try:
            yield parse_message(data)
        except MessageError:
            yield {"type": _BROKEN}
