"""How wrong an answer is about who speaks when: time missed, made up, and given to another, as NIST's md-eval counts it.

Speakers are paired with voices so that the time in common is greatest. Overlapped speech counts for each who speaks. The time around each start
and end of the reference (`collar` seconds on either side) is left out: readers of the same recording disagree about it, too.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

#: Seconds on either side of a boundary; pyannote.metrics calls twice of it its collar.
COLLAR = 0.25

#: (who, start, end)
Stretch = tuple[Hashable, float, float]


@dataclass(frozen=True, kw_only=True)
class DiarizationScore:
    """Seconds, over one recording or several."""

    missed: float = 0.0
    false_alarm: float = 0.0
    confusion: float = 0.0
    speech: float = 0.0
    recordings: int = 0
    right_number: int = 0

    def __add__(self, other: DiarizationScore) -> DiarizationScore:
        return DiarizationScore(
            missed=self.missed + other.missed,
            false_alarm=self.false_alarm + other.false_alarm,
            confusion=self.confusion + other.confusion,
            speech=self.speech + other.speech,
            recordings=self.recordings + other.recordings,
            right_number=self.right_number + other.right_number,
        )

    @property
    def error(self) -> float:
        """The diarization error rate."""
        return self.share(self.missed + self.false_alarm + self.confusion)

    def share(self, seconds: float) -> float:
        """Of all speech."""
        return seconds / self.speech if self.speech else 0.0


def score(
    reference: Sequence[Stretch], found: Sequence[Stretch], *, collar: float = COLLAR
) -> DiarizationScore:
    """Of one recording."""
    pairs = pair_speakers(reference, found)
    missed = false_alarm = confusion = speech = 0.0
    for start, end in _scored(reference, found, collar):
        voices, speakers = _active(reference, start, end), _active(found, start, end)
        right = sum(pairs.get(speaker) in voices for speaker in speakers)
        length = end - start
        speech += length * len(voices)
        missed += length * max(0, len(voices) - len(speakers))
        false_alarm += length * max(0, len(speakers) - len(voices))
        confusion += length * (min(len(voices), len(speakers)) - right)
    voices, speakers = {one[0] for one in reference}, {one[0] for one in found}
    return DiarizationScore(
        missed=missed,
        false_alarm=false_alarm,
        confusion=confusion,
        speech=speech,
        recordings=1,
        right_number=int(len(voices) == len(speakers)),
    )


def pair_speakers(reference: Sequence[Stretch], found: Sequence[Stretch]) -> dict[Hashable, Hashable]:
    """The voice of each speaker: one each at most, and so that the time in common is greatest."""
    voices = list(dict.fromkeys(one[0] for one in reference))
    speakers = list(dict.fromkeys(one[0] for one in found))
    # By the set of voices that are taken: the most time in common, and the pairs that have it.
    best: dict[int, tuple[float, dict[Hashable, Hashable]]] = {0: (0.0, {})}
    for speaker in speakers:
        common = [_common(reference, found, voice, speaker) for voice in voices]
        more = dict(best)
        for taken, (time, pairs) in best.items():
            for place, voice in enumerate(voices):
                grown = taken | 1 << place
                if not taken >> place & 1 and time + common[place] > more.get(grown, (0.0, {}))[0]:
                    more[grown] = (time + common[place], pairs | {speaker: voice})
        best = more
    return max(best.values(), key=lambda one: one[0])[1]


def _common(
    reference: Sequence[Stretch], found: Sequence[Stretch], voice: Hashable, speaker: Hashable
) -> float:
    return sum(
        max(0.0, min(a[2], b[2]) - max(a[1], b[1]))
        for a in reference
        if a[0] == voice
        for b in found
        if b[0] == speaker
    )


def _scored(
    reference: Sequence[Stretch], found: Sequence[Stretch], collar: float
) -> Iterator[tuple[float, float]]:
    """Stretches in which nobody begins or ends to speak, without the collars."""
    bounds = sorted({edge for _, start, end in reference for edge in (start, end)})
    edges = {edge for _, start, end in found for edge in (start, end)} | set(bounds)
    edges |= {bound + side for bound in bounds for side in (-collar, collar)}
    ordered = sorted(edges)
    for start, end in zip(ordered, ordered[1:], strict=False):
        middle = (start + end) / 2
        if all(abs(middle - bound) >= collar for bound in bounds):
            yield start, end


def _active(stretches: Sequence[Stretch], start: float, end: float) -> set[Hashable]:
    middle = (start + end) / 2
    return {who for who, first, last in stretches if first <= middle < last}
