"""Two transcripts of the same recording side by side, and the words in which they differ. Pure."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from .edits import SPACELESS
from .text_matching import matching_blocks
from .transcript import Segment
from .work_budget import WorkBudget

#: Steps that one comparison may take for stretches without a common anchor; those that are left count as different.
COMPARISON_STEPS = 10_000_000

#: So many words in a row that stand once in each transcript are an anchor.
ANCHOR_WORDS = 3

_WORD = re.compile(rf"[{SPACELESS}]|[^\s{SPACELESS}]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonPiece:
    """A stretch of text that both have, or only this one."""

    text: str
    is_different: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonRow:
    """What both say at the same time. start: seconds, by whichever of the two speaks first."""

    start: float
    left: tuple[ComparisonPiece, ...]
    right: tuple[ComparisonPiece, ...]

    @property
    def is_different(self) -> bool:
        return any(piece.is_different for piece in (*self.left, *self.right))


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Two transcripts row by row. The counts are words; a word that only one has counts for that one."""

    rows: tuple[ComparisonRow, ...]
    left_words: int
    right_words: int
    left_only: int
    right_only: int

    @property
    def agreement(self) -> float:
        """The share of all words that both have, 0 to 1; two empty transcripts agree."""
        total = self.left_words + self.right_words
        return 1.0 - (self.left_only + self.right_only) / total if total else 1.0


@dataclass(frozen=True, slots=True)
class _Token:
    """A word, with the segment it stands in."""

    plain: str
    segment: int
    begin: int
    end: int


def compare(
    left: Sequence[Segment], right: Sequence[Segment], budget: WorkBudget | None = None
) -> Comparison:
    """Rows in the order of time; each segment of the right stands beside the left one it overlaps most."""
    a, b = _tokens(left), _tokens(right)
    only_a, only_b = set(range(len(a))), set(range(len(b)))
    for at, to in matches([token.plain for token in a], [token.plain for token in b], budget):
        only_a.discard(at)
        only_b.discard(to)
    return Comparison(
        rows=tuple(_rows(left, right, _pieces(left, a, only_a), _pieces(right, b, only_b))),
        left_words=len(a),
        right_words=len(b),
        left_only=len(only_a),
        right_only=len(only_b),
    )


def matches(
    a: Sequence[str], b: Sequence[str], budget: WorkBudget | None = None
) -> Iterator[tuple[int, int]]:
    """Places of the words that both have in the same order."""
    budget = budget or WorkBudget(COMPARISON_STEPS)
    anchors = [(-ANCHOR_WORDS, -ANCHOR_WORDS), *_anchors(a, b), (len(a), len(b))]
    for (at, to), (next_at, next_to) in pairwise(anchors):
        if at >= 0:
            yield from (
                (at + step, to + step) for step in range(min(ANCHOR_WORDS, next_at - at, next_to - to))
            )
        begin, first = max(0, at + ANCHOR_WORDS), max(0, to + ANCHOR_WORDS)
        for block in matching_blocks(a[begin:next_at], b[first:next_to], budget):
            yield from ((begin + block.a + step, first + block.b + step) for step in range(block.size))


def _anchors(a: Sequence[str], b: Sequence[str]) -> list[tuple[int, int]]:
    """Positions of word sequences that occur once in each text, as many as are in the same order in both."""
    places = _unique(b)
    pairs = [(at, places[words]) for words, at in _unique(a).items() if words in places]
    return _longest_rising(sorted(pairs))


def _unique(words: Sequence[str]) -> dict[tuple[str, ...], int]:
    grams = list(zip(*(words[offset:] for offset in range(ANCHOR_WORDS)), strict=False))
    counts = Counter(grams)
    return {gram: at for at, gram in enumerate(grams) if counts[gram] == 1}


def _longest_rising(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest part of the pairs, sorted by the first, that rises in the second, too."""
    tops: list[int] = []
    at_top: list[int] = []
    before: list[int] = []
    for number, (_, value) in enumerate(pairs):
        pile = bisect_left(tops, value)
        before.append(at_top[pile - 1] if pile else -1)
        tops[pile : pile + 1] = [value]
        at_top[pile : pile + 1] = [number]
    found = []
    number = at_top[-1] if at_top else -1
    while number >= 0:
        found.append(pairs[number])
        number = before[number]
    return found[::-1]


def _tokens(segments: Sequence[Segment]) -> list[_Token]:
    """The words; what is no letter or digit does not count in a comparison."""
    found = []
    for number, segment in enumerate(segments):
        for match in _WORD.finditer(segment.text):
            plain = "".join(re.findall(r"\w", match[0].casefold()))
            if plain:
                found.append(_Token(plain, number, match.start(), match.end()))
    return found


def _pieces(
    segments: Sequence[Segment], tokens: Sequence[_Token], only: set[int]
) -> list[tuple[ComparisonPiece, ...]]:
    """The text of each segment, cut where it begins or ends to differ."""
    marks: list[list[tuple[int, bool]]] = [[] for _ in segments]
    for number, token in enumerate(tokens):
        marks[token.segment].append((token.end, number in only))
    made = []
    for segment, ends in zip(segments, marks, strict=True):
        text, begin, pieces = segment.text, 0, []
        for is_different, group in groupby(ends, key=lambda mark: mark[1]):
            end = max(end for end, _ in group)
            pieces.append(ComparisonPiece(text=text[begin:end], is_different=is_different))
            begin = end
        if text[begin:].strip():
            pieces.append(ComparisonPiece(text=text[begin:], is_different=False))
        made.append(tuple(pieces))
    return made


def _rows(
    left: Sequence[Segment],
    right: Sequence[Segment],
    left_pieces: Sequence[tuple[ComparisonPiece, ...]],
    right_pieces: Sequence[tuple[ComparisonPiece, ...]],
) -> Iterator[ComparisonRow]:
    beside: dict[int, list[int]] = {}
    for number, segment in enumerate(right):
        beside.setdefault(_partner(segment, left), []).append(number)
    if -1 in beside:
        yield from _alone(right, right_pieces, beside[-1])
    for number, segment in enumerate(left):
        found = beside.get(number, [])
        joined = tuple(piece for one in found for piece in right_pieces[one])
        start = min([segment.start, *(right[one].start for one in found)])
        yield ComparisonRow(start=start, left=left_pieces[number], right=joined)


def _alone(
    segments: Sequence[Segment], pieces: Sequence[tuple[ComparisonPiece, ...]], numbers: Sequence[int]
) -> Iterator[ComparisonRow]:
    for number in numbers:
        yield ComparisonRow(start=segments[number].start, left=(), right=pieces[number])


def _partner(segment: Segment, others: Sequence[Segment]) -> int:
    """The one of the others that this one overlaps most, else the last that begins before it; -1: there is none."""
    middle = (segment.start + segment.end) / 2
    at = bisect_left(others, middle, key=lambda other: other.start) - 1
    near = range(max(0, at - 1), min(len(others), at + 2))
    return max(near, key=lambda one: (_overlap(segment, others[one]), one <= at, -abs(one - at)), default=-1)


def _overlap(a: Segment, b: Segment) -> float:
    return max(0.0, min(a.end, b.end) - max(a.start, b.start))
