"""What the page of a transcript shows of each segment: its words, its doubts, and the places of words in its text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from ..domain.suspects import Suspicion, find_suspicions, is_unsure
from ..domain.transcript import Segment, Word
from ..formats.lines import SubtitleFault, find_faults

#: Segments in one list of the page. The browser lays a list out only when it comes into view.
ROWS_IN_A_LIST = 50


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a segment's text; probability: of an unsure word, 0 to 1."""

    text: str
    probability: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class PageRow:
    """One segment as the page shows it."""

    segment: Segment
    stretches: tuple[Stretch, ...]
    #: Place in the text, begin and end in hundredths of a second from the segment's start, for each word.
    words: str
    suspicions: tuple[Suspicion, ...]
    faults: tuple[SubtitleFault, ...]


def page_rows(segments: Sequence[Segment]) -> Iterator[list[PageRow]]:
    """The segments in lists of ROWS_IN_A_LIST."""
    checks = zip(segments, find_suspicions(segments), find_faults(segments), strict=True)
    rows = (_row(segment, suspicions, faults) for segment, suspicions, faults in checks)
    while some := list(islice(rows, ROWS_IN_A_LIST)):
        yield some


def _row(segment: Segment, suspicions: tuple[Suspicion, ...], faults: tuple[SubtitleFault, ...]) -> PageRow:
    text = segment.text.strip()
    placed = tuple(_placed(text, segment.words or ()))
    return PageRow(
        segment=segment,
        stretches=tuple(_stretches(text, placed)),
        words=" ".join(_numbers(at, word, segment.start) for at, word in placed),
        suspicions=suspicions,
        faults=faults,
    )


def _placed(text: str, words: Sequence[Word]) -> Iterator[tuple[int, Word]]:
    """Each word with its place in the text; one that is not there is left out."""
    latest = 0
    for word in words:
        plain = word.word.strip()
        at = text.find(plain, latest)
        if plain and at >= 0:
            yield at, word
            latest = at + len(plain)


def _stretches(text: str, placed: Sequence[tuple[int, Word]]) -> Iterator[Stretch]:
    latest = 0
    for at, word in placed:
        if not is_unsure(word):
            continue
        if text[latest:at]:
            yield Stretch(text[latest:at], None)
        latest = at + len(word.word.strip())
        yield Stretch(text[at:latest], word.probability)
    if text[latest:]:
        yield Stretch(text[latest:], None)


def _numbers(at: int, word: Word, start: float) -> str:
    return f"{at} {_hundredths(word.start - start)} {_hundredths(word.end - start)}"


def _hundredths(seconds: float) -> int:
    return max(0, round(seconds * 100))
