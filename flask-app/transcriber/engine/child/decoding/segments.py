"""Pure cutting of segments: at most 7 s and 84 characters where the words allow, at punctuation or pauses."""

from __future__ import annotations

from collections.abc import Sequence

from .word_timing import TimedWord

MAX_SECONDS = 7.0
MAX_CHARACTERS = 84

_SENTENCE_ENDS = tuple(".?!。？！…｡۔।")
_CLAUSE_ENDS = tuple(",;:，、；：،–—")
_CLOSING = "\"'”’)]}»」』"

#: Cost of ending a piece: at a sentence's end, a clause's end, a pause, anywhere else.
_SENTENCE_COST, _CLAUSE_COST, _PAUSE_COST, _OTHER_COST = 0.0, 1.0, 1.5, 4.0

#: Silence between two words (s) that counts as a pause.
_PAUSE_SECONDS = 0.3

#: A piece shorter than this many characters or seconds is hard to read, and costs.
_SHORT_CHARACTERS, _SHORT_SECONDS, _SHORT_COST = 15, 1.0, 2.0


def is_too_long(text: str, seconds: float) -> bool:
    """Whether a segment should be cut."""
    return seconds > MAX_SECONDS or len(text.strip()) > MAX_CHARACTERS


def cut(words: Sequence[TimedWord]) -> list[tuple[TimedWord, ...]]:
    """The words in as few, as even and as natural pieces as the limits allow; the cheapest of all ways."""
    costs = [0.0]
    cuts = [0]
    for end in range(1, len(words) + 1):
        best, best_start = float("inf"), end - 1
        for start in range(end - 1, -1, -1):
            piece = words[start:end]
            if len(piece) > 1 and is_too_long(_text(piece), _seconds(piece)):
                break
            cost = costs[start] + _piece_cost(piece) + _end_cost(words, end)
            if cost < best:
                best, best_start = cost, start
        costs.append(best)
        cuts.append(best_start)
    return _pieces(words, cuts)


def _pieces(words: Sequence[TimedWord], cuts: Sequence[int]) -> list[tuple[TimedWord, ...]]:
    pieces = []
    end = len(words)
    while end:
        pieces.append(tuple(words[cuts[end] : end]))
        end = cuts[end]
    return pieces[::-1]


def _piece_cost(piece: Sequence[TimedWord]) -> float:
    characters, seconds = len(_text(piece).strip()), _seconds(piece)
    short = characters < _SHORT_CHARACTERS and seconds < _SHORT_SECONDS
    return 1.0 + (characters / MAX_CHARACTERS) ** 2 + (_SHORT_COST if short else 0.0)


def _end_cost(words: Sequence[TimedWord], end: int) -> float:
    """The cost of a cut after words[end - 1]."""
    if end == len(words):
        return 0.0
    text = words[end - 1].word.rstrip().rstrip(_CLOSING)
    if text.endswith(_SENTENCE_ENDS):
        return _SENTENCE_COST
    if text.endswith(_CLAUSE_ENDS):
        return _CLAUSE_COST
    if words[end].start - words[end - 1].end >= _PAUSE_SECONDS:
        return _PAUSE_COST
    return _OTHER_COST


def _text(piece: Sequence[TimedWord]) -> str:
    return "".join(word.word for word in piece)


def _seconds(piece: Sequence[TimedWord]) -> float:
    return piece[-1].end - piece[0].start
