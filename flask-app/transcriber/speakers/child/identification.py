"""Which of the speakers is somebody whose voice was sent along."""

from collections.abc import Sequence

import numpy as np

from .arrays import Floats, Labels
from .clustering import SpeakerLimits, unit
from .embedding import embed_stretches, find_stretches
from .models import SpeakerModels
from .segmentation import Read, find_voices

KNOWN_DISTANCE = 0.5
"""A speaker whose mean voice is closer than this to a reference is the same person. docs/speakers.md has the figures."""


def embed_reference(models: SpeakerModels, read: Read, samples: int) -> Floats | None:
    """The mean voice of a recording of one person; None where nobody speaks."""
    voices = find_voices(models.segmentation, read, samples, _ignore)
    stretches = find_stretches(voices)
    if not stretches:
        return None
    embeddings, seconds = embed_stretches(models.embedding, read, voices, stretches, _ignore)
    return np.asarray(unit((unit(embeddings) * (seconds + 1e-3)[:, None]).sum(axis=0)))


def name_speakers(
    speakers: Floats, references: Sequence[Floats | None], limits: SpeakerLimits
) -> tuple[Labels, list[int | None]]:
    """The new number of each speaker, and of each new number the reference that it is.

    Speakers that are the same reference become one, while there are more of them than have to be.
    """
    nearest = [_find_reference(speaker, references) for speaker in speakers]
    numbers: list[int] = []
    named: list[int | None] = []
    spare = len(speakers) - limits.minimum
    for reference in nearest:
        if reference is not None and reference in named:
            if spare > 0:
                spare -= 1
                numbers.append(named.index(reference))
                continue
            reference = None
        numbers.append(len(named))
        named.append(reference)
    return np.array(numbers, np.int64), named


def _find_reference(speaker: Floats, references: Sequence[Floats | None]) -> int | None:
    distances = [np.inf if one is None else 1.0 - float(speaker @ one) for one in references]
    best = int(np.argmin(distances)) if distances else 0
    return best if distances and distances[best] <= KNOWN_DISTANCE else None


def _ignore(part: float) -> None:
    """A reference is so short that its progress is not reported."""
