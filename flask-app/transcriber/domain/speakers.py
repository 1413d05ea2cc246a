"""Who spoke when, and whose each word is. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from .transcript import Segment, Speaker, SpeakerTurn
from .word_speakers import Turn, speakers_of_words


@dataclass(frozen=True, kw_only=True, slots=True)
class Diarization:
    """What the diarizer found in one recording, and where it ran."""

    turns: tuple[Turn, ...]
    #: For each speaker an embedding of the voice.
    voices: tuple[tuple[float, ...], ...]
    #: For each speaker the number of the reference that is of the same voice; None: of none of them.
    references: tuple[int | None, ...] = ()
    #: References in which nobody speaks.
    silent_references: tuple[int, ...] = ()
    device: str
    provider: str
    pid: int
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Attribution:
    """Segments with their speakers, cut where the speaker changes; the speakers; and their turns."""

    segments: tuple[Segment, ...]
    speakers: tuple[Speaker, ...]
    turns: tuple[SpeakerTurn, ...]


def attribute(
    segments: Sequence[Segment], turns: Sequence[Turn], names: Mapping[int, str] | None = None
) -> Attribution:
    """Give every segment and word its speaker. Speakers without a word are left out.

    `names`: of the speakers that are known by name.
    """
    if not turns or not segments:
        return Attribution(segments=tuple(segments), speakers=(), turns=())
    cut = [part for segment in _with_speakers(segments, turns) for part in part_by_speaker(segment)]
    order = list(dict.fromkeys(segment.speaker for segment in cut if segment.speaker is not None))
    ids = {number: speaker_id(place) for place, number in enumerate(order)}
    named = tuple(_renamed(segment, ids, place) for place, segment in enumerate(cut))
    heard = [turn for turn in turns if str(turn.speaker) in ids]
    speakers = tuple(
        Speaker(
            id=ids[number],
            name=(names or {}).get(int(number), ""),
            seconds=sum(turn.end - turn.start for turn in heard if str(turn.speaker) == number),
        )
        for number in order
    )
    return Attribution(segments=named, speakers=speakers, turns=tuple(_cut_at_overlaps(heard, ids)))


def speaker_id(place: int) -> str:
    """A, B, … Z, AA, AB, …"""
    letters = ""
    place += 1
    while place:
        place, rest = divmod(place - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def speaker_label(speaker: Speaker) -> str:
    """What to call a speaker where people read: the name that was given, else Speaker A."""
    return speaker.name or f"Speaker {speaker.id}"


def part_by_speaker(segment: Segment) -> Iterator[Segment]:
    """The segment, in parts of one speaker each."""
    runs = [(who, list(words)) for who, words in groupby(segment.words or (), key=lambda word: word.speaker)]
    if len(runs) < 2:
        yield replace(segment, speaker=runs[0][0]) if runs else segment
        return
    for place, (who, words) in enumerate(runs):
        is_first, is_last = place == 0, place == len(runs) - 1
        yield replace(
            segment,
            start=segment.start if is_first else words[0].start,
            end=segment.end if is_last else words[-1].end,
            text="".join(word.word for word in words),
            tokens=(),  # of the whole segment, no more of its parts
            words=tuple(words),
            speaker=who,
        )


class _TurnTimeline:
    """Turns, asked for in order of time by segments without words."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self._turns = sorted(turns, key=lambda turn: turn.start)
        self._latest = []  # the latest end of the turns so far: where to begin looking
        latest = 0.0
        for turn in self._turns:
            latest = max(latest, turn.end)
            self._latest.append(latest)
        self._first = 0

    def speaker_of(self, start: float, end: float, before: int | None) -> int:
        """Who speaks most between these times, at a tie the one `before`; where nobody does, the nearest."""
        while self._first < len(self._turns) - 1 and self._latest[self._first] < start - _LOOK_BACK:
            self._first += 1
        best: tuple[float, bool, float] | None = None
        found = self._turns[self._first].speaker
        for turn in self._turns[self._first :]:
            shared = min(end, turn.end) - max(start, turn.start)
            rank = (round(shared, 3), turn.speaker == before, -turn.start)
            if best is None or rank > best:
                best, found = rank, turn.speaker
            if turn.start > end:
                break  # the later ones are farther
        return found


#: Turns that ended this long before a word are not asked any more, unless there is no other.
_LOOK_BACK = 60.0


def _with_speakers(segments: Sequence[Segment], turns: Sequence[Turn]) -> Iterator[Segment]:
    timeline = _TurnTimeline(turns)
    speakers = iter(speakers_of_words(segments, turns))
    before: int | None = None
    for segment in segments:
        if segment.words:
            spoken = tuple(replace(word, speaker=str(next(speakers))) for word in segment.words)
            yield replace(segment, words=spoken, speaker=spoken[0].speaker)
        else:
            before = timeline.speaker_of(segment.start, segment.end, before)
            yield replace(segment, speaker=str(before))


def _renamed(segment: Segment, ids: dict[str, str], place: int) -> Segment:
    def name(who: str | None) -> str | None:
        return None if who is None else ids[who]

    words = segment.words
    if words is not None:
        words = tuple(replace(word, speaker=name(word.speaker)) for word in words)
    return replace(segment, id=place, words=words, speaker=name(segment.speaker))


def _cut_at_overlaps(turns: Sequence[Turn], ids: dict[str, str]) -> Iterator[SpeakerTurn]:
    """The turns by start, cut where others begin or end to speak, each part with whether they overlap it."""
    edges = sorted({edge for turn in turns for edge in (turn.start, turn.end)})
    ordered = sorted(turns, key=lambda turn: turn.start)
    active: list[Turn] = []
    running: dict[int, SpeakerTurn] = {}
    upcoming = 0
    for start, end in zip(edges, edges[1:], strict=False):
        while upcoming < len(ordered) and ordered[upcoming].start <= start:
            active.append(ordered[upcoming])
            upcoming += 1
        active = [turn for turn in active if turn.end > start]
        now = {turn.speaker for turn in active}
        for speaker in [who for who in running if who not in now]:
            yield running.pop(speaker)
        for speaker in sorted(now):
            part = SpeakerTurn(speaker=ids[str(speaker)], start=start, end=end, overlap=len(now) > 1)
            before = running.get(speaker)
            if before is not None and before.overlap == part.overlap:
                part = replace(part, start=before.start)
            elif before is not None:
                yield before
            running[speaker] = part
    yield from running.values()
