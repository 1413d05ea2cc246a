"""Who speaks when, for three voices at a time: pyannote's segmentation-3.0 over overlapping windows of ten seconds.

The model names voices anew in each window. Neighbouring windows share half of their sound, so the voices of one are
matched to those of the other by where they agree, and each window answers only for its middle.
"""

from collections.abc import Callable, Iterator
from itertools import permutations

import numpy as np

from .arrays import SAMPLE_RATE, Flags, Floats, Labels, Samples

VOICES = 3
WINDOW = 10 * SAMPLE_RATE
STEP = 5 * SAMPLE_RATE
FRAME = 270
"""Samples from one frame to the next."""
FRAME_SECONDS = FRAME / SAMPLE_RATE
FIRST_FRAME_SECONDS = (991 - FRAME) / 2 / SAMPLE_RATE
"""Where the first frame's part begins: the model sees 991 samples around each frame."""
_BATCH = 4

#: The seven classes: nobody, one of three voices, two of three.
_POWERSET = np.array(
    [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], dtype=bool
)
_ORDERS = tuple(permutations(range(VOICES)))

Model = Callable[[Floats], Floats]
"""From [N, 1, WINDOW] samples to [N, frames, 7] log-probabilities."""
Read = Callable[[int, int], Samples]
"""Samples from a place to a place."""


def find_voices(model: Model, read: Read, samples: int, progress: Callable[[float], None]) -> Flags:
    """A row each FRAME, a column a voice: whether it speaks. A column holds one voice after another."""
    starts = range(0, max(1, samples - WINDOW + STEP), STEP)
    parts = []
    previous: Flags | None = None
    for done, (start, voices) in enumerate(_iter_windows(model, read, starts, samples)):
        if previous is not None:
            shift = _frames(start) - _frames(start - STEP)
            voices = voices[:, _matching(previous[shift:], voices[: len(voices) - shift])]
        parts.append(_middle(voices, start, starts))
        previous = voices
        progress((done + 1) / len(starts))
    return np.concatenate(parts)[: samples // FRAME + 1]


def _iter_windows(model: Model, read: Read, starts: range, samples: int) -> Iterator[tuple[int, Flags]]:
    for first in range(0, len(starts), _BATCH):
        batch = starts[first : first + _BATCH]
        sound = np.zeros((len(batch), 1, WINDOW), np.float32)
        for row, start in enumerate(batch):
            part = read(start, min(start + WINDOW, samples))
            sound[row, 0, : len(part)] = part
        yield from zip(batch, _POWERSET[model(sound).argmax(axis=-1)], strict=True)


def _frames(samples: int) -> int:
    return round(samples / FRAME)


def _matching(earlier: Flags, later: Flags) -> Labels:
    """The order of the later window's voices in which they agree best with the earlier one's."""
    shared = min(len(earlier), len(later))
    agreement = earlier[:shared].astype(np.int64).T @ later[:shared].astype(np.int64)
    best = max(_ORDERS, key=lambda order: sum(agreement[i, voice] for i, voice in enumerate(order)))
    return np.array(best)


def _middle(voices: Flags, start: int, starts: range) -> Flags:
    """The part that this window answers for: its middle, and at both ends of the recording all there is."""
    margin = (WINDOW - STEP) // 2
    first = 0 if start == starts[0] else _frames(start + margin) - _frames(start)
    last = len(voices) if start == starts[-1] else _frames(start + STEP + margin) - _frames(start)
    return voices[first:last]
