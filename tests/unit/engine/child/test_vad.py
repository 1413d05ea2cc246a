"""VAD block by block: within speech as faster-whisper's on the whole file, and awake after what is no speech."""

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
        # No pause of 2 s: there, the two differ.
        parts.append(rng.normal(0, 0.003, int(rng.integers(1_000, 16_000))).astype(np.float32))
    return np.concatenate(parts)


def blocks_of(audio: Samples) -> Iterator[Samples]:
    return (audio[start : start + BLOCK_SAMPLES] for start in range(0, len(audio), BLOCK_SAMPLES))


def cuts(audio: Samples, options: VadOptions) -> list[dict[str, int]]:
    probabilities = iter_probabilities(load_vad_session(), blocks_of(audio))
    return [{"start": one.start, "end": one.end} for one in iter_speech(probabilities, len(audio), options)]


@pytest.mark.parametrize("extra", [0, 1, 300, 500])
@pytest.mark.parametrize("silence_ms", [160, 600])
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


class CountingSession:
    """A VAD that counts the frames since its state was zeroed, and hears speech in loud frames."""

    def run(self, output_names: None, inputs: dict[str, Samples]) -> list[Samples]:
        frames = inputs["input"][:, 64:]
        self.seen = [*getattr(self, "seen", []), *(inputs["h"][0, 0, 0] + 1 + np.arange(len(frames)))]
        found = (np.abs(frames).max(axis=1) > 0.1).astype(np.float32)
        return [found, inputs["h"] + len(frames), inputs["c"]]


def test_the_state_is_zeroed_after_two_seconds_without_speech_wherever_blocks_end() -> None:
    audio = np.zeros(400 * FRAME_SAMPLES, np.float32)
    audio[100 * FRAME_SAMPLES : 110 * FRAME_SAMPLES] = 0.5
    seen = []
    for size in (7, 100, BLOCK_SAMPLES // FRAME_SAMPLES):
        session = CountingSession()
        step = size * FRAME_SAMPLES
        list(iter_probabilities(session, (audio[at : at + step] for at in range(0, len(audio), step))))
        seen.append(session.seen)

    begins = [place for place, count in enumerate(seen[0]) if count == 1]
    assert begins == [0, 62, 172, 234, 296, 358]
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize("seconds", [4, 30])
def test_speech_after_noise_is_heard_as_speech_alone_is(seconds: int) -> None:
    noise = np.random.default_rng(1).normal(0, 0.02, seconds * 16_000).astype(np.float32)
    clip = decode_audio(str(ENGLISH_CLIPS[1].path))
    options = VadOptions()

    alone = sum(one["end"] - one["start"] for one in cuts(clip, options))
    after = [one for one in cuts(np.concatenate([noise, clip]), options) if one["end"] > len(noise)]

    assert sum(one["end"] - max(one["start"], len(noise)) for one in after) >= 0.95 * alone


def test_sound_is_found_without_vad_and_silence_is_left_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    audio = np.zeros(40 * 16_000, np.float32)
    audio[20 * 16_000 : 23 * 16_000] = 0.3
    audio += (rng.integers(-2, 3, len(audio)) / 32768).astype(np.float32)
    pcm = Pcm(write_pcm(tmp_path / "a.pcm", audio), len(audio))

    (chunk,) = pcm.iter_sound()

    assert chunk.start == pytest.approx(19.75 * 16_000, abs=400)
    assert chunk.end == pytest.approx(23.25 * 16_000, abs=400)


def test_one_of_two_channels_is_read(tmp_path: Path) -> None:
    both = np.stack([np.full(1000, 0.25, np.float32), np.full(1000, 0.5, np.float32)], axis=1).reshape(-1)
    path = write_pcm(tmp_path / "a.pcm", both)

    assert [float(Pcm(path, 1000, 2, channel).read(10, 20).mean()) for channel in (0, 1)] == pytest.approx(
        [0.25, 0.5], abs=1e-4
    )


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
