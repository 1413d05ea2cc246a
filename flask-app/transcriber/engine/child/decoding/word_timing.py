"""Pure word times: from the model's alignment of tokens to words that are monotone and of sane length.

The corrections are those of openai/whisper and faster-whisper: the alignment gives a pause to the word
beside it, so words at sentence ends and after pauses are cut to twice the usual length.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median

from ....domain.transcript import TokenLogprob

SENTENCE_END_MARKS = ".。!！?？"
PREPEND_PUNCTUATIONS = "\"'“¿([{-"
APPEND_PUNCTUATIONS = "\"'.。,，!！?？:：”)]}、"

#: No usual word is longer than this (s), however slow the speech.
_LONGEST_USUAL = 0.7

#: A word longer than this (s) holds a pause or music.
_LONGEST_WORD = 3.0


@dataclass(frozen=True, kw_only=True, slots=True)
class TimedWord:
    """A word with its tokens; seconds, probability 0 to 1."""

    start: float
    end: float
    word: str
    probability: float
    tokens: tuple[int, ...]
    #: Of each token; none unless they were asked for.
    logprobs: tuple[TokenLogprob, ...] = ()

    @property
    def duration(self) -> float:
        return self.end - self.start


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenTimes:
    """Alignment of a window's text: begin of each token, and of what follows the last; their probabilities."""

    starts: tuple[float, ...]
    probabilities: tuple[float, ...]


def token_times(pairs: Iterable[tuple[int, int]], count: int, seconds_per_step: float) -> tuple[float, ...]:
    """When each of count + 1 tokens begins, from (token, time step) pairs; never falling."""
    first: dict[int, int] = {}
    for token, step in pairs:
        first.setdefault(token, step)
    times: list[float] = []
    now = 0.0
    for token in range(count + 1):
        now = max(now, first.get(token, 0) * seconds_per_step)
        times.append(now)
    return tuple(times)


def time_words(
    texts: Sequence[str],
    word_tokens: Sequence[Sequence[int]],
    times: TokenTimes,
    place: int,
    offset: float = 0.0,
) -> list[TimedWord]:
    """Words whose tokens begin at `place` in the aligned text, which begins at `offset` seconds."""
    words = []
    low = place
    for text, tokens in zip(texts, word_tokens, strict=True):
        high = low + len(tokens)
        known = times.probabilities[low:high]
        words.append(
            TimedWord(
                start=offset + times.starts[low],
                end=offset + times.starts[high],
                word=text,
                probability=sum(known) / len(known) if known else 0.0,
                tokens=tuple(tokens),
            )
        )
        low = high
    return words


def usual_duration(words: Iterable[TimedWord]) -> float:
    """The median length of the words, at most 0.7 s."""
    durations = [word.duration for word in words if word.duration > 0]
    return min(_LONGEST_USUAL, median(durations)) if durations else 0.0


def tidy(words: Sequence[TimedWord], usual: float, start: float, end: float) -> list[TimedWord]:
    """Words of one segment with pauses cut out and punctuation joined; start, end: the segment's own times."""
    trimmed = _trim_at_sentence_ends(words, usual)
    merged = merge_punctuations(trimmed)
    return _trim_edges(merged, usual, start, end)


def confine(words: Sequence[TimedWord], low: float, high: float) -> list[TimedWord]:
    """The same words, monotone, and inside low to high."""
    confined = []
    floor = low
    for word in words:
        start = min(max(word.start, floor), high)
        end = min(max(word.end, start), high, start + _LONGEST_WORD)
        confined.append(replace(word, start=start, end=end))
        floor = end
    return confined


def merge_punctuations(words: Sequence[TimedWord]) -> list[TimedWord]:
    """Opening marks joined to the word after them, closing marks to the word before."""
    opened: list[TimedWord] = []
    for word in reversed(words):
        stripped = word.word.strip()
        if opened and word.word.startswith(" ") and stripped and stripped in PREPEND_PUNCTUATIONS:
            opened[-1] = _joined(word, opened[-1], times_of=opened[-1])
        else:
            opened.append(word)
    closed: list[TimedWord] = []
    for word in reversed(opened):
        if closed and not closed[-1].word.endswith(" ") and word.word and word.word in APPEND_PUNCTUATIONS:
            closed[-1] = _joined(closed[-1], word, times_of=closed[-1])
        else:
            closed.append(word)
    return closed


def _joined(first: TimedWord, second: TimedWord, *, times_of: TimedWord) -> TimedWord:
    return replace(
        times_of,
        word=first.word + second.word,
        tokens=first.tokens + second.tokens,
        logprobs=first.logprobs + second.logprobs,
    )


def _trim_at_sentence_ends(words: Sequence[TimedWord], usual: float) -> list[TimedWord]:
    trimmed = list(words)
    for position in range(1, len(trimmed)):
        word, before = trimmed[position], trimmed[position - 1]
        if word.duration <= 2 * usual:
            continue
        if word.word in SENTENCE_END_MARKS:
            trimmed[position] = replace(word, end=word.start + 2 * usual)
        elif before.word in SENTENCE_END_MARKS:
            trimmed[position] = replace(word, start=word.end - 2 * usual)
    return trimmed


def _trim_edges(words: list[TimedWord], usual: float, start: float, end: float) -> list[TimedWord]:
    """A first or last word that is too long gives way to the segment's own times."""
    if not words:
        return words
    first, last = words[0], words[-1]
    if first.duration > 2 * usual:
        first = replace(first, start=max(first.start, min(first.end - usual, start)))
        words[0] = first
    if len(words) > 1 and last.duration > 2 * usual:
        words[-1] = replace(last, end=min(last.end, max(last.start + usual, end)))
    return words
