"""What the self-test's clip must give: its words, and a sample of the encoder's numbers as a CPU computes them."""

from __future__ import annotations

import hashlib
import json
import wave
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ....domain.ports import SAMPLE_RATE
from ..arrays import Features, Samples

CLIP_PATH = Path(__file__).parents[2] / "selftest" / "data" / "clip.wav"

#: So many of the encoder's numbers are kept, evenly spaced over the frames of the clip.
_SAMPLE = 1024

#: One frame of the encoder's output is 20 ms of audio.
_FRAME_SAMPLES = SAMPLE_RATE // 50

#: How far the sample may be from float32's on the CPU: the length of the difference by that of the reference.
#: Measured on the CPU: 0.044 in int8_float32, 0.05 for the clip 30 % softer, 0.38 for 10 ms later, 1.1 for other words.
TOLERANCES = {
    "float32": 0.01,
    "float16": 0.04,
    "bfloat16": 0.12,
    "int16": 0.05,
    "int8": 0.15,
    "int8_float32": 0.15,
    "int8_float16": 0.15,
    "int8_bfloat16": 0.2,
}
_WIDEST = max(TOLERANCES.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """The fixed audio of every self-test."""

    samples: Samples
    sha256: str

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE


def load_clip(path: Path = CLIP_PATH) -> Clip:
    """The clip that ships with the program. Raises OSError, wave.Error."""
    with wave.open(str(path)) as file:
        frames = file.readframes(file.getnframes())
    samples = np.frombuffer(frames, "<i2").astype(np.float32) / 32768.0
    return Clip(samples=samples, sha256=hashlib.sha256(frames).hexdigest())


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """What a CPU made of the clip. compute_type: in which number format. values: the sample."""

    model: str
    clip_sha256: str
    compute_type: str
    text: str
    mean: float
    std: float
    values: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "values": list(self.values)}


def load_reference(path: Path, clip: Clip) -> Reference | None:
    """The reference in this file; None if it can't be read, or is of another clip."""
    try:
        data = json.loads(path.read_bytes())
        fields = {name: data[name] for name in Reference.__slots__}
        reference = Reference(**{**fields, "values": tuple(map(float, fields["values"]))})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return reference if reference.clip_sha256 == clip.sha256 else None


def make_reference(model: str, compute_type: str, clip: Clip, numbers: Features, text: str) -> Reference:
    """The reference that this output of a CPU's encoder is, for the model's later self-tests."""
    return Reference(
        model=model,
        clip_sha256=clip.sha256,
        compute_type=compute_type,
        text=text,
        mean=_short(numbers.mean()),
        std=_short(numbers.std()),
        values=tuple(_short(value) for value in _sample(numbers, clip)),
    )


def difference(numbers: Features, reference: Reference, clip: Clip) -> float:
    """How far these numbers are from the reference, 0 the same; infinite for those of another shape."""
    sample, expected = _sample(numbers, clip), np.array(reference.values, np.float32)
    if sample.shape != expected.shape:
        return float("inf")
    return float(np.linalg.norm(sample - expected) / max(float(np.linalg.norm(expected)), 1e-12))


def tolerance(compute_type: str, reference: Reference) -> float:
    """The largest difference that is right in this number format; a coarse reference adds its own."""
    own = TOLERANCES.get(compute_type, _WIDEST)
    if reference.compute_type == "float32":
        return own
    return own + TOLERANCES.get(reference.compute_type, _WIDEST)


def _sample(numbers: Features, clip: Clip) -> Features:
    """The first row's numbers in the frames of the clip, evenly spaced; what follows is padding."""
    spoken = numbers[0, : len(clip.samples) // _FRAME_SAMPLES].ravel()
    sample: Features = spoken[:: max(1, len(spoken) // _SAMPLE)][:_SAMPLE]
    return sample


def _short(number: float) -> float:
    """Five digits: the reference is read by people, too."""
    return float(f"{float(number):.5g}")
