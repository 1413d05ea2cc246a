"""What the engine makes of recordings that once lost words, or got some that nobody said."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from engine_driver import Answer, EngineDriver, write_pcm
from media_files import RATE, read_pcm
from speech_clips import ENGLISH_CLIPS, JFK, OTHER_CLIPS
from speech_errors import count_errors
from transcriber.domain.options import AudioSelection
from transcriber.media.child.decoding import audio_codecs, decode_media
from transcriber.media.child.pcm import PcmSink

pytestmark = pytest.mark.model

CASES = Path(__file__).resolve().parents[1] / "data" / "cases"

Samples = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def english(find_model: Callable[[str], Path]) -> Iterator[EngineDriver]:
    driver = EngineDriver("tiny.en", find_model("tiny.en"))
    assert driver.start()["type"] == "ready"
    yield driver
    driver.close()


@pytest.fixture(scope="module")
def multilingual(find_model: Callable[[str], Path]) -> Iterator[EngineDriver]:
    driver = EngineDriver("base", find_model("base"))
    assert driver.start()["type"] == "ready"
    yield driver
    driver.close()


@pytest.fixture
def answer(english: EngineDriver, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., Answer]:
    """A case or samples through decoder and engine."""

    def run(source: str | Samples, **options: Any) -> Answer:
        path, channels = tmp_path / "a.pcm", 1
        if isinstance(source, str):
            channels = _decode(CASES / source, path)
        else:
            write_pcm(path, source)
        name = f"{request.node.name}-{len(english.said('').messages)}"
        english.submit(name, path, path.stat().st_size // (2 * channels), **options)
        return english.answer(name)

    return run


def _decode(source: Path, target: Path, **selection: Any) -> int:
    with target.open("wb") as file:
        sink = PcmSink(file, 600 * RATE, 10**9)
        facts = decode_media(
            io.BytesIO(source.read_bytes()), sink, audio_codecs(), lambda n: None, AudioSelection(**selection)
        )
    return int(facts["pcm_channels"])


def speech(path: Path = JFK.path) -> Samples:
    return np.asarray(read_pcm(path), np.float64) / 32768


def errors(answer: Answer) -> int:
    return count_errors(JFK.text, answer.text).total


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("inverted_phase.mp3", 1),
        ("quiet_minus50db.flac", 1),
        ("ts1000.mkv", 1),
        ("gap20_live.webm", 4),  # the hole is in the middle of a phrase
    ],
)
def test_nothing_is_lost_of(name: str, most: int, answer: Callable[..., Answer]) -> None:
    assert errors(answer(name)) <= most


def test_a_hole_moves_what_follows(answer: Callable[..., Answer]) -> None:
    segments = answer("gap20_live.webm").segments

    assert any(segment["start"] > 24 for segment in segments)
    assert all(segment["end"] < 7 or segment["start"] > 24 for segment in segments)


def test_a_sentence_said_again_and_again_is_written_as_often(answer: Callable[..., Answer]) -> None:
    """The third time it is cut short, at 30 s."""
    found = answer("repeated_30s.opus")

    third = JFK.text.split(", ask what")[0]
    assert count_errors(f"{JFK.text} {JFK.text} {third}", found.text).total <= 3
    assert all(segment["end"] - segment["start"] > 0.3 for segment in found.segments)


@pytest.mark.parametrize("silence", [0, 20])
def test_silence_without_vad_has_no_text(silence: int, answer: Callable[..., Answer]) -> None:
    nothing = np.zeros(silence * RATE)

    found = answer(np.concatenate([nothing, speech(), nothing]), vad_filter=False)

    assert errors(found) == 0
    assert all(segment["end"] > segment["start"] >= silence - 0.5 for segment in found.segments)


def test_digital_silence_without_vad_is_no_speech(answer: Callable[..., Answer]) -> None:
    found = answer("sil13.flac", vad_filter=False)

    assert found.segments == []
    assert [notice["code"] for notice in found.last["notices"]] == ["no_speech"]


def test_clear_speech_after_noise_is_heard_and_the_noise_is_not(answer: Callable[..., Answer]) -> None:
    rng = np.random.default_rng(3)
    noise = rng.normal(0, 0.03, 25 * RATE)

    found = answer(np.concatenate([noise, speech(), noise]))

    assert errors(found) == 0
    assert all(24.5 < segment["start"] < segment["end"] < 36.5 for segment in found.segments)


def test_each_channel_of_a_call_is_transcribed_on_its_own(english: EngineDriver, tmp_path: Path) -> None:
    left, right = speech(), speech(ENGLISH_CLIPS[3].path)
    both = np.zeros((len(left) + 2 * RATE, 2))
    both[: len(left), 0] = left
    both[len(left) + RATE // 2 :, 1][: len(right)] = right[: len(both) - len(left) - RATE // 2]
    path = write_pcm(tmp_path / "call.pcm", both.reshape(-1))

    english.send(
        {
            "type": "transcribe",
            "job_id": "call",
            "pcm_path": str(path),
            "samples": len(both),
            "pcm_channels": 2,
            "options": {"channels": "split"},
            "lane": "short",
            "resumption": None,
        }
    )
    found = english.answer("call")

    by_channel = {
        channel: "".join(one["text"] for one in found.segments if one["channel"] == channel)
        for channel in (0, 1)
    }
    assert count_errors(JFK.text, by_channel[0]).total <= 1
    assert "quick" in by_channel[1].lower()


def test_a_file_that_changes_its_language_is_written_in_both(
    multilingual: EngineDriver, tmp_path: Path
) -> None:
    spanish = next(clip for clip in OTHER_CLIPS if clip.name == "es-conteo")
    sound = np.concatenate([speech(), np.zeros(2 * RATE), speech(spanish.path), np.zeros(RATE)])
    path = write_pcm(tmp_path / "two.pcm", sound)

    found = multilingual.transcribe("two", path, multilingual=True)

    assert [segment["language"] for segment in found.segments][0] == "en"
    assert found.segments[-1]["language"] == "es"
    assert errors_of(found, "en") <= 1
    assert found.language == "en"


def errors_of(answer: Answer, language: str) -> int:
    text = "".join(segment["text"] for segment in answer.segments if segment["language"] == language)
    return count_errors(JFK.text, text).total


def test_only_the_candidates_are_detected(multilingual: EngineDriver, tmp_path: Path) -> None:
    path = write_pcm(tmp_path / "en.pcm", speech(ENGLISH_CLIPS[1].path))

    found = multilingual.transcribe("candidates", path, languages=["de", "es"])

    assert found.language in ("de", "es")
    (told,) = found.of("language")
    assert {name for name, _ in told["alternatives"]} <= {"de", "es"}
