"""Voice activity detection block by block, without the file in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from ...domain.options import VadParameters
from ...domain.ports import SAMPLE_RATE
from .arrays import Samples
from .windows import SpeechChunk

#: One probability for this many samples (32 ms).
FRAME_SAMPLES = 512

#: Samples of the frame before that the model looks back on.
_CONTEXT_SAMPLES = 64

#: Frames handed to the model at once: 16 s, for little memory, and so that the first windows are ready early.
BLOCK_FRAMES = 500

BLOCK_SAMPLES = BLOCK_FRAMES * FRAME_SAMPLES

#: After this many frames without speech (2 s) the model forgets what it heard. Silero's state, once it has settled on
#: music, noise or silence, stays deaf to the clear speech that follows; zeroed, it hears it. Within speech it is kept.
QUIET_FRAMES = 2 * SAMPLE_RATE // FRAME_SAMPLES

#: A frame with less is quiet.
_QUIET_BELOW = 0.5


class VadSession(Protocol):
    """The part of onnxruntime's InferenceSession that is used here."""

    def run(self, output_names: None, inputs: dict[str, Samples]) -> list[Samples]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class VadOptions:
    """Where speech starts and ends. Names as in faster-whisper; 160 ms lets windows end in short pauses."""

    threshold: float = 0.5
    neg_threshold: float = 0.35
    min_silence_duration_ms: int = 160
    speech_pad_ms: int = 400


#: Speech that has begun goes on until the probability falls this far below the threshold.
_HYSTERESIS = 0.15


def vad_options(asked: VadParameters | None) -> VadOptions:
    """What a caller asked for, and the usual where nothing was said."""
    usual = VadOptions()
    if asked is None:
        return usual
    threshold = usual.threshold if asked.threshold is None else asked.threshold
    silence, pad = asked.min_silence_duration_ms, asked.speech_pad_ms
    return VadOptions(
        threshold=threshold,
        neg_threshold=max(0.01, threshold - _HYSTERESIS),
        min_silence_duration_ms=usual.min_silence_duration_ms if silence is None else silence,
        speech_pad_ms=usual.speech_pad_ms if pad is None else pad,
    )


class _Detector:
    """Silero with its state, which is zeroed after every `quiet_frames` without speech.

    Where it is zeroed depends on the samples alone, not on how they come in blocks, so that a job that is resumed
    finds the same speech.
    """

    def __init__(self, session: VadSession, quiet_frames: int) -> None:
        self._session = session
        self._quiet_frames = quiet_frames
        self._context = np.zeros(_CONTEXT_SAMPLES, np.float32)
        self._state = _fresh_state()
        self._quiet = 0

    def probabilities(self, frames: Samples) -> list[float]:
        """Of each frame, in the order of the file."""
        found: list[float] = []
        while len(found) < len(frames):
            # No further than where it might have to forget.
            found += self._run(frames[len(found) : len(found) + self._quiet_frames - self._quiet])
        return found

    def _run(self, frames: Samples) -> list[float]:
        previous = np.concatenate([self._context[None], frames[:-1, -_CONTEXT_SAMPLES:]])
        inputs = np.concatenate([previous, frames], axis=1)
        found, *state = self._session.run(None, {"input": inputs, "h": self._state[0], "c": self._state[1]})
        self._state = (state[0], state[1])
        self._context = frames[-1, -_CONTEXT_SAMPLES:].copy()
        probabilities: list[float] = found.reshape(-1).tolist()
        for probability in probabilities:
            self._quiet = self._quiet + 1 if probability < _QUIET_BELOW else 0
        if self._quiet >= self._quiet_frames:
            self._state, self._quiet = _fresh_state(), 0
        return probabilities


def _fresh_state() -> tuple[Samples, Samples]:
    return np.zeros((1, 1, 128), np.float32), np.zeros((1, 1, 128), np.float32)


def iter_probabilities(
    session: VadSession, blocks: Iterable[Samples], quiet_frames: int = QUIET_FRAMES
) -> Iterator[float]:
    """Speech probability of each frame. Every block but the last must be whole frames.

    Follows faster-whisper's SileroVADModel to the sample within speech: a last frame is always padded, even when the
    audio ends on a frame, and its last 64 samples are zeroed.
    """
    detector = _Detector(session, quiet_frames)
    for block, is_last in _with_last(blocks):
        frames = _pad_last(block) if is_last else block.reshape(-1, FRAME_SAMPLES)
        yield from detector.probabilities(frames)


def iter_speech(probabilities: Iterable[float], samples: int, options: VadOptions) -> Iterator[SpeechChunk]:
    """Speech chunks, padded on both sides, each as soon as the start of the next one is known."""
    pad = SAMPLE_RATE * options.speech_pad_ms // 1000
    held: SpeechChunk | None = None
    for found in _iter_raw_speech(probabilities, samples, options):
        if held is None:
            held = replace(found, start=max(0, found.start - pad), pause=found.start)
            continue
        silence = found.start - held.end
        share = silence // 2 if silence < 2 * pad else pad
        yield replace(held, end=min(samples, held.end + share))
        held = replace(found, start=max(0, found.start - share), pause=silence)
    if held is not None:
        yield replace(held, end=min(samples, held.end + pad))


def _iter_raw_speech(
    probabilities: Iterable[float], samples: int, options: VadOptions
) -> Iterator[SpeechChunk]:
    """Speech before padding."""
    least_silence = SAMPLE_RATE * options.min_silence_duration_ms / 1000
    start: int | None = None
    silent_since = 0
    peak = 0.0
    for frame, probability in enumerate(probabilities):
        here = frame * FRAME_SAMPLES
        if probability >= options.threshold:
            silent_since = 0
            start, peak = (here, probability) if start is None else (start, max(peak, probability))
        elif probability < options.neg_threshold and start is not None:
            silent_since = silent_since or here
            if here - silent_since >= least_silence:
                yield SpeechChunk(start=start, end=silent_since, peak=peak)
                start, silent_since = None, 0
    if start is not None and samples > start:
        yield SpeechChunk(start=start, end=samples, peak=peak)


def _pad_last(block: Samples) -> Samples:
    frames = np.pad(block, (0, FRAME_SAMPLES - block.shape[0] % FRAME_SAMPLES)).reshape(-1, FRAME_SAMPLES)
    frames[-1, -_CONTEXT_SAMPLES:] = 0
    return frames


def _with_last(blocks: Iterable[Samples]) -> Iterator[tuple[Samples, bool]]:
    """Each block, and whether it is the last."""
    held: Samples | None = None
    for block in blocks:
        if held is not None:
            yield held, False
        held = block
    if held is not None:
        yield held, True
