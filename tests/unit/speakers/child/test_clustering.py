"""Voices into speakers."""

from __future__ import annotations

import numpy as np
import pytest

from transcriber.speakers.child.clustering import BLOCK, SpeakerLimits, cluster_speakers, linkage, unit


def voices(counts: list[int], spread: float = 0.5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings around one random direction for each speaker, and whose they are."""
    rng = np.random.default_rng(seed)
    centres = unit(rng.normal(size=(len(counts), 192)))
    whose = np.repeat(np.arange(len(counts)), counts)
    noise = unit(rng.normal(size=(len(whose), 192)))
    order = rng.permutation(len(whose))
    return (centres[whose] + spread * noise)[order].astype(np.float32), whose[order]


def found_in(embeddings: np.ndarray, limits: SpeakerLimits | None = None) -> np.ndarray:
    return cluster_speakers(embeddings, np.full(len(embeddings), 2.5, np.float32), limits or SpeakerLimits())


def same(labels: np.ndarray, whose: np.ndarray) -> bool:
    return len(set(zip(labels, whose, strict=True))) == len(set(labels)) == len(set(whose))


@pytest.mark.parametrize("count", [1, 2, 3, 6, 9])
def test_speakers_are_counted(count: int) -> None:
    embeddings, whose = voices([12] * count, seed=count)

    assert same(found_in(embeddings), whose)


def test_ten_minutes_of_one_voice_are_one_speaker() -> None:
    embeddings, _ = voices([240], spread=0.9)

    assert set(found_in(embeddings)) == {0}


def test_hours_are_summarised_first_and_come_out_the_same() -> None:
    embeddings, whose = voices([BLOCK, BLOCK // 2, BLOCK // 4])

    assert same(found_in(embeddings), whose)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_the_number_that_is_given_is_kept(count: int) -> None:
    embeddings, _ = voices([10, 10, 10])

    assert len(set(found_in(embeddings, SpeakerLimits(count, count)))) == count


def test_bounds_are_kept_and_change_nothing_between_them() -> None:
    embeddings, whose = voices([10, 10, 10])

    assert same(found_in(embeddings, SpeakerLimits(2, 5)), whose)
    assert len(set(found_in(embeddings, SpeakerLimits(1, 2)))) == 2
    assert len(set(found_in(embeddings, SpeakerLimits(5, 9)))) == 5


def test_a_short_outlier_is_no_speaker() -> None:
    embeddings, _ = voices([20, 20, 1])
    seconds = np.where(np.arange(41) >= 0, 2.5, 0).astype(np.float32)
    whose = voices([20, 20, 1])[1]
    seconds[whose == 2] = 0.7

    labels = cluster_speakers(embeddings, seconds, SpeakerLimits())

    assert len(set(labels)) == 2


def test_one_voice_alone_and_voices_too_short_to_be_sure() -> None:
    embeddings, _ = voices([1])
    assert list(cluster_speakers(embeddings, np.array([0.1], np.float32), SpeakerLimits())) == [0]
    few, _ = voices([2])
    assert set(cluster_speakers(few, np.array([0.1, 0.2], np.float32), SpeakerLimits())) == {0}


def test_linkage_joins_the_closest_first() -> None:
    points = unit(np.array([[1, 0], [1, 0.1], [0, 1], [0.05, 1]], np.float32))

    merges = linkage(points, np.ones(4, np.float32))

    assert [{merge.left, merge.right} for merge in merges] == [{2, 3}, {0, 1}, {4, 5}]
    assert [merge.distance for merge in merges] == sorted(merge.distance for merge in merges)
