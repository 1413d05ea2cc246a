"""Log-mel: the fast way gives what faster-whisper gives, and nobody depends on it."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from faster_whisper.audio import decode_audio, pad_or_trim
from faster_whisper.feature_extractor import FeatureExtractor

from speech_clips import CLIPS, JFK
from transcriber.engine.child.arrays import Features, Samples
from transcriber.engine.child.model.log_mel import (
    LogMel,
    choose_log_mel,
    fast_of,
    largest_difference,
    reference_of,
)

LENGTHS = (1, 159, 160, 161, 400, 16_007, 479_999, 480_000)


@pytest.mark.parametrize("n_mels", [80, 128])
@pytest.mark.parametrize("clip", [JFK, *CLIPS[::5]], ids=lambda clip: clip.name)
def test_fast_features_of_speech_are_faster_whispers(n_mels: int, clip: object) -> None:
    samples = decode_audio(str(clip.path))  # type: ignore[attr-defined]

    fast, reference = fast_of(n_mels)(samples), reference_of(n_mels)(samples)

    assert fast.shape == reference.shape
    assert np.abs(fast - reference).max() < 1e-4


@pytest.mark.parametrize("length", LENGTHS)
def test_features_have_the_shape_and_the_padding_of_the_batched_pipeline(length: int) -> None:
    samples = np.random.default_rng(length).normal(0, 0.1, length).astype(np.float32)
    extractor = FeatureExtractor(feature_size=80)
    theirs = pad_or_trim(extractor(samples)[..., :-1], 3000)

    ours = choose_log_mel(80)(samples)

    assert ours.dtype == np.float32
    assert ours.flags.c_contiguous
    assert ours.shape == theirs.shape == (80, 3000)
    assert np.abs(ours - theirs).max() < 1e-4


def test_without_the_fast_library_the_features_are_faster_whispers_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(
        sys.modules, "asrfront.whisper", None
    )  # what Python does for a module that is not there
    samples = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)

    assert np.array_equal(choose_log_mel(80)(samples), LogMel(reference_of(80))(samples))


def test_features_that_differ_are_found_out() -> None:
    reference = reference_of(80)

    def louder(samples: Samples) -> Features:
        return reference(samples) + np.float32(0.01)

    def longer(samples: Samples) -> Features:
        return np.pad(reference(samples), ((0, 0), (0, 1)))

    assert largest_difference(fast_of(80), reference) < 1e-4
    assert largest_difference(louder, reference) > 1e-3
    assert largest_difference(longer, reference) == float("inf")
