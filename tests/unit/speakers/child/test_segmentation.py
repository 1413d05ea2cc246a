"""Windows of three voices each become one timeline."""

from __future__ import annotations

import numpy as np

from transcriber.speakers.child.segmentation import FRAME, STEP, WINDOW, find_voices

FRAMES = 589
#: The model's classes for nobody, each voice, and the first two at once.
NOBODY, FIRST, SECOND, THIRD, BOTH = range(5)


def scores(classes: np.ndarray) -> np.ndarray:
    return np.eye(7, dtype=np.float32)[classes]


class Script:
    """A model that answers window after window."""

    def __init__(self, *windows: np.ndarray) -> None:
        self.windows = list(windows)
        self.asked: list[tuple[int, ...]] = []

    def __call__(self, sound: np.ndarray) -> np.ndarray:
        self.asked.append(sound.shape)
        return np.stack([scores(self.windows.pop(0)) for _ in sound])


def read(start: int, end: int) -> np.ndarray:
    return np.zeros(end - start, np.float32)


def voices_of(model: Script, samples: int) -> np.ndarray:
    return find_voices(model, read, samples, lambda part: None)


def test_a_short_recording_is_one_window_padded() -> None:
    window = np.full(FRAMES, FIRST)
    model = Script(window)

    voices = voices_of(model, 3 * FRAME)

    assert model.asked == [(1, 1, WINDOW)]
    assert voices.shape == (4, 3)
    assert voices[:, 0].all() and not voices[:, 1:].any()


def test_voices_keep_their_column_though_each_window_names_them_anew() -> None:
    change = 300
    first = np.where(np.arange(FRAMES) < change, FIRST, SECOND)
    shift = round(STEP / FRAME)
    # What the second window calls its third voice is the first one's second.
    second = np.where(np.arange(FRAMES) < change - shift, SECOND, THIRD)

    voices = voices_of(Script(first, second), WINDOW + STEP)

    assert voices[: change - 1, 0].all() and not voices[change + 1 :, 0].any()
    assert voices[change + 1 :].any(axis=1).all()
    assert voices[change + 1 :].any(axis=0).sum() == 1


def test_two_at_once_are_two_voices() -> None:
    voices = voices_of(Script(np.full(FRAMES, BOTH)), WINDOW)

    assert (voices.sum(axis=1) == 2).all()


def test_the_timeline_is_as_long_as_the_recording() -> None:
    for seconds in (10, 12.5, 15, 33.3):
        samples = int(seconds * 16_000)
        count = len(range(0, max(1, samples - WINDOW + STEP), STEP))
        voices = voices_of(Script(*[np.full(FRAMES, NOBODY)] * count), samples)
        assert abs(len(voices) - samples / FRAME) < 30
