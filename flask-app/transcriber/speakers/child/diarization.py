"""From sound to turns: voices, what they sound like, whose they are, and when each speaker has the word."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from . import embedding
from .arrays import SAMPLE_RATE, Flags, Floats, Labels
from .clustering import SpeakerLimits, cluster_speakers, unit
from .embedding import VoiceStretch, embed_stretches, find_stretches
from .identification import name_speakers
from .models import SpeakerModels
from .segmentation import FIRST_FRAME_SECONDS, FRAME_SECONDS, Read, find_voices

_PAUSE_SECONDS = 0.7
"""A shorter pause of one speaker is part of the turn."""
_SHORTEST_TURN_SECONDS = 0.1
_SEGMENTATION_SHARE = 0.4
"""Of the time; the rest goes into embeddings."""


@dataclass(frozen=True)
class VoiceTurn:
    """A speaker has the word from `start` to `end`, in seconds; others may have it, too."""

    speaker: int
    start: float
    end: float


@dataclass(frozen=True)
class Diarized:
    """Turns by start; speakers are numbered by their first turn, and each has the mean embedding of its voice.

    references: of each speaker the number of the known voice that it is, or None.
    """

    turns: tuple[VoiceTurn, ...]
    embeddings: Floats
    references: tuple[int | None, ...] = ()


def diarize(
    models: SpeakerModels,
    read: Read,
    samples: int,
    limits: SpeakerLimits,
    progress: Callable[[float], None],
    known: Sequence[Floats | None] = (),
) -> Diarized:
    """Who spoke when. `known`: voices to look for, by mean embedding. progress gets the part that is done, 0 to 1."""
    voices = find_voices(
        models.segmentation, read, samples, lambda part: progress(part * _SEGMENTATION_SHARE)
    )
    stretches = find_stretches(voices)
    if not stretches:
        return Diarized((), np.empty((0, 192), np.float32))
    embeddings, seconds = embed_stretches(
        models.embedding,
        read,
        voices,
        stretches,
        lambda part: progress(_SEGMENTATION_SHARE + part * (1 - _SEGMENTATION_SHARE)),
    )
    labels = cluster_speakers(embeddings, seconds, limits)
    weights = np.minimum(seconds, embedding.LONGEST_SECONDS) + 1e-3
    numbers, named = name_speakers(_mean_voices(embeddings, weights, labels), known, limits)
    labels = numbers[labels]
    turns = _turns(_activity(stretches, labels, len(voices)), samples / SAMPLE_RATE)
    return _numbered(turns, _mean_voices(embeddings, weights, labels), named)


def _activity(stretches: list[VoiceStretch], labels: Labels, frames: int) -> Flags:
    activity = np.zeros((frames, int(labels.max()) + 1), bool)
    for stretch, speaker in zip(stretches, labels, strict=True):
        activity[stretch.start : stretch.end, speaker] = True
    return activity


def _turns(activity: Flags, duration: float) -> list[VoiceTurn]:
    turns = []
    for speaker in range(activity.shape[1]):
        edges = np.flatnonzero(np.diff(activity[:, speaker].astype(np.int8), prepend=0, append=0))
        joined: list[list[float]] = []
        for start, end in (edges.reshape(-1, 2) * FRAME_SECONDS + FIRST_FRAME_SECONDS).tolist():
            if joined and start - joined[-1][1] < _PAUSE_SECONDS:
                joined[-1][1] = end
            else:
                joined.append([start, end])
        turns += [
            VoiceTurn(speaker, start, min(end, duration))
            for start, end in joined
            if min(end, duration) - start >= _SHORTEST_TURN_SECONDS
        ]
    return sorted(turns, key=lambda turn: (turn.start, turn.end))


def _mean_voices(embeddings: Floats, weights: Floats, labels: Labels) -> Floats:
    sums = np.zeros((int(labels.max()) + 1, embeddings.shape[1]), np.float32)
    np.add.at(sums, labels, unit(embeddings) * weights[:, None])
    return unit(sums)


def _numbered(turns: list[VoiceTurn], voices: Floats, named: Sequence[int | None]) -> Diarized:
    """Speakers by first turn; one without a turn is left out."""
    order = list(dict.fromkeys(turn.speaker for turn in turns))
    number = {speaker: place for place, speaker in enumerate(order)}
    return Diarized(
        tuple(VoiceTurn(number[turn.speaker], turn.start, turn.end) for turn in turns),
        voices[order],
        tuple(named[speaker] for speaker in order),
    )
