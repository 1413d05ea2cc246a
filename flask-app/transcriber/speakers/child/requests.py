"""One request of the service: PCM in, turns and voices out."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .arrays import Samples
from .clustering import SpeakerLimits
from .diarization import diarize
from .models import SpeakerModels

_FULL_SCALE = np.float32(1 / 32768)
NO_LIMIT = 2**31


def answer(models: SpeakerModels, message: dict[str, Any], tell: Callable[[float], None]) -> dict[str, Any]:
    """The done message for a diarize message. Raises KeyError, ValueError, OSError for one that can't be served."""
    begun = time.monotonic()
    pcm = np.memmap(message["pcm_path"], dtype="<i2", mode="r") if message["samples"] else np.empty(0, "<i2")
    limits = SpeakerLimits(int(message["min_speakers"] or 1), int(message["max_speakers"] or NO_LIMIT))

    def read(start: int, end: int) -> Samples:
        return pcm[start:end].astype(np.float32) * _FULL_SCALE

    found = diarize(models, read, min(int(message["samples"]), len(pcm)), limits, tell)
    return {
        "type": "done",
        "turns": [[turn.speaker, round(turn.start, 3), round(turn.end, 3)] for turn in found.turns],
        "voices": [[round(float(value), 5) for value in voice] for voice in found.embeddings],
        "seconds": time.monotonic() - begun,
    }
