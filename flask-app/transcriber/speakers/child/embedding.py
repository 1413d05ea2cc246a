"""What a voice sounds like, as 192 numbers: 3D-Speaker's CAM++ on stretches of at most three seconds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .arrays import Flags, Floats
from .fbank import HOP, WINDOW, fbank
from .segmentation import FRAME, FRAME_SECONDS, VOICES, Read

LONGEST_SECONDS = 3.0
_ALONE_SECONDS = 0.4
"""A stretch with less than this of one voice alone is embedded with what overlaps it."""
_LEAST_ROWS = 50
"""Shorter stretches are repeated: CAM++ was trained on seconds."""

Model = Callable[[Floats], Floats]
"""From [1, rows, 80] features to [1, 192]."""


@dataclass(frozen=True)
class VoiceStretch:
    """Frames from `start` to `end` in which one voice speaks, without a pause."""

    voice: int
    start: int
    end: int


def find_stretches(voices: Flags) -> list[VoiceStretch]:
    """Each voice's stretches in order of time, long ones in equal parts."""
    stretches = []
    for voice in range(VOICES):
        edges = np.flatnonzero(np.diff(voices[:, voice].astype(np.int8), prepend=0, append=0))
        for start, end in edges.reshape(-1, 2):
            parts = max(1, int(np.ceil((end - start) * FRAME_SECONDS / LONGEST_SECONDS)))
            cuts = np.linspace(start, end, parts + 1).astype(int).tolist()
            stretches += [VoiceStretch(voice, a, b) for a, b in zip(cuts, cuts[1:], strict=False)]
    return sorted(stretches, key=lambda stretch: (stretch.start, stretch.end))


def embed_stretches(
    model: Model,
    read: Read,
    voices: Flags,
    stretches: Sequence[VoiceStretch],
    progress: Callable[[float], None],
) -> tuple[Floats, Floats]:
    """The embedding of each stretch, and the seconds that its voice is alone in it."""
    single = voices.sum(axis=1) == 1
    seconds = np.array([single[s.start : s.end].sum() * FRAME_SECONDS for s in stretches], np.float32)
    embeddings = []
    for index, stretch in enumerate(stretches):
        used = single if seconds[index] >= _ALONE_SECONDS else np.ones_like(single)
        embeddings.append(embed(model, _features(read, stretch, used)))
        progress((index + 1) / len(stretches))
    return np.stack(embeddings), seconds


def embed(model: Model, features: Floats) -> Floats:
    """The embedding of some rows of features, of one voice."""
    if len(features) < _LEAST_ROWS:
        features = np.tile(features, (-(-_LEAST_ROWS // max(1, len(features))), 1))
    return np.asarray(model((features - features.mean(axis=0))[None])[0])


def _features(read: Read, stretch: VoiceStretch, used: Flags) -> Floats:
    """The features of the stretch's used frames; a window's worth of sound at least."""
    start = stretch.start * FRAME
    sound = read(start, max(stretch.end * FRAME + WINDOW - HOP, start + WINDOW))
    rows = fbank(np.pad(sound, (0, max(0, WINDOW - len(sound)))))
    centres = start + np.arange(len(rows)) * HOP + WINDOW // 2
    kept = used[np.minimum(centres // FRAME, len(used) - 1)]
    return rows[kept] if kept.any() else rows
