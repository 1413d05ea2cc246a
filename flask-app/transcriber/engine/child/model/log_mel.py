"""Log-mel features of one window: by asrfront where it is installed and agrees with faster-whisper, else by that."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable

import numpy as np
from faster_whisper.feature_extractor import FeatureExtractor

from ..arrays import Features, Samples

_LOGGER = logging.getLogger("transcriber.engine")

#: Frames of a window; a shorter one is padded with zeros, as BatchedInferencePipeline does.
WINDOW_FRAMES = 3000

#: Samples of silence that faster-whisper's extractor reads beyond the end.
_TAIL_SAMPLES = 160

#: asrfront refuses what is shorter than half of its first frame.
_LEAST_SAMPLES = 400

#: Features go from about -1 to 2. The two differ by 1e-5 where they agree.
_LARGEST_DIFFERENCE = 1e-3

#: Samples in the shape of (n_mels, frames), as many frames as there are whole steps of 160 samples.
Extract = Callable[[Samples], Features]


class LogMel:
    """Makes features of samples at 16 kHz. `extract` is chosen once, so that all windows of an engine are alike."""

    def __init__(self, extract: Extract) -> None:
        self._extract = extract

    def __call__(self, samples: Samples) -> Features:
        """The features of one window of at most 30 s, padded to 30 s."""
        mel = self._extract(samples)[:, :WINDOW_FRAMES]
        whole = np.zeros((mel.shape[0], WINDOW_FRAMES), np.float32)
        whole[:, : mel.shape[1]] = mel
        return whole


def choose_log_mel(n_mels: int) -> LogMel:
    """The fast features if they are there and right on this machine."""
    reference = reference_of(n_mels)
    try:
        fast = fast_of(n_mels)
        difference = largest_difference(fast, reference)
    except Exception as error:  # noqa: BLE001 - a foreign library with code of its own: whatever it has, we can do without
        _LOGGER.info("fast_features_unavailable error=%r", error)
        return LogMel(reference)
    if not difference <= _LARGEST_DIFFERENCE:
        _LOGGER.warning("fast_features_differ difference=%g", difference)
        return LogMel(reference)
    return LogMel(fast)


def reference_of(n_mels: int) -> Extract:
    """faster-whisper's own."""
    extractor = FeatureExtractor(
        feature_size=n_mels, sampling_rate=16000, hop_length=160, chunk_length=30, n_fft=400
    )

    def extract(samples: Samples) -> Features:
        features: Features = extractor(samples)[:, :-1]
        return features

    return extract


def fast_of(n_mels: int) -> Extract:
    """asrfront's: the same sums in C, seven times as fast. Raises ImportError where it is not installed."""
    asrfront = importlib.import_module("asrfront.whisper")
    reference = reference_of(n_mels)

    def extract(samples: Samples) -> Features:
        if len(samples) < _LEAST_SAMPLES:
            return reference(samples)
        padded = np.concatenate([samples, np.zeros(_TAIL_SAMPLES, np.float32)])
        features: Features = asrfront.log_mel(padded, n_mels=n_mels, pad_or_trim=False)
        return features[:, : len(samples) // 160]

    return extract


def largest_difference(one: Extract, other: Extract) -> float:
    """Between the features of two seconds of noise with a fade and of silence; infinite if the shapes differ."""
    noise = np.random.default_rng(0).normal(0.0, 0.1, 32_123).astype(np.float32)
    noise *= np.linspace(0.0, 1.0, len(noise), dtype=np.float32)
    differences = []
    for samples in (noise, np.zeros(16_000, np.float32)):
        first, second = one(samples), other(samples)
        if first.shape != second.shape:
            return float("inf")
        differences.append(float(np.abs(first - second).max()))
    return max(differences)
