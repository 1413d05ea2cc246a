"""One request of the service: PCM in, turns and voices out."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .arrays import Samples
from .clustering import SpeakerLimits
from .diarization import diarize
from .identification import embed_reference
from .models import SpeakerModels
from .segmentation import Read

_FULL_SCALE = np.float32(1 / 32768)
NO_LIMIT = 2**31


def answer(models: SpeakerModels, message: dict[str, Any], tell: Callable[[float], None]) -> dict[str, Any]:
    """The done message for a diarize message. Raises KeyError, ValueError, OSError for one that can't be served."""
    begun = time.monotonic()
    limits = SpeakerLimits(int(message["min_speakers"] or 1), int(message["max_speakers"] or NO_LIMIT))
    known = [embed_reference(models, *_opened(path, samples)) for path, samples in message["references"]]
    read, samples = _opened(message["pcm_path"], message["samples"])
    found = diarize(models, read, samples, limits, tell, known)
    return {
        "type": "done",
        "turns": [[turn.speaker, round(turn.start, 3), round(turn.end, 3)] for turn in found.turns],
        "voices": [[round(float(value), 5) for value in voice] for voice in found.embeddings],
        "references": list(found.references),
        "silent_references": [number for number, voice in enumerate(known) if voice is None],
        "seconds": time.monotonic() - begun,
    }


def _opened(path: str, samples: int) -> tuple[Read, int]:
    """What reads the samples of a PCM file, and how many there are."""
    pcm = np.memmap(path, dtype="<i2", mode="r") if samples else np.empty(0, "<i2")

    def read(start: int, end: int) -> Samples:
        return pcm[start:end].astype(np.float32) * _FULL_SCALE

    return read, min(int(samples), len(pcm))
