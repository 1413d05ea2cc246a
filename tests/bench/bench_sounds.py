"""Speech for benchmarks: clips that are each varied, so that no cache can answer, and long files made of them."""

from __future__ import annotations

import io
import itertools
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from media_files import RATE, read_pcm
from speech_clips import ENGLISH_CLIPS, READ_CLIPS, Clip

#: Gain and noise (of full scale) of a variant, and the silence between two clips of a long file (s).
_GAINS = (0.4, 1.0)
_NOISE = 0.002
_PAUSES = (0.2, 1.5)

_CLIPS = (*ENGLISH_CLIPS, *READ_CLIPS)

#: No clip comes again before so many others: two of them in one window would be taken for the model's repetition.
_APART = 5


@dataclass(frozen=True, kw_only=True)
class Sound:
    """A WAV file and what is said in it."""

    wav: bytes
    text: str
    seconds: float


def make_clips(count: int, seed: int) -> list[Sound]:
    """Short clips of 1 to 11 s, in a random order, none like another."""
    rng = np.random.default_rng(seed)
    order = itertools.islice(_iter_clips(rng), count)
    return [_sound(_vary(clip, rng), clip.text) for clip in order]


def make_long(seconds: float, seed: int) -> Sound:
    """Varied clips with pauses between them, at least this long; it ends with a whole clip."""
    rng = np.random.default_rng(seed)
    pieces: list[npt.NDArray[np.float64]] = []
    texts: list[str] = []
    samples = 0
    for clip in _iter_clips(rng):
        pause = rng.normal(0, _NOISE, int(RATE * rng.uniform(*_PAUSES)))
        pieces += [_vary(clip, rng), pause]
        texts.append(clip.text)
        samples += len(pieces[-1]) + len(pieces[-2])
        if samples >= seconds * RATE:
            break
    return _sound(np.concatenate(pieces), " ".join(texts))


def read_sound(audio: Path, text: Path) -> Sound:
    """A WAV file of one's own with its reference text."""
    with wave.open(str(audio), "rb") as sound:
        seconds = sound.getnframes() / sound.getframerate()
    return Sound(wav=audio.read_bytes(), text=text.read_text(encoding="utf-8"), seconds=seconds)


def _iter_clips(rng: np.random.Generator) -> Iterator[Clip]:
    """Clips without end, all of them equally often, in an order that chance decides."""
    recent: list[Clip] = []
    while True:
        left = list(_CLIPS)
        while left:
            free = [clip for clip in left if clip not in recent[-_APART:]]
            clip = free[rng.integers(len(free))]
            left.remove(clip)
            recent.append(clip)
            yield clip


def _vary(clip: Clip, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    plain = np.asarray(read_pcm(clip.path), np.float64) / 32768
    return plain * rng.uniform(*_GAINS) + rng.normal(0, _NOISE, len(plain))


def _sound(samples: npt.NDArray[np.float64], text: str) -> Sound:
    target = io.BytesIO()
    with wave.open(target, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return Sound(wav=target.getvalue(), text=text, seconds=len(samples) / RATE)
