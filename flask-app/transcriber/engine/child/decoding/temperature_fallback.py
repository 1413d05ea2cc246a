"""Whisper's rules on a decoded window: try again with a higher temperature, keep it, or call it silence."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

COMPRESSION_RATIO_THRESHOLD = 2.4
LOG_PROB_THRESHOLD = -1.0
NO_SPEECH_THRESHOLD = 0.6

#: A text with more than this on average is the model's firm opinion.
CONFIDENT_LOG_PROB = -0.5

#: After a decoding this wild, its text is no prompt for the next window.
PROMPT_RESET_TEMPERATURE = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class TemperatureAttempt:
    """One decoding of one window at one temperature."""

    tokens: tuple[int, ...]
    avg_logprob: float
    no_speech_prob: float
    compression_ratio: float
    temperature: float


def compression_ratio(text: str) -> float:
    """How well the text compresses; repetition gives a high number."""
    encoded = text.encode()
    return len(encoded) / len(zlib.compress(encoded))


def hears_no_speech(attempt: TemperatureAttempt) -> bool:
    """The model heard no speech, whatever it wrote."""
    return attempt.no_speech_prob > NO_SPEECH_THRESHOLD


def is_silence(attempt: TemperatureAttempt) -> bool:
    """The model heard no speech and is not sure of its text either."""
    return attempt.no_speech_prob > NO_SPEECH_THRESHOLD and attempt.avg_logprob <= LOG_PROB_THRESHOLD


def needs_fallback(attempt: TemperatureAttempt) -> bool:
    """Too repetitive or too improbable, and not just silence."""
    if attempt.no_speech_prob > NO_SPEECH_THRESHOLD and attempt.avg_logprob < LOG_PROB_THRESHOLD:
        return False
    return _is_repetitive(attempt) or attempt.avg_logprob < LOG_PROB_THRESHOLD


def is_only_repetitive(attempt: TemperatureAttempt) -> bool:
    """Whether nothing but its repetitions speaks against it."""
    return _is_repetitive(attempt) and attempt.avg_logprob > CONFIDENT_LOG_PROB


def is_doubtful(attempt: TemperatureAttempt) -> bool:
    """Whether a text that was made in haste should be made again with care."""
    return needs_fallback(attempt) or attempt.avg_logprob < CONFIDENT_LOG_PROB


def best_of_failed(attempts: Sequence[TemperatureAttempt]) -> TemperatureAttempt:
    """When every temperature failed: the most probable that does not repeat itself.

    It carries the last temperature, as in faster-whisper, so that its text is no prompt.
    """
    sober = [attempt for attempt in attempts if not _is_repetitive(attempt)]
    best = max(sober or attempts, key=lambda attempt: attempt.avg_logprob)
    return replace(best, temperature=attempts[-1].temperature)


def _is_repetitive(attempt: TemperatureAttempt) -> bool:
    return attempt.compression_ratio > COMPRESSION_RATIO_THRESHOLD
