"""Pure building of a window's segments: drafts with text and word times become segments in file time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ....domain.ports import SAMPLE_RATE
from ....domain.transcript import Segment, TokenLogprob, Word
from ..windows import Window
from .segments import cut, is_too_long
from .temperature_fallback import TemperatureAttempt
from .word_timing import TimedWord, confine

#: Segment.seek counts frames of log-mel, 10 ms each.
_SEEK_SAMPLES = SAMPLE_RATE // 100


@dataclass(frozen=True, kw_only=True, slots=True)
class DraftText:
    """Text between two timestamps, in seconds from the window's start; words None: not aligned.

    attempt: the decoding that it comes from.
    """

    start: float
    end: float
    tokens: tuple[int, ...]
    text_tokens: tuple[int, ...]
    text: str
    words: tuple[TimedWord, ...] | None
    attempt: TemperatureAttempt


@dataclass(frozen=True, kw_only=True, slots=True)
class _Piece:
    start: float
    end: float
    text: str
    tokens: tuple[int, ...]
    words: tuple[TimedWord, ...] | None
    attempt: TemperatureAttempt


def build_segments(
    drafts: Sequence[DraftText], window: Window, *, keep_words: bool, keep_logprobs: bool = False
) -> tuple[Segment, ...]:
    """Segments of one window, ordered and inside it, with id 0; the job counts them."""
    duration = window.samples / SAMPLE_RATE
    offset = window.start / SAMPLE_RATE
    pieces: list[_Piece] = []
    floor = 0.0
    for draft in drafts:
        made = _pieces_of(draft, floor, duration, keep_words=keep_words)
        pieces.extend(made)
        floor = made[-1].end
    segments = (_segment(piece, window, offset, keep_words=keep_words) for piece in pieces)
    if not keep_logprobs:
        return tuple(segments)
    return tuple(
        replace(segment, logprobs=_logprobs(piece)) for segment, piece in zip(segments, pieces, strict=True)
    )


def _pieces_of(draft: DraftText, floor: float, duration: float, *, keep_words: bool) -> list[_Piece]:
    """The draft whole or cut. Words that were asked for set its times; else its timestamps bound them."""
    start = min(max(draft.start, floor), duration)
    end = min(max(draft.end, start), duration)
    if not draft.words or not (keep_words or is_too_long(draft.text, end - start)):
        return [
            _Piece(
                start=start,
                end=end,
                text=draft.text,
                tokens=draft.tokens,
                words=draft.words,
                attempt=draft.attempt,
            )
        ]
    low, high = (floor, duration) if keep_words else (start, end)
    words = confine(draft.words, low, high)
    parts = cut(words)
    return [
        _Piece(
            start=part[0].start,
            end=part[-1].end,
            text="".join(word.word for word in part),
            tokens=draft.tokens
            if len(parts) == 1
            else tuple(token for word in part for token in word.tokens),
            words=part,
            attempt=draft.attempt,
        )
        for part in parts
    ]


def _segment(piece: _Piece, window: Window, offset: float, *, keep_words: bool) -> Segment:
    attempt = piece.attempt
    return Segment(
        id=0,
        seek=window.start // _SEEK_SAMPLES,
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
