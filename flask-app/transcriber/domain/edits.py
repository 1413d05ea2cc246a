"""What people made of a transcript: edited segments, with word times carried over from what was heard. Pure."""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from .text_matching import matching_blocks
from .transcript import Segment, Speaker, Transcription, Word
from .work_budget import WorkBudget

#: A segment that was changed in more characters than this has its word times spread evenly.
MAX_COMPARED = 2_000

#: Steps that one edit may take: a second's work. A day of speech in which everything was corrected fits in.
EDIT_STEPS = 4_000_000

#: A word that is carried over has its letters gone through a few times.
_WORD_STEPS = 12

#: Scripts that are written without spaces: each character counts as a word.
SPACELESS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"

_WORDS = re.compile(rf"\s*(?:[{SPACELESS}]|[^\s{SPACELESS}]+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class EditedSegment:
    """One segment as a person left it. start, end: seconds.

    sources: positions of the segments, in the revision that was edited, that it was made of.
    """

    start: float
    end: float
    text: str
    sources: tuple[int, ...] = ()
    #: The id of who says it; None: as in the first source.
    speaker: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """The present state of a job's transcript. Revision 0 is the engine's own; every save adds one.

    segments None: the engine's own, never edited or restored.
    """

    revision: int = 0
    edited_at: datetime | None = None
    segments: tuple[Segment, ...] | None = None
    #: Who speaks in these segments, with the names that people gave.
    speakers: tuple[Speaker, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Transcript:
    """A transcription as it is now, edited or not, and which revision that is."""

    transcription: Transcription
    edit: Edit

    @property
    def is_edited(self) -> bool:
        """Whether a person changed what the engine wrote."""
        return self.edit.segments is not None


def with_edit(original: Transcription, edit: Edit) -> Transcript:
    """The transcription with the edited segments in place of the engine's; its facts stay as they are."""
    if edit.segments is None:
        return Transcript(transcription=original, edit=edit)
    text = "".join(segment.text for segment in edit.segments).strip()
    ids = {speaker.id for speaker in edit.speakers}
    edited = replace(
        original,
        segments=edit.segments,
        text=text,
        speakers=edit.speakers,
        speaker_turns=tuple(turn for turn in original.speaker_turns if turn.speaker in ids),
    )
    return Transcript(transcription=edited, edit=edit)


def speakers_of(
    segments: Sequence[Segment], before: Sequence[Speaker], names: Mapping[str, str]
) -> tuple[Speaker, ...]:
    """Who speaks in these segments, by first word: with new names, else those from before. One who is merged is gone."""
    known = {speaker.id: speaker.name for speaker in before} | dict(names)
    seconds: dict[str, float] = {}
    for segment in segments:
        if segment.speaker is not None:
            seconds[segment.speaker] = seconds.get(segment.speaker, 0.0) + segment.end - segment.start
    return tuple(Speaker(id=one, name=known.get(one, ""), seconds=time) for one, time in seconds.items())


def apply_edit(
    before: Sequence[Segment], edited: Sequence[EditedSegment], budget: WorkBudget | None = None
) -> tuple[Segment, ...]:
    """The new segments. One without text is dropped; a source that does not exist is passed over.

    Raises WorkLimitError for an edit that carries the same words over and over.
    """
    budget = budget or WorkBudget(EDIT_STEPS)
    kept = (one for one in edited if one.text.strip())
    return tuple(_segment(number, one, before, budget) for number, one in enumerate(kept))


def align_words(
    text: str, start: float, end: float, heard: Sequence[Word], budget: WorkBudget | None = None
) -> tuple[Word, ...]:
    """The words of a text with times between start and end, as near to those that were heard as they agree.

    A word that was not heard like this has the probability 1: a person wrote it.
    """
    words = _WORDS.findall(text)
    letters = "".join(_letters(word) for word in words)
    said = "".join(_letters(word.word) for word in heard)
    pairs = _pairs(letters, said, budget or WorkBudget(EDIT_STEPS))
    timeline = _Timeline(pairs, _times_of(heard), len(letters), start, end)
    sure = [word.probability for word in heard for _ in _letters(word.word)]
    made: list[Word] = []
    place, latest = 0, start
    for word in words:
        beyond = place + len(_letters(word))
        latest = _clip(timeline.begins(place), latest, end)
        finish = _clip(timeline.ends(beyond), latest, end)
        probability = _probability(timeline.heard_at(place, beyond), sure)
        made.append(Word(start=latest, end=finish, word=word, probability=probability))
        place = beyond
    return tuple(made)


def _segment(number: int, edited: EditedSegment, before: Sequence[Segment], budget: WorkBudget) -> Segment:
    budget.spend(len(edited.sources) + len(edited.text))
    sources = [before[at] for at in dict.fromkeys(edited.sources) if 0 <= at < len(before)]
    text = " ".join(edited.text.split())
    first = sources[0] if sources else None
    speaker = edited.speaker or (first.speaker if first is not None else None)
    if first is not None and len(sources) == 1 and first.text.strip() == text:
        return _said_by(_moved(number, edited, first, budget), speaker)
    lead = first.text[: len(first.text) - len(first.text.lstrip())] if first is not None else " "
    text = lead + text
    made = Segment(
        id=number,
        seek=first.seek if first is not None else 0,
        start=edited.start,
        end=edited.end,
        text=text,
        tokens=(),
        # What was measured on another text says nothing of this one.
        avg_logprob=math.nan,
        compression_ratio=math.nan,
        no_speech_prob=math.nan,
        words=_words(text, edited, sources, budget),
        temperature=math.nan,
        language=first.language if first is not None else None,
        channel=first.channel if first is not None else None,
    )
    return _said_by(made, speaker)


def _said_by(segment: Segment, speaker: str | None) -> Segment:
    """A segment has one speaker, and so have its words."""
    words = segment.words
    if words is not None:
        words = tuple(replace(word, speaker=speaker) for word in words)
    return replace(segment, words=words, speaker=speaker)


def _moved(number: int, edited: EditedSegment, source: Segment, budget: WorkBudget) -> Segment:
    """The same words, perhaps at another time."""
    words = source.words
    if words is not None and (edited.start, edited.end) != (source.start, source.end):
        words = _words(source.text, edited, [source], budget)
    return replace(source, id=number, start=edited.start, end=edited.end, words=words)


def _words(
    text: str, edited: EditedSegment, sources: Sequence[Segment], budget: WorkBudget
) -> tuple[Word, ...] | None:
    """None where word timestamps were not asked for."""
    if not sources or any(source.words is None for source in sources):
        return None
    budget.spend(sum(_WORD_STEPS * len(source.words or ()) for source in sources))
    heard = [word for source in sources for word in source.words or ()]
    within = [word for word in heard if edited.start <= (word.start + word.end) / 2 <= edited.end]
    return align_words(text, edited.start, edited.end, within, budget)


class _Timeline:
    """When each letter of a text is said: as it was heard, and between two that were heard in proportion."""

    def __init__(
        self,
        pairs: dict[int, int],
        times: Sequence[tuple[float, float]],
        length: int,
        start: float,
        end: float,
    ) -> None:
        """`pairs`: places in the text, in order, to places in what was heard; `times`: from when to when."""
        self._pairs = pairs
        self._times = times
        self._known = list(pairs)
        self._whole = (length, start, end)

    def begins(self, place: int) -> float:
        """When the letter at this place begins, in seconds."""
        heard = self._pairs.get(place)
        return self._between(place) if heard is None else self._times[heard][0]

    def ends(self, place: int) -> float:
        """When the letter before this place ends, in seconds."""
        heard = self._pairs.get(place - 1)
        return self._between(place) if heard is None else self._times[heard][1]

    def heard_at(self, place: int, beyond: int) -> list[int | None]:
        """Where these letters were heard."""
        return [self._pairs.get(at) for at in range(place, beyond)]

    def _between(self, place: int) -> float:
        length, start, end = self._whole
        at = bisect_left(self._known, place)
        low, low_time = (self._known[at - 1] + 1, self._end_of(at - 1)) if at else (0, start)
        high, high_time = (self._known[at], self._start_of(at)) if at < len(self._known) else (length, end)
        share = (place - low) / (high - low) if high > low else 0.0
        return low_time + (high_time - low_time) * share

    def _start_of(self, at: int) -> float:
        return self._times[self._pairs[self._known[at]]][0]

    def _end_of(self, at: int) -> float:
        return self._times[self._pairs[self._known[at]]][1]


def _pairs(text: str, said: str, budget: WorkBudget) -> dict[int, int]:
    """The letters of the text that were heard: their places in it, in order, to their places in what was heard."""
    head = _common(text, said)
    tail = _common(text[head:][::-1], said[head:][::-1])
    a, b = text[head : len(text) - tail], said[head : len(said) - tail]
    pairs = {at: at for at in range(head)}
    if a and b and max(len(a), len(b)) <= MAX_COMPARED:
        for block in matching_blocks(a, b, budget):
            pairs |= {head + block.a + at: head + block.b + at for at in range(block.size)}
    return pairs | {len(text) - at: len(said) - at for at in range(tail, 0, -1)}


def _common(a: str, b: str) -> int:
    """How many characters both begin with."""
    return next((at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _times_of(heard: Sequence[Word]) -> list[tuple[float, float]]:
    """From when to when each letter was heard, spread evenly over its word."""
    times = []
    for word in heard:
        count = len(_letters(word.word))
        step = (word.end - word.start) / count if count else 0.0
        times += [(word.start + at * step, word.start + (at + 1) * step) for at in range(count)]
    return times


def _probability(places: Sequence[int | None], sure: Sequence[float]) -> float:
    """As sure as the least sure word that it was heard as; 1 if it was not heard like this."""
    known = [place for place in places if place is not None]
    is_heard = len(known) == len(places) and known and known[-1] - known[0] == len(known) - 1
    return min(sure[place] for place in known) if is_heard else 1.0


def _clip(time: float, low: float, high: float) -> float:
    return max(low, min(time, high))


def _letters(word: str) -> str:
    """What counts in a comparison: no case, no spaces, one character for one."""
    return "".join(c.lower()[:1] for c in word if not c.isspace())
