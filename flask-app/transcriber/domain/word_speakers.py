"""Whose each word is: the likeliest course of speakers through all words at once. Pure.

Word times are a few tenths of a second off, and where people talk over one another the words come one speaker after the
other, whatever the times say. So a word is not given to who speaks at its time, on its own: of all courses, the one
is taken that costs least, where words outside their speaker's turns cost something, and each change of speakers does,
less at the end of a sentence and in a pause than within a sentence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .transcript import Segment, Word

#: What a word costs that is wholly outside its speaker's turns, and what each second between them adds, up to so many.
#: These and the costs of changes were chosen on mixed recordings (docs/speakers.md), and are good over a wide range.
_OUTSIDE = 1.4
_PER_SECOND = 1.0
_FARTHEST_SECONDS = 2.0
#: While several speak, words are sooner those of who began last.
_NOT_LAST_TO_BEGIN = 0.05

#: What a change of speakers costs, and how much less it does before a word that begins a sentence, a segment, or with a capital
#: letter, and for each second of a pause.
_CHANGE = 2.0
_SENTENCE = 1.6
_SEGMENT = 0.5
_CAPITAL = 0.4
_PAUSE_PER_SECOND, _LONGEST_PAUSE = 1.5, 1.0
_CHEAPEST_CHANGE = 0.02

_SENTENCE_ENDS = (".", "?", "!", "…", "。", "？", "！", "؟", "।")
#: Aligners give words in a crowd no length: they are asked for as a point in time.
_SHORTEST_WORD = 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """A speaker, numbered by first turn, has the word from `start` to `end` (seconds); others may have it, too."""

    speaker: int
    start: float
    end: float


def speakers_of_words(segments: Sequence[Segment], turns: Sequence[Turn]) -> list[int]:
    """The speaker of each word of the segments, in their order. `turns` may not be empty."""
    speakers = sorted({turn.speaker for turn in turns})
    nearby = _TurnWindow(turns, {speaker: place for place, speaker in enumerate(speakers)})
    places = range(len(speakers))
    costs: list[float] = [0.0] * len(speakers)
    came_from: list[list[int]] = []
    for word, change in _changes(segments):
        own = nearby.costs_of(word)
        cheapest = min(places, key=costs.__getitem__)
        changed = costs[cheapest] + change
        came_from.append([place if costs[place] <= changed else cheapest for place in places])
        costs = [min(costs[place], changed) + own[place] for place in places]
    at = min(places, key=costs.__getitem__)
    course: list[int] = []
    for sources in reversed(came_from):
        course.append(speakers[at])
        at = sources[at]
    return course[::-1]


def _changes(segments: Sequence[Segment]) -> Iterator[tuple[Word, float]]:
    """Each word, and what a change of speakers before it costs."""
    before: Word | None = None
    for segment in segments:
        for place, word in enumerate(segment.words or ()):
            yield word, 0.0 if before is None else _change(before, word, is_first=place == 0)
            before = word


def _change(before: Word, word: Word, *, is_first: bool) -> float:
    cost = _CHANGE - _PAUSE_PER_SECOND * min(max(0.0, word.start - before.end), _LONGEST_PAUSE)
    if before.word.rstrip().endswith(_SENTENCE_ENDS):
        cost -= _SENTENCE
    if is_first:
        cost -= _SEGMENT
    text = word.word.strip()
    if text[:1].isupper() and text != "I":
        cost -= _CAPITAL
    return max(_CHEAPEST_CHANGE, cost)


class _TurnWindow:
    """Turns, asked for in order of time."""

    def __init__(self, turns: Sequence[Turn], places: dict[int, int]) -> None:
        self._turns = sorted(turns, key=lambda turn: turn.start)
        self._places = places
        self._near: list[Turn] = []
        self._next = 0

    def costs_of(self, word: Word) -> list[float]:
        """What the word costs each speaker."""
        middle = (word.start + word.end) / 2
        half = max(word.end - word.start, _SHORTEST_WORD) / 2
        self._move_to(middle, middle + half)
        inside = [0.0] * len(self._places)
        distance = [_FARTHEST_SECONDS] * len(self._places)
        last: int | None = None
        active = set()
        for turn in self._near:
            place = self._places[turn.speaker]
            inside[place] += max(0.0, min(middle + half, turn.end) - max(middle - half, turn.start))
            distance[place] = min(distance[place], max(0.0, turn.start - middle, middle - turn.end))
            if turn.start <= middle <= turn.end:
                active.add(place)
                last = place
        return [
            _OUTSIDE * max(0.0, 1 - inside[place] / (2 * half))
            + _PER_SECOND * distance[place]
            + (_NOT_LAST_TO_BEGIN if place in active and place != last else 0.0)
            for place in range(len(self._places))
        ]

    def _move_to(self, middle: float, end: float) -> None:
        """Keep the turns that are near this time. A word that is earlier than the one before it misses none that matter."""
        while (
            self._next < len(self._turns)
            and self._turns[self._next].start < max(end, middle) + _FARTHEST_SECONDS
        ):
            self._near.append(self._turns[self._next])
            self._next += 1
        if any(turn.end < middle - 2 * _FARTHEST_SECONDS for turn in self._near):
            self._near = [turn for turn in self._near if turn.end >= middle - 2 * _FARTHEST_SECONDS]
