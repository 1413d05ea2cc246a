"""Where speech starts, pauses and stops, by the probability of each frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from transcriber.live.child.sound import Samples
from transcriber.live.child.speech import FRAME_SAMPLES, LONGEST_SAMPLES, SpeechDetector, TurnDetection


def found(probabilities: Sequence[float], **turns: int) -> list[tuple[str, int]]:
    """Kind and frame of each boundary, where the model says these probabilities."""
    said: Iterator[float] = iter(probabilities)

    def model(frame: Samples, h: Samples, c: Samples) -> tuple[float, Samples, Samples]:
        return next(said), h, c

    detector = SpeechDetector(model, TurnDetection(**{"prefix_padding_ms": 0, **turns}))
    silence = np.zeros(len(probabilities) * FRAME_SAMPLES, np.float32)
    return [(one.kind, one.sample // FRAME_SAMPLES) for one in detector.feed(silence)]


def test_silence_has_no_boundary() -> None:
    assert found([0.1] * 100) == []


def test_speech_starts_pauses_and_stops() -> None:
    assert found([0.1] * 5 + [0.9] * 20 + [0.0] * 20) == [("started", 5), ("paused", 32), ("stopped", 41)]


def test_speech_after_a_short_pause_resumes() -> None:
    kinds = [kind for kind, _ in found([0.9] * 5 + [0.0] * 8 + [0.9] * 5 + [0.0] * 20)]

    assert kinds == ["started", "paused", "resumed", "paused", "stopped"]


def test_faint_speech_counts_when_there_is_enough_of_it() -> None:
    assert found([0.6] * 7 + [0.0] * 30) == []
    assert found([0.6] * 8 + [0.0] * 30)[0] == ("started", 0)


def test_padding_reaches_back_but_not_into_the_utterance_before() -> None:
    frames = [0.0] * 3 + [0.9] * 5 + [0.0] * 20 + [0.9] * 5

    starts = [frame for kind, frame in found(frames, prefix_padding_ms=3000) if kind == "started"]

    assert starts[0] == 0
    assert starts[1] == next(frame for kind, frame in found(frames) if kind == "stopped")


def test_an_utterance_without_a_pause_is_cut_where_it_is_least_speech() -> None:
    frames = LONGEST_SAMPLES // FRAME_SAMPLES + 10
    probabilities = [0.9] * frames
    probabilities[frames - 40] = 0.5

    boundaries = found(probabilities)

    assert boundaries[1:] == [("stopped", frames - 40), ("started", frames - 40)]
