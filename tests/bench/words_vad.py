"""When VAD should forget: the share of speech that each rule hears, and of other sound that it takes for speech.

.venv/bin/python tests/bench/words_vad.py [FOLDER...]: the joined recordings of bench-words in every language there is, each
in two orders. FOLDER: more clips and sounds, as for bench-words --folder.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/support"), str(ROOT / "tests/bench"), str(ROOT / "flask-app")]

import words_sounds as sounds  # noqa: E402
from transcriber.engine.child.model.whisper import load_vad_session  # noqa: E402
from transcriber.engine.child.vad import (  # noqa: E402
    BLOCK_SAMPLES,
    FRAME_SAMPLES,
    QUIET_FRAMES,
    VadSession,
    iter_probabilities,
)

#: Languages of the clips that the constant was chosen on, and those that it was not.
LANGUAGES = ("en", "es", "de", "fr", "it", "pt", "pl", "hi")
SEEDS = (1, 2)

_NEVER = 10**9
_EIGHT_SECONDS = 250 * FRAME_SAMPLES

Floats = npt.NDArray[np.float32]
Rule = Callable[[VadSession, Floats], Iterator[float]]


def after(quiet_frames: int) -> Rule:
    """Zeroed after this many frames without speech."""
    return lambda session, audio: iter_probabilities(session, _blocks(audio, BLOCK_SAMPLES), quiet_frames)


def _each_eight_seconds(session: VadSession, audio: Floats) -> Iterator[float]:
    for block in _blocks(audio, _EIGHT_SECONDS):
        frames = -(-len(block) // FRAME_SAMPLES)
        yield from list(iter_probabilities(session, [block], _NEVER))[:frames]


RULES: dict[str, Rule] = {
    "carried": after(_NEVER),
    "zeroed every 8 s": _each_eight_seconds,
    "zeroed after 4 s of quiet": after(2 * QUIET_FRAMES),
    "zeroed after 2 s of quiet": after(QUIET_FRAMES),
    "zeroed after 1 s of quiet": after(QUIET_FRAMES // 2),
}


@dataclass(frozen=True, kw_only=True)
class Heard:
    """Shares of frames of 0.5 and more: in speech, elsewhere, and in the clip that fares worst."""

    inside: float
    outside: float
    worst: float


def measure(session: VadSession, recording: sounds.Recording, rule: Rule) -> Heard:
    audio = sounds.samples_of(recording).astype(np.float32)
    heard = np.array(list(rule(session, audio))) >= 0.5
    times = (np.arange(len(heard)) + 0.5) * FRAME_SAMPLES / sounds.RATE
    clips = [(times >= part.start) & (times < part.end) for part in recording.spoken]
    speech = np.logical_or.reduce(clips)
    return Heard(
        inside=float(heard[speech].mean()),
        outside=float(heard[~speech].mean()),
        worst=min(float(heard[clip].mean()) for clip in clips),
    )


def _blocks(audio: Floats, length: int) -> Iterator[Floats]:
    return (audio[start : start + length] for start in range(0, len(audio), length))


def main(folders: list[str]) -> None:
    material = sounds.own_material()
    for folder in folders:
        material = sounds.add_folder(material, Path(folder))
    recordings = [
        sounds.joined_in(language)(material, seed)
        for language in LANGUAGES
        if language in material.clips
        for seed in SEEDS
    ]
    session = load_vad_session()
    print(f"Frames of 0.5 and more, in %; {len(recordings)} recordings\n")
    print("| rule | " + " | ".join(f"{one.name[8:]} {one.seconds:.0f} s" for one in recordings), end="")
    print(" | all: in speech | elsewhere | worst clip |\n|---" + "|---:" * (len(recordings) + 3) + "|")
    for name, rule in RULES.items():
        found = [measure(session, recording, rule) for recording in recordings]
        cells = [f"{100 * one.inside:.1f}" for one in found]
        for kind in ("inside", "outside"):
            cells.append(f"{100 * np.mean([getattr(one, kind) for one in found]):.2f}")
        cells.append(f"{100 * min(one.worst for one in found):.0f}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
