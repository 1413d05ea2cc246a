"""Which audio track of a file is transcribed: by what the file says of them, in which order they are tried."""

from __future__ import annotations

import re
from typing import Any

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Discard, Disposition

from .refusal import MediaRefusedError

#: What a track may be marked as, in the answer's words. Marks of the second kind make it a last resort.
_MARKS = {
    "default": Disposition.default,
    "original": Disposition.original,
    "dub": Disposition.dub,
    "hearing_impaired": Disposition.hearing_impaired,
    "comment": Disposition.comment,
    "visual_impaired": Disposition.visual_impaired,
    "karaoke": Disposition.karaoke,
    "clean_effects": Disposition.clean_effects,
}
_BESIDE_THE_POINT = (
    Disposition.comment | Disposition.visual_impaired | Disposition.karaoke | Disposition.clean_effects
)

_LANGUAGE = re.compile(r"[a-z]{2,3}")


def rank_tracks(container: InputContainer) -> list[int]:
    """Numbers of the audio tracks that can be decoded, the likeliest first: the file's default, commentaries last."""
    tracks = list(enumerate(container.streams.audio))
    usable = [(number, track) for number, track in tracks if track.codec_context is not None]
    return [number for number, _ in sorted(usable, key=lambda pair: _rank(*pair))]


def choose_track(container: InputContainer, number: int) -> AudioStream:
    """The track with this number; -1: the likeliest. Raises MediaRefusedError."""
    if not any(stream.type == "audio" for stream in container.streams):
        raise MediaRefusedError("no_audio_stream")
    ranking = rank_tracks(container)
    if not ranking:
        raise MediaRefusedError("unknown_codec")
    if number < 0:
        return container.streams.audio[ranking[0]]
    if number >= len(container.streams.audio):
        raise MediaRefusedError("no_such_track")
    if number not in ranking:
        raise MediaRefusedError("unknown_codec")
    return container.streams.audio[number]


def discard_others(container: InputContainer, chosen: AudioStream) -> None:
    """Nothing else is read, and the track is decoded on this thread."""
    for stream in container.streams:
        if stream.index != chosen.index:
            stream.discard = Discard.all
    chosen.codec_context.thread_count = 1


def describe_tracks(container: InputContainer) -> list[dict[str, Any]]:
    """Each audio track for the answer, in the file's order."""
    return [_describe(track) for track in container.streams.audio]


def _rank(number: int, track: AudioStream) -> tuple[bool, bool, int]:
    marks = track.disposition
    return bool(marks & _BESIDE_THE_POINT), not marks & Disposition.default, number


def _describe(track: AudioStream) -> dict[str, Any]:
    codec = track.codec_context
    language = track.language or ""
    return {
        "codec": codec.name if codec is not None else "unknown",
        "channels": codec.layout.nb_channels if codec is not None else 0,
        "sample_rate": codec.sample_rate if codec is not None else 0,
        "language": language if _LANGUAGE.fullmatch(language) and language != "und" else "",
        "marks": [name for name, mark in _MARKS.items() if track.disposition & mark],
    }
