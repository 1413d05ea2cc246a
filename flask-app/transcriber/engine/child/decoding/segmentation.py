"""Pure building of a window's segments: drafts with text and word times become segments in file time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ....domain.ports import SAMPLE_RATE
from ....domain.suspicions import FAINT
from ....domain.transcript import Segment, TokenLogprob, Word
from ..windows import Window
from .segments import cut, is_too_long
from .temperature_fallback import COMPRESSION_RATIO_THRESHOLD, TemperatureAttempt
from .word_timing import TimedWord, confine

#: Segment.seek counts frames of log-mel, 10 ms each.
_SEEK_SAMPLES = SAMPLE_RATE // 100

#: More characters a second than anybody speaks: the fastest readers reach a third of it.
_FASTEST_CHARACTERS = 80

#: Text without time repeats one of so many pieces before it, or is none of the loop.
_LOOKED_BACK = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class DraftText:
    """Text between two timestamps, in seconds from the window's start; words None: not aligned.

    attempt: the decoding that it comes from; offset: where the audio of that begins, which tokens count from.
    """

    offset: float = 0.0
    start: float
    end: float
    tokens: tuple[int, ...]
    text_tokens: tuple[int, ...]
    text: str
    words: tuple[TimedWord, ...] | None
    attempt: TemperatureAttempt


@dataclass(frozen=True, kw_only=True, slots=True)
class _Piece:
    offset: float
    start: float
    end: float
    text: str
    tokens: tuple[int, ...]
    words: tuple[TimedWord, ...] | None
    attempt: TemperatureAttempt


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowSegments:
    """Segments of a window. dropped: words of a loop that the model wrote without any time for them in the audio."""

    segments: tuple[Segment, ...]
    dropped: int = 0


def build_segments(
    drafts: Sequence[DraftText],
    window: Window,
    *,
    keep_words: bool,
    keep_logprobs: bool = False,
    language: str | None = None,
) -> WindowSegments:
    """Segments of one window, ordered and inside it, with id 0; the job counts them."""
    duration = window.samples / SAMPLE_RATE
    offset = window.start / SAMPLE_RATE
    pieces: list[_Piece] = []
    floor = 0.0
    for draft in drafts:
        made = _pieces_of(draft, floor, duration, keep_words=keep_words)
        pieces.extend(made)
        floor = made[-1].end
    kept, dropped = _with_time(pieces)
    return WindowSegments(
        segments=tuple(
            replace(
                _segment(piece, window, offset, keep_words=keep_words),
                language=language,
                channel=window.channel,
                suspect=(FAINT,) if window.is_faint else (),
                logprobs=_logprobs(piece) if keep_logprobs else None,
            )
            for piece in kept
        ),
        dropped=dropped,
    )


def _with_time(pieces: Sequence[_Piece]) -> tuple[list[_Piece], int]:
    """Without text that has no time: what a model repeats at a window's end is dropped (words, counted), other text
    joins the piece before.
    """
    kept: list[_Piece] = []
    dropped = 0
    for piece in pieces:
        if not any(map(str.isalnum, piece.text)):
            continue  # dots and dashes: what a model writes where it hears nothing
        if not _is_timeless(piece):
            kept.append(piece)
        elif kept and not _is_repeated(piece, kept):
            kept[-1] = _joined(kept[-1], piece)
        else:
            dropped += len(piece.text.split())
    return kept, dropped


def _is_timeless(piece: _Piece) -> bool:
    """Whether it is too long to be said in its time."""
    return piece.end - piece.start <= len(piece.text.strip()) / _FASTEST_CHARACTERS


def _is_repeated(piece: _Piece, before: Sequence[_Piece]) -> bool:
    text = piece.text.strip().casefold()
    return piece.attempt.compression_ratio > COMPRESSION_RATIO_THRESHOLD or any(
        text in each.text.casefold() for each in before[-_LOOKED_BACK:]
    )


def _joined(first: _Piece, second: _Piece) -> _Piece:
    words = None if first.words is None or second.words is None else (*first.words, *second.words)
    return replace(
        first,
        end=max(first.end, second.end),
        text=first.text + second.text,
        tokens=first.tokens + second.tokens,
        words=words,
    )


def _pieces_of(draft: DraftText, floor: float, duration: float, *, keep_words: bool) -> list[_Piece]:
    """The draft whole or cut. Words that were asked for set its times; else its timestamps bound them."""
    start = min(max(draft.start, floor), duration)
    end = min(max(draft.end, start), duration)
    whole = _Piece(
        offset=draft.offset,
        start=start,
        end=end,
        text=draft.text,
        tokens=draft.tokens,
        words=draft.words,
        attempt=draft.attempt,
    )
    if not draft.words or not (keep_words or is_too_long(draft.text, end - start)):
        return [whole]
    low, high = (floor, duration) if keep_words else (start, end)
    parts = cut(confine(draft.words, low, high))
    return [
        replace(
            whole,
            start=part[0].start,
            end=part[-1].end,
            text="".join(word.word for word in part),
            tokens=draft.tokens
            if len(parts) == 1
            else tuple(token for word in part for token in word.tokens),
            words=part,
        )
        for part in parts
    ]


def _segment(piece: _Piece, window: Window, offset: float, *, keep_words: bool) -> Segment:
    attempt = piece.attempt
    return Segment(
        id=0,
        seek=window.start // _SEEK_SAMPLES + round(piece.offset * SAMPLE_RATE / _SEEK_SAMPLES),
        start=round(offset + piece.start, 3),
        end=round(offset + piece.end, 3),
        text=piece.text,
        tokens=piece.tokens,
        avg_logprob=attempt.avg_logprob,
        compression_ratio=attempt.compression_ratio,
        no_speech_prob=attempt.no_speech_prob,
        words=tuple(_word(word, offset) for word in piece.words or ()) if keep_words else None,
        temperature=attempt.temperature,
    )


def _logprobs(piece: _Piece) -> tuple[TokenLogprob, ...]:
    return tuple(token for word in piece.words or () for token in word.logprobs)


def _word(word: TimedWord, offset: float) -> Word:
    return Word(
        start=round(offset + word.start, 3),
        end=round(offset + word.end, 3),
        word=word.word,
        probability=min(1.0, max(0.0, word.probability)),
    )
