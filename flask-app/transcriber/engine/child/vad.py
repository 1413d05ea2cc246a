"""Voice activity detection block by block: the same cuts as faster-whisper's, without the file in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
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


def iter_probabilities(session: VadSession, blocks: Iterable[Samples]) -> Iterator[float]:
    """Speech probability of each frame. Every block but the last must be whole frames.

    Follows faster-whisper's SileroVADModel to the sample: a last frame is always padded, even when the
    audio ends on a frame, and its last 64 samples are zeroed.
    """
    state = (np.zeros((1, 1, 128), np.float32), np.zeros((1, 1, 128), np.float32))
    context = np.zeros(_CONTEXT_SAMPLES, np.float32)
    for block, is_last in _with_last(blocks):
        frames = _pad_last(block) if is_last else block.reshape(-1, FRAME_SAMPLES)
        previous = np.concatenate([context[None], frames[:-1, -_CONTEXT_SAMPLES:]])
        inputs = np.concatenate([previous, frames], axis=1)
        found, *after = session.run(None, {"input": inputs, "h": state[0], "c": state[1]})
        state = (after[0], after[1])
        context = frames[-1, -_CONTEXT_SAMPLES:].copy()
        yield from found.reshape(-1).tolist()


def iter_speech(probabilities: Iterable[float], samples: int, options: VadOptions) -> Iterator[SpeechChunk]:
    """Speech chunks, padded on both sides, each as soon as the start of the next one is known."""
    pad = SAMPLE_RATE * options.speech_pad_ms // 1000
    held: SpeechChunk | None = None
    for start, end in _iter_raw_speech(probabilities, samples, options):
        if held is None:
            held = SpeechChunk(start=max(0, start - pad), end=end, pause=start)
            continue
        silence = start - held.end
        share = silence // 2 if silence < 2 * pad else pad
        yield SpeechChunk(start=held.start, end=min(samples, held.end + share), pause=held.pause)
        held = SpeechChunk(start=max(0, start - share), end=end, pause=silence)
    if held is not None:
        yield SpeechChunk(start=held.start, end=min(samples, held.end + pad), pause=held.pause)


def _iter_raw_speech(
    probabilities: Iterable[float], samples: int, options: VadOptions
) -> Iterator[tuple[int, int]]:
    """(start, end) of speech before padding, in samples."""
    least_silence = SAMPLE_RATE * options.min_silence_duration_ms / 1000
    start: int | None = None
    silent_since = 0
    for frame, probability in enumerate(probabilities):
        here = frame * FRAME_SAMPLES
        if probability >= options.threshold:
            silent_since = 0
            start = here if start is None else start
        elif probability < options.neg_threshold and start is not None:
            silent_since = silent_since or here
            if here - silent_since >= least_silence:
                yield start, silent_since
                start, silent_since = None, 0
    if start is not None and samples > start:
        yield start, samples


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
