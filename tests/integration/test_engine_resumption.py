"""A job whose engine is killed, and that is resumed: the same text as an untouched one; and the two lanes.

tests/chaos/interruptions.py does the same as often as one likes.
"""

from __future__ import annotations

import io
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from faster_whisper.audio import decode_audio

import words_sounds
from engine_driver import Answer, EngineDriver, write_pcm
from interruptions import make_speech, run_interrupted, run_untouched
from speech_clips import ENGLISH_CLIPS, JFK

pytestmark = pytest.mark.model

FindModel = Callable[[str], Path]

MODEL = "tiny.en"


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three minutes in which some windows have to be tried again, by sampling."""
    return make_speech(tmp_path_factory.mktemp("pcm") / "speech.pcm", 180)


@pytest.fixture(scope="module")
def untouched(find_model: FindModel, speech: Path) -> Answer:
    return run_untouched(MODEL, find_model(MODEL), speech)


def test_the_speech_is_hard_enough_for_sampling(untouched: Answer) -> None:
    assert any(segment["temperature"] > 0 for segment in untouched.segments)
    assert len(untouched.of("window")) >= 6


@pytest.mark.parametrize(
    ("seed", "with_plan"),
    [
        (1, True),
        pytest.param(2, True, marks=pytest.mark.slow),
        pytest.param(3, False, marks=pytest.mark.slow),
    ],
)
def test_ten_interruptions_at_random_windows_change_nothing(
    find_model: FindModel, speech: Path, untouched: Answer, seed: int, with_plan: bool
) -> None:
    """Three jobs with four, three and three interruptions."""
    count = len(untouched.of("window"))
    places = sorted(random.Random(seed).sample(range(count - 1), 4 if seed == 1 else 3))

    heard, answers = run_interrupted(MODEL, find_model(MODEL), speech, places, with_plan=with_plan)

    assert heard.segments == untouched.segments
    assert [window["index"] for window in heard.windows] == list(range(count))
    assert heard.plan["windows"] == [window for plan in untouched.of("plan") for window in plan["windows"]]
    last = answers[-1]
    assert [window["index"] for window in last.of("window")] == list(range(places[-1] + 1, count))
    assert last.last["notices"] == []
    assert last.of("language") == []
    assert bool(last.of("plan")) is not with_plan


@pytest.mark.parametrize("kills", [2, pytest.param(30, marks=pytest.mark.slow)])
def test_a_recording_with_music_is_cut_and_written_the_same_however_often_its_engine_is_killed(
    find_model: FindModel, tmp_path: Path, kills: int
) -> None:
    """Every engine cuts it anew, from the beginning: where VAD forgets must not depend on where the job goes on."""
    audio, _ = soundfile.read(io.BytesIO(words_sounds.joined(words_sounds.own_material(), 3).audio))
    recording = write_pcm(tmp_path / "joined.pcm", audio)
    whole = run_untouched(MODEL, find_model(MODEL), recording)
    count = len(whole.of("window"))
    places = sorted(random.Random(kills).choices(range(count - 1), k=kills))

    heard, answers = run_interrupted(MODEL, find_model(MODEL), recording, places, with_plan=False)

    assert heard.segments == whole.segments
    assert [window["index"] for window in heard.windows] == list(range(count))
    assert len(answers) == kills + 1
    for name in ("windows", "speech", "faint"):
        cuts = _planned(whole, name)
        for answer in answers:
            found = _planned(answer, name)
            assert found == cuts[: len(found)]


def _planned(answer: Answer, name: str) -> list[Any]:
    return [each for plan in answer.of("plan") for each in plan[name]]


@pytest.mark.parametrize(
    "options",
    [{"condition_on_previous_text": True, "initial_prompt": "A speech."}, {"temperature": 0.8}],
    ids=["with the text before", "all by sampling"],
)
def test_a_resumed_job_has_the_same_text_with_these_options(
    find_model: FindModel, tmp_path: Path, options: dict[str, Any]
) -> None:
    speech = make_speech(tmp_path / "speech.pcm", 60)
    whole = run_untouched(MODEL, find_model(MODEL), speech, **options)

    heard, _ = run_interrupted(MODEL, find_model(MODEL), speech, [0], with_plan=True, **options)

    assert len(whole.of("window")) >= 3
    assert heard.segments == whole.segments
    assert [w["history"] for w in heard.windows] == [w["history"] for w in whole.of("window")]


@pytest.fixture
def engine(find_model: FindModel) -> Iterator[EngineDriver]:
    driver = EngineDriver(MODEL, find_model(MODEL))
    driver.start()
    yield driver
    driver.close()


def test_a_job_whose_windows_are_all_done_is_done_at_once(
    engine: EngineDriver, speech: Path, untouched: Answer
) -> None:
    plans = untouched.of("plan")
    plan = {
        **plans[-1],
        **{
            name: [each for plan in plans for each in plan[name]]
            for name in ("windows", "speech", "faint", "channels")
        },
    }
    resumption = {
        "language": "en",
        "language_probability": 1.0,
        "windows": len(plan["windows"]),
        "segments": len(untouched.segments),
        "last_ends": [[None, untouched.segments[-1]["end"]]],
        "history": None,
        "plan": plan,
    }

    engine.submit("done", speech, resumption=resumption)

    answer = engine.answer("done", timeout=10)
    assert answer.kinds == ["done"]
    assert answer.last["notices"] == []
    assert answer.last["vad_seconds"] == plans[-1]["vad_seconds"]


def test_a_clip_beside_a_long_file_takes_three_times_as_long_at_most(
    engine: EngineDriver, tmp_path: Path
) -> None:
    """The median of several, for other programs may want the cores too."""
    clip = write_pcm(tmp_path / "clip.pcm", decode_audio(str(JFK.path)))
    parts = [decode_audio(str(each.path)) for each in ENGLISH_CLIPS]
    long = write_pcm(tmp_path / "long.pcm", np.tile(np.concatenate(parts), 60))

    def seconds(name: str) -> float:
        began = time.monotonic()
        engine.submit(name, clip, lane="short")
        assert engine.answer(name).last["type"] == "done"
        return time.monotonic() - began

    alone = sorted(seconds(f"alone-{number}") for number in range(3))[1]
    engine.submit("long", long)
    engine.wait_for(lambda m: m["type"] == "segment" and m["job_id"] == "long", 120)
    beside = sorted(seconds(f"beside-{number}") for number in range(5))[2]
    is_long_done = engine.has_said(lambda m: m["type"] == "done" and m["job_id"] == "long")
    engine.cancel("long")

    assert not is_long_done
    assert beside <= 3 * alone
