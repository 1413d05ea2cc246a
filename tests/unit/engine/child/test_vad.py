"""VAD block by block cuts exactly where faster-whisper's whole-file VAD cuts."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from faster_whisper import vad as reference
from faster_whisper.audio import decode_audio

from engine_driver import write_pcm
from speech_clips import ENGLISH_CLIPS
from transcriber.engine.child.arrays import Samples
from transcriber.engine.child.model.whisper import load_vad_session
from transcriber.engine.child.pcm import Pcm
from transcriber.engine.child.vad import (
    BLOCK_SAMPLES,
    FRAME_SAMPLES,
    VadOptions,
    iter_probabilities,
    iter_speech,
)


@pytest.fixture(scope="module")
def speech() -> Samples:
    """150 s of speech, pauses and noise: more than two blocks."""
    rng = np.random.default_rng(5)
    clips = [decode_audio(str(clip.path)) for clip in ENGLISH_CLIPS]
    parts = []
    while sum(map(len, parts)) < 150 * 16_000:
        parts.append(clips[int(rng.integers(len(clips)))])
        parts.append(rng.normal(0, 0.003, int(rng.integers(1_000, 60_000))).astype(np.float32))
    return np.concatenate(parts)


def blocks_of(audio: Samples) -> Iterator[Samples]:
    return (audio[start : start + BLOCK_SAMPLES] for start in range(0, len(audio), BLOCK_SAMPLES))


def cuts(audio: Samples, options: VadOptions) -> list[dict[str, int]]:
    probabilities = iter_probabilities(load_vad_session(), blocks_of(audio))
    return [{"start": one.start, "end": one.end} for one in iter_speech(probabilities, len(audio), options)]


@pytest.mark.parametrize("extra", [0, 1, 300, 500])
@pytest.mark.parametrize("silence_ms", [160, 2000])
def test_cuts_are_those_of_the_whole_file(speech: Samples, extra: int, silence_ms: int) -> None:
    whole_frames = len(speech) // FRAME_SAMPLES * FRAME_SAMPLES
    audio = speech[: whole_frames - FRAME_SAMPLES + extra]
    options = VadOptions(min_silence_duration_ms=silence_ms)

    expected = reference.get_speech_timestamps(
        audio, reference.VadOptions(min_silence_duration_ms=silence_ms, speech_pad_ms=options.speech_pad_ms)
    )

    assert len(expected) > 3
    assert cuts(audio, options) == expected


def test_a_file_that_ends_with_a_block_gets_the_padding_frame_too(speech: Samples) -> None:
    audio = speech[:BLOCK_SAMPLES]

    probabilities = list(iter_probabilities(load_vad_session(), blocks_of(audio)))

    whole = reference.get_vad_model()(np.pad(audio, (0, FRAME_SAMPLES))).reshape(-1)
    np.testing.assert_allclose(probabilities, whole, atol=1e-5)


def test_silence_has_no_speech() -> None:
    assert cuts(np.zeros(200_000, np.float32), VadOptions()) == []


class QuietSession:
    """A VAD that hears nothing, at once."""

    def run(self, output_names: None, inputs: dict[str, Samples]) -> list[Samples]:
        return [np.zeros(len(inputs["input"]), np.float32), inputs["h"], inputs["c"]]


def test_a_long_file_costs_no_memory(tmp_path: Path) -> None:
    samples = 2 * 3600 * 16_000
    path = tmp_path / "long.pcm"
    with path.open("wb") as file:
        file.truncate(2 * samples)
    pcm = Pcm(path, samples)

    tracemalloc.start()
    frames = sum(1 for _ in iter_probabilities(QuietSession(), pcm.iter_blocks()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert frames == samples // FRAME_SAMPLES + 1
    assert peak < 64 * 1024 * 1024


def test_the_quietest_place_is_found(tmp_path: Path) -> None:
    audio = np.full(10 * 16_000, 0.5, np.float32)
    audio[7 * 16_000 : 7 * 16_000 + 640] = 0.0
    pcm = Pcm(write_pcm(tmp_path / "a.pcm", audio), len(audio))

    cut = pcm.find_quietest(5 * 16_000, 10 * 16_000)

    assert 7 * 16_000 <= cut <= 7 * 16_000 + 640


def test_a_file_shorter_than_announced_is_refused(tmp_path: Path) -> None:
    path = write_pcm(tmp_path / "a.pcm", np.zeros(100, np.float32))

    with pytest.raises(ValueError, match="fewer than 101 samples"):
        Pcm(path, 101)
