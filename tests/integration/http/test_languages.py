"""The language of short clips that begin in the middle of a word: never worse told than by bare faster-whisper without VAD."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from faster_whisper import WhisperModel
from faster_whisper.audio import decode_audio

from server import Server
from speech_clips import CLIPS, Clip

RATE = 16_000

#: What is told with less is a guess, and the answer says so.
LEAST = 0.5

Samples = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def bare(models: Path) -> WhisperModel:
    return WhisperModel(str(models / "base"), device="cpu", compute_type="int8", cpu_threads=2)


@pytest.fixture
def check(shared: Server, bare: WhisperModel) -> Callable[[Iterable[Clip], Iterable[float]], int]:
    """How many of these clips, cut by these seconds, were told wrong; each in a way that may be."""

    def run(clips: Iterable[Clip], cuts: Iterable[float]) -> int:
        return sum(
            _is_wrong(shared, bare, clip, audio[int(cut * RATE) :])
            for clip in clips
            for audio in [decode_audio(str(clip.path))]
            for cut in cuts
            if len(audio) - cut * RATE >= RATE / 2
        )

    return run


def _is_wrong(service: Server, bare: WhisperModel, clip: Clip, audio: Samples) -> bool:
    language, probability, _ = bare.detect_language(audio, vad_filter=False)
    answer = service.transcribe(_wav(audio)).json
    codes = [warning["code"] for warning in answer["warnings"]]
    told = (clip.name, len(audio), answer["language"], answer["language_probability"], language, probability)

    assert answer["language"] == clip.language or language != clip.language, told
    assert ("language_uncertain" in codes) is (answer["language_probability"] < LEAST), told
    return answer["language"] != clip.language


def _wav(audio: Samples) -> bytes:
    target = io.BytesIO()
    soundfile.write(target, audio, RATE, format="WAV", subtype="PCM_16")
    return target.getvalue()


def test_a_sentence_of_each_language_is_told_as_well_as_by_bare(check: Callable[..., int]) -> None:
    sentences = [clip for clip in CLIPS if clip.path.stem.startswith(("pangrama", "quick"))]

    assert len(sentences) == 9
    assert check(sentences, [0.4]) <= 2


@pytest.mark.slow
def test_every_clip_with_every_cut_is_told_as_well_as_by_bare(check: Callable[..., int]) -> None:
    check(CLIPS, [0.0, 0.25, 0.5, 0.75, 1.0])
