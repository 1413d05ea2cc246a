"""Whisper's rules for trying again, and for silence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from transcriber.engine.child.decoding.temperature_fallback import (
    TemperatureAttempt,
    best_of_failed,
    compression_ratio,
    is_silence,
    needs_fallback,
)

GOOD = TemperatureAttempt(
    tokens=(1,), avg_logprob=-0.3, no_speech_prob=0.1, compression_ratio=1.2, temperature=0.0
)


@pytest.mark.parametrize(
    ("attempt", "again", "silent"),
    [
        (GOOD, False, False),
        (replace(GOOD, compression_ratio=2.41), True, False),
        (replace(GOOD, compression_ratio=2.4), False, False),
        (replace(GOOD, avg_logprob=-1.01), True, False),
        (replace(GOOD, avg_logprob=-1.01, no_speech_prob=0.61), False, True),
        (replace(GOOD, no_speech_prob=0.9), False, False),
    ],
)
def test_rules(attempt: TemperatureAttempt, again: bool, silent: bool) -> None:
    assert needs_fallback(attempt) is again
    assert is_silence(attempt) is silent


def test_the_likeliest_sober_attempt_wins_when_all_failed() -> None:
    repeating = replace(GOOD, compression_ratio=5.0, avg_logprob=-0.1)
    unlikely = replace(GOOD, avg_logprob=-3.0, temperature=0.2)
    better = replace(GOOD, avg_logprob=-2.0, temperature=0.4)
    last = replace(GOOD, avg_logprob=-4.0, temperature=1.0)

    assert best_of_failed([repeating, unlikely, better, last]) == replace(better, temperature=1.0)
    assert best_of_failed([repeating]) == repeating


def test_repetition_compresses() -> None:
    assert (
        compression_ratio("la " * 200)
        > 2.4
        > compression_ratio("The quick brown fox jumps over the lazy dog.")
    )
    assert compression_ratio("") == 0.0
