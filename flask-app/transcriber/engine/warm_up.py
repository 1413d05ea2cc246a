"""The proof at the engine's start: one window through encoder and decoder, and a look at the numbers."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from .faults import FaultError, not_finite
from .whisper import WINDOW_FRAMES, WhisperModel

#: Least spread of the encoder's numbers; a broken kernel writes the same number everywhere.
_LEAST_SPREAD = 1e-4

#: A few tokens are enough to run every kernel of the decoder.
_MAX_LENGTH = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class WarmUp:
    """device: where the encoder's output lay. seconds: the whole proof."""

    device: str
    seconds: float


def warm_up(model: WhisperModel, beam_size: int = 5) -> WarmUp:
    """Run one fixed window. Raises FaultError(numbers_not_finite), or what CTranslate2 raises."""
    started = time.monotonic()
    features = np.random.default_rng(0).normal(0.0, 0.5, (model.n_mels, WINDOW_FRAMES)).astype(np.float32)
    encoded = model.encode([features])
    numbers = encoded.host()
    if not np.isfinite(numbers).all():
        raise FaultError(not_finite("encoder"))
    if float(numbers.std()) < _LEAST_SPREAD:
        raise FaultError(not_finite("encoder gave the same number everywhere"))
    if model.is_multilingual:
        model.detect_languages(encoded, [0])
    model.generate(encoded, [0], [model.prompt("en", "transcribe", ())], 0.0, beam_size, _MAX_LENGTH)
    return WarmUp(device=encoded.device, seconds=time.monotonic() - started)
