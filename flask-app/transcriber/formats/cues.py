"""Subtitle cues: whole milliseconds and one clean line of text."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from unicodedata import category

from ..domain.speakers import speaker_label
from ..domain.transcript import Segment, Transcription

#: Embeddings, overrides and isolates of the direction. The marks LRM and RLM stay: they turn nothing around.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True, kw_only=True, slots=True)
class Cue:
    """One subtitle. Times in milliseconds from the start of the file; end is after start."""

    start_ms: int
    end_ms: int
    text: str
    #: The name of the speaker, or of the channel; empty where neither was separated.
    speaker: str = ""
    #: Where each segment has its own: the code; and whether it is another than before.
    language: str = ""
    is_language_new: bool = False

    @property
    def marked(self) -> str:
        """The text with its language in front, where that changes."""
        return f"[{self.language}] {self.text}" if self.is_language_new else self.text

    @property
    def spoken(self) -> str:
        """The text with its speaker and a new language in front, where there are such."""
        return f"{self.speaker}: {self.marked}" if self.speaker else self.marked


def iter_cues(transcription: Transcription) -> Iterator[Cue]:
    """The segments that have text, starts never going back, each at least a millisecond long."""
    earliest = 0
    labels = {one.id: one_line(speaker_label(one)) for one in transcription.speakers}
    # A translation is in English, whatever is spoken.
    has_languages = transcription.task != "translate"
    before = transcription.language
    for segment in transcription.segments:
        text = one_line(segment.text)
        if not text:
            continue
        start = max(earliest, to_milliseconds(segment.start))
        language = (segment.language or "") if has_languages else ""
        yield Cue(
            start_ms=start,
            end_ms=max(start + 1, to_milliseconds(segment.end)),
            text=text,
            speaker=_voice(segment, labels.get(segment.speaker or "", "")),
            language=language,
            is_language_new=bool(language) and language != before,
        )
        earliest, before = start, language or before


def tells_voices(transcription: Transcription) -> bool:
    """Whether its cues have speakers: people, channels, or both."""
    return bool(transcription.speakers) or any(s.channel is not None for s in transcription.segments)


def _voice(segment: Segment, label: str) -> str:
    """Who says it. People count channels from 1."""
    if segment.channel is None:
        return label
    return f"{label} (channel {segment.channel + 1})" if label else f"Channel {segment.channel + 1}"


def to_milliseconds(seconds: float) -> int:
    """Whole milliseconds, never below 0. Rounding comes first, so 0.9996 is one second, not '0,1000'."""
    milliseconds = seconds * 1000
    return max(0, round(milliseconds)) if math.isfinite(milliseconds) else 0


def clock_time(milliseconds: int, decimal_mark: str) -> str:
    """HH:MM:SS and three decimals; hours always, and as many digits as they need."""
    seconds, fraction = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{decimal_mark}{fraction:03}"


def one_line(text: str) -> str:
    """The text on one line, trimmed, and plain: nothing can end a cue or a row early."""
    return plain(" ".join(part for part in text.replace("\t", " ").splitlines() if part.strip())).strip()


def plain(line: str) -> str:
    """A line without control characters, which terminals obey, and without what makes the words after it stand
    backwards."""
    if line.isascii() and line.isprintable():
        return line
    return "".join(
        c for c in line.replace("\t", " ") if c not in _TURNING and category(c) not in ("Cc", "Cs")
    )
