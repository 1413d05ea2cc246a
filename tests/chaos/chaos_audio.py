"""Real speech for chaos runs: the English clips as they are, and put one behind the other for long files."""

from __future__ import annotations

import itertools
import random
from array import array
from dataclasses import dataclass
from pathlib import Path

from media_files import RATE, Encoding, encode, read_pcm
from speech_clips import ENGLISH_CLIPS

#: Takes a while to decode, so that its child can be caught.
_LONG = Encoding(name="flac", muxer="flac", codec="flac", rate=48_000)


@dataclass(frozen=True, slots=True)
class Audio:
    """One file to submit."""

    name: str
    path: Path
    seconds: float


def short_files() -> list[Audio]:
    """The clips, from one to eleven seconds."""
    return [Audio(clip.name, clip.path, len(read_pcm(clip.path)) / RATE) for clip in ENGLISH_CLIPS]


def long_file(folder: Path, seconds: float, *, seed: int = 0) -> Audio:
    """Clips in a random order with pauses between them, at least this long."""
    rng = random.Random(seed)
    spoken = [read_pcm(clip.path) for clip in ENGLISH_CLIPS]
    samples = array("h")
    for clip in itertools.chain.from_iterable(rng.sample(spoken, len(spoken)) for _ in itertools.count()):
        samples.extend(clip)
        samples.extend(array("h", bytes(2 * int(RATE * rng.uniform(0.2, 1.5)))))
        if len(samples) >= seconds * RATE:
            break
    name = f"long-{seconds:.0f}s-{seed}"
    path = encode(folder / f"{name}.flac", samples, _LONG)
    return Audio(name, path, len(samples) / RATE)
