"""Whether the networks compute what they should on this machine: a sound that is made here, and what it must give.

A device that answers with other numbers, silence that counts as speech, or NaN: no job is served on it.
"""

import numpy as np

from .arrays import SAMPLE_RATE, Samples
from .embedding import embed
from .fbank import fbank
from .models import SpeakerModelError, SpeakerModels

#: The first numbers of the sound's embedding, less the mean voice, on a CPU in single precision.
_EXPECTED = (-0.0657, -0.0303, -0.0455, -0.0237, -0.0415, 0.0211, -0.0201, -0.0579)
_TOLERANCE = 0.01


def prove(models: SpeakerModels) -> None:
    """Raises SpeakerModelError, speaker_selftest_failed."""
    silence = models.segmentation(np.zeros((1, 1, 10 * SAMPLE_RATE), np.float32))
    if not np.isfinite(silence).all() or (silence.argmax(axis=-1) != 0).any():
        raise _failed("silence is speech")
    found = embed(models.embedding, fbank(_vowel()))[: len(_EXPECTED)]
    if not np.allclose(found, _EXPECTED, atol=_TOLERANCE):
        raise _failed(f"a known sound gives {np.round(found, 4).tolist()}, not {list(_EXPECTED)}")


def _vowel() -> Samples:
    """Two seconds of a buzz with three formants, the same on every machine."""
    times = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    harmonics = np.arange(1, 40) * 120.0
    formants = np.array([[700.0], [1220.0], [2600.0]])
    loudness = (1 / (1 + ((harmonics - formants) / 90) ** 2)).sum(axis=0)
    waves = np.sin(2 * np.pi * harmonics[:, None] * times + 1.7 * np.arange(39)[:, None] ** 2)
    sound = (waves * loudness[:, None]).sum(axis=0)
    return np.asarray(0.1 * sound / np.abs(sound).max(), np.float32)


def _failed(what: str) -> SpeakerModelError:
    return SpeakerModelError(
        "speaker_selftest_failed",
        f"The speaker models do not compute as they should: {what}.",
        "Set WHISPER_SPEAKERS_DEVICE=cpu; on a CPU, install the service again.",
    )
