"""Speakers by name: those whose voice was sent along."""

from __future__ import annotations

import numpy as np
import pytest

from transcriber.speakers.child.clustering import SpeakerLimits, unit
from transcriber.speakers.child.identification import KNOWN_DISTANCE, name_speakers


def voice(seed: int, *, like: np.ndarray | None = None, distance: float = 0.0) -> np.ndarray:
    """A voice of its own, or one that is this far from another."""
    found = unit(np.random.default_rng(seed).normal(size=192).astype(np.float32))
    if like is None:
        return found
    across = unit(found - (found @ like) * like)
    cosine = 1 - distance
    return np.asarray(cosine * like + np.sqrt(1 - cosine**2) * across, np.float32)


ADA, BOB, EVE = voice(1), voice(2), voice(3)


def test_a_speaker_is_the_reference_of_the_same_voice() -> None:
    speakers = np.stack([voice(7, like=BOB, distance=0.2), EVE, voice(8, like=ADA, distance=0.3)])

    numbers, named = name_speakers(speakers, [ADA, BOB], SpeakerLimits())

    assert numbers.tolist() == [0, 1, 2]
    assert named == [1, None, 0]


@pytest.mark.parametrize(("distance", "named"), [(-0.02, [0]), (0.02, [None])])
def test_how_far_a_voice_may_be_from_the_reference(distance: float, named: list[int | None]) -> None:
    speakers = voice(7, like=ADA, distance=KNOWN_DISTANCE + distance)[None]

    assert name_speakers(speakers, [ADA], SpeakerLimits())[1] == named


def test_two_speakers_of_one_reference_are_one_person() -> None:
    speakers = np.stack([voice(7, like=ADA, distance=0.1), BOB, voice(8, like=ADA, distance=0.2)])

    numbers, named = name_speakers(speakers, [ADA], SpeakerLimits())

    assert (numbers.tolist(), named) == ([0, 1, 0], [0, None])


def test_speakers_stay_apart_where_their_number_was_given() -> None:
    speakers = np.stack([voice(7, like=ADA, distance=0.1), voice(8, like=ADA, distance=0.2)])

    numbers, named = name_speakers(speakers, [ADA], SpeakerLimits(2, 2))

    assert (numbers.tolist(), named) == ([0, 1], [0, None])


def test_a_silent_reference_is_nobody() -> None:
    assert name_speakers(ADA[None], [None, ADA], SpeakerLimits())[1] == [1]
    assert name_speakers(ADA[None], [None], SpeakerLimits())[1] == [None]
    assert name_speakers(ADA[None], [], SpeakerLimits())[1] == [None]
