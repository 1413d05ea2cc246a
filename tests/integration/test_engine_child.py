"""The real engine child over its real protocol, with real weights."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faster_whisper.audio import decode_audio

from engine_driver import SOURCES, Answer, EngineDriver, write_pcm
from speech_clips import ENGLISH_CLIPS, JFK

pytestmark = pytest.mark.model

FindModel = Callable[[str], Path]
StartEngine = Callable[..., EngineDriver]


@pytest.fixture(scope="module")
def engine(find_model: FindModel) -> Iterator[EngineDriver]:
    """One child with tiny.en, shared by the tests that leave it alive."""
    driver = EngineDriver("tiny.en", find_model("tiny.en"))
    assert driver.start()["type"] == "ready"
    yield driver
    driver.close()


@pytest.fixture
def start_engine(find_model: FindModel) -> Iterator[StartEngine]:
    """Starts a child that the test may spoil."""
    drivers: list[EngineDriver] = []

    def start(model_path: Path | None = None, **config: Any) -> EngineDriver:
        drivers.append(EngineDriver("tiny.en", model_path or find_model("tiny.en"), **config))
        return drivers[-1]

    yield start
    for driver in drivers:
        driver.close()


@pytest.fixture(scope="module")
def jfk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pcm(tmp_path_factory.mktemp("pcm") / "jfk.pcm", decode_audio(str(JFK.path)))


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Almost two minutes of speech."""
    clips = [decode_audio(str(clip.path)) for clip in ENGLISH_CLIPS]
    gap = np.zeros(12_000, np.float32)
    audio = np.concatenate([part for clip in clips * 5 for part in (clip, gap)])
    return write_pcm(tmp_path_factory.mktemp("pcm") / "long.pcm", audio)


def words_of(answer: Answer) -> str:
    return "".join(letter for letter in answer.text.lower() if letter.isalpha() or letter == " ")


def planned_windows(answer: Answer) -> list[list[int]]:
    return [window for plan in answer.of("plan") for window in plan["windows"]]


def test_ready_names_what_was_proven(start_engine: StartEngine) -> None:
    driver = start_engine()

    ready = driver.start()

    assert ready["type"] == "ready"
    assert ready["pid"] == driver.process.pid
    assert (ready["device"], ready["warmup_device"], ready["model"]) == ("cpu", "cpu", "tiny.en")
    assert (ready["requested_compute_type"], ready["compute_type"]) == ("int8", "int8_float32")
    assert "int8_float32" in ready["supported_compute_types"]
    assert 0 < ready["warmup_seconds"] < ready["load_seconds"]
    assert ready["device_name"] is None


def test_a_clip_is_transcribed_with_evidence(engine: EngineDriver, jfk: Path) -> None:
    answer = engine.transcribe("clip", jfk)

    assert "ask what you can do for your country" in words_of(answer)
    assert answer.kinds[:3] == ["language", "plan", "window"]
    assert answer.of("language")[0]["language_probability"] == 1.0
    assert len(answer.of("plan")[0]["windows"]) == len(answer.of("window")) == 1
    assert answer.of("window")[0]["history"] is None
    assert answer.of("window")[0]["device"] == "cpu"
    assert answer.last["notices"] == []
    assert answer.last["pool_peak_bytes"] is None
    assert answer.last["transcription_seconds"] > 0
    assert answer.last["vad_seconds"] > 0


@pytest.fixture(scope="module")
def long_answer(engine: EngineDriver, long: Path) -> Answer:
    return engine.transcribe("long", long)


def test_a_long_file_has_ordered_readable_segments(long_answer: Answer, long: Path) -> None:
    answer, segments = long_answer, long_answer.segments
    duration = long.stat().st_size / 32_000
    flat = [time for segment in segments for time in (segment["start"], segment["end"])]
    assert [segment["id"] for segment in segments] == list(range(len(segments)))
    assert flat == sorted(flat)
    assert flat[-1] <= duration
    assert all(segment["end"] - segment["start"] <= 7.001 for segment in segments)
    assert all(len(segment["text"].strip()) <= 84 for segment in segments)
    assert [m["index"] for m in answer.of("window")] == list(range(len(planned_windows(answer))))
    assert words_of(answer).count("brown fox") == 5
    assert words_of(answer).count("for your country") == 5


def test_the_same_file_gives_the_same_text(engine: EngineDriver, long_answer: Answer, long: Path) -> None:
    assert engine.transcribe("again", long).segments == long_answer.segments


def test_a_short_clip_does_not_wait_behind_a_long_file(engine: EngineDriver, long: Path, jfk: Path) -> None:
    engine.submit("behind-long", long, beam_size=4)
    engine.wait_for(lambda m: m.get("job_id") == "behind-long", 60)
    engine.submit("before-long", jfk, lane="short")

    short = engine.answer("before-long")
    is_long_done = engine.has_said(lambda m: m["type"] == "done" and m["job_id"] == "behind-long")

    assert "country" in short.text
    assert not is_long_done
    assert engine.answer("behind-long").last["type"] == "done"


def test_clips_sent_together_each_get_their_own_text(engine: EngineDriver, tmp_path: Path) -> None:
    for clip in ENGLISH_CLIPS:
        engine.submit(f"together-{clip.name}", write_pcm(tmp_path / clip.name, decode_audio(str(clip.path))))

    texts = {clip.name: words_of(engine.answer(f"together-{clip.name}")) for clip in ENGLISH_CLIPS}

    assert "country" in texts["en-jfk"]
    assert "brown fox" in texts["en-quick_brown_fox"]
    assert "hello world" in texts["en-hello_world"]


def test_a_tone_has_no_speech_but_a_window(engine: EngineDriver, tmp_path: Path) -> None:
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)

    answer = engine.transcribe("tone", write_pcm(tmp_path / "tone.pcm", tone))

    assert answer.kinds == ["language", "plan", "window", "done"]
    assert answer.of("window")[0]["device"] == "cpu"
    assert answer.of("plan")[0] == {
        "type": "plan",
        "job_id": "tone",
        "first_index": 0,
        "windows": [[0, 16_000]],
        "speech": [[]],
        "faint": [False],
        "channels": [None],
        "is_complete": True,
        "duration_after_vad": 0.0,
        "vad_seconds": answer.last["vad_seconds"],
    }
    assert [notice["code"] for notice in answer.last["notices"]] == ["no_speech"]


@pytest.mark.parametrize("samples", [0, 1, 100, 511])
def test_a_file_of_a_few_samples_ends_well(engine: EngineDriver, tmp_path: Path, samples: int) -> None:
    answer = engine.transcribe(f"tiny-{samples}", write_pcm(tmp_path / "a.pcm", np.zeros(samples)))

    assert answer.kinds == ["language", "plan", "window", "done"]


def test_words_are_monotone_and_inside_their_segment(engine: EngineDriver, long: Path) -> None:
    answer = engine.transcribe("words", long, word_timestamps=True)

    duration = long.stat().st_size / 32_000
    flat = [time for s in answer.segments for word in s["words"] for time in (word["start"], word["end"])]
    assert flat == sorted(flat)
    assert flat[-1] <= duration
    for segment in answer.segments:
        assert "".join(word["word"] for word in segment["words"]) == segment["text"]
        assert all(segment["start"] <= w["start"] <= w["end"] <= segment["end"] for w in segment["words"])
        assert all(0 <= word["probability"] <= 1 for word in segment["words"])


@pytest.mark.parametrize(
    "options",
    [
        {"vad_filter": False},
        {"condition_on_previous_text": True},
        {"initial_prompt": "A speech of John F. Kennedy.", "hotwords": "Americans country"},
        {"beam_size": 1},
        {"temperature": 0.2},
        {"language": "en"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_every_option_is_honoured(engine: EngineDriver, jfk: Path, options: dict[str, Any]) -> None:
    answer = engine.transcribe(f"option-{next(iter(options))}", jfk, **options)

    assert answer.last["type"] == "done"
    assert "country" in answer.text
    assert answer.last["notices"] == []


def test_without_vad_the_whole_file_is_transcribed(engine: EngineDriver, long: Path) -> None:
    answer = engine.transcribe("no-vad", long, vad_filter=False)

    # Digital silence between the clips is left out.
    seconds = long.stat().st_size / 32_000
    assert 0.7 * seconds < answer.of("plan")[-1]["duration_after_vad"] <= seconds
    assert words_of(answer).count("brown fox") >= 4


def test_an_english_model_says_which_wishes_it_can_not_grant(engine: EngineDriver, jfk: Path) -> None:
    german = engine.transcribe("german", jfk, language="de")
    translated = engine.transcribe("translated", jfk, task="translate")

    assert german.language == "en"
    assert [(n["code"], n["param"]) for n in german.last["notices"]] == [("option_ignored", "language")]
    assert translated.last["code"] == "task_not_supported"


def test_a_job_that_fails_leaves_the_child_alive(engine: EngineDriver, jfk: Path, tmp_path: Path) -> None:
    engine.submit("broken", tmp_path / "gone.pcm", samples=16_000)

    assert engine.answer("broken").last["code"] == "engine_failed"
    assert engine.transcribe("after-broken", jfk).last["type"] == "done"


def test_a_cancelled_job_ends_and_the_next_one_runs(engine: EngineDriver, jfk: Path, long: Path) -> None:
    engine.submit("given-up", long)
    engine.wait_for(lambda m: m.get("job_id") == "given-up", 60)
    engine.cancel("given-up")

    assert engine.answer("given-up").last["type"] == "cancelled"
    assert engine.transcribe("after-cancel", jfk).last["type"] == "done"


def test_a_cancel_is_answered_at_once_though_a_batch_computes(engine: EngineDriver, long: Path) -> None:
    engine.submit("cut-short", long)
    engine.wait_for(lambda m: m["type"] == "batch_started" and m["job_ids"] == ["cut-short"], 60)
    began = time.monotonic()

    engine.cancel("cut-short")
    answer = engine.answer("cut-short")

    assert answer.last["type"] == "cancelled"
    assert time.monotonic() - began < 1.0
    assert engine.said("cut-short").kinds == answer.kinds


def wait_until_it_computes(driver: EngineDriver, pcm: Path) -> None:
    driver.start()
    driver.submit("busy", pcm, beam_size=5)
    driver.wait_for(lambda m: m["type"] == "batch_started", 60)


def test_a_child_whose_service_hangs_up_ends_at_once(start_engine: StartEngine, long: Path) -> None:
    driver = start_engine()
    wait_until_it_computes(driver, long)

    driver.hang_up()

    assert driver.process.wait(2) == 0


def test_sigterm_ends_it_even_while_it_computes(start_engine: StartEngine, long: Path) -> None:
    driver = start_engine()
    wait_until_it_computes(driver, long)

    driver.process.send_signal(signal.SIGINT)
    driver.process.send_signal(signal.SIGTERM)

    assert driver.process.wait(2) == -signal.SIGTERM


def test_sigint_is_the_services_affair(start_engine: StartEngine, jfk: Path) -> None:
    driver = start_engine()
    driver.start()

    driver.process.send_signal(signal.SIGINT)

    assert driver.transcribe("after-sigint", jfk).last["type"] == "done"


def test_shutdown_and_nonsense_end_it(start_engine: StartEngine) -> None:
    polite, rude, hasty = start_engine(), start_engine(), start_engine()
    hasty.send({"type": "dance"})  # while it loads
    polite.start()
    rude.start()

    polite.send({"type": "shutdown"})
    rude.send({"type": "dance"})

    assert polite.process.wait(5) == 0
    assert rude.process.wait(5) == 76
    assert hasty.process.wait(30) == 76


def test_no_engine_outlives_a_service_killed_outright(find_model: FindModel) -> None:
    service = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from pathlib import Path; from engine_driver import EngineDriver\n"
            "driver = EngineDriver('tiny.en', Path(sys.argv[1]))\n"
            "driver.start(); print(driver.process.pid, flush=True); sys.stdin.read()",
            str(find_model("tiny.en")),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{SOURCES}{os.pathsep}{Path(__file__).parents[1] / 'support'}"},
    )
    assert service.stdin and service.stdout
    engine_pid = int(service.stdout.readline())

    service.kill()
    service.wait()
    service.stdin.close()
    service.stdout.close()

    deadline = time.monotonic() + 5
    while is_alive(engine_pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(engine_pid)


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie that nobody waits for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_folder_without_a_model_is_told(start_engine: StartEngine, tmp_path: Path) -> None:
    driver = start_engine(tmp_path)

    failed = driver.start()

    assert (failed["type"], failed["code"]) == ("start_failed", "model_damaged")
    assert failed["fix"]
    assert driver.process.wait(10) == 1


@pytest.mark.parametrize("damage", ["truncated", "garbage", "no tokenizer", "broken config"])
def test_a_damaged_model_is_told(
    start_engine: StartEngine, find_model: FindModel, tmp_path: Path, damage: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(find_model("tiny.en"), folder)
    match damage:
        case "truncated":
            os.truncate(folder / "model.bin", 30_000_000)
        case "garbage":
            (folder / "model.bin").write_bytes(b"garbage" * 1000)
        case "no tokenizer":
            (folder / "tokenizer.json").unlink()
        case "broken config":
            (folder / "config.json").write_text("{")

    failed = start_engine(folder).start()

    assert (failed["type"], failed["code"]) == ("start_failed", "model_damaged")


def test_a_type_the_device_lacks_is_told(start_engine: StartEngine) -> None:
    assert start_engine(compute_type="float16").start()["code"] == "compute_type_not_supported"


def test_cuda_without_a_gpu_is_told_and_never_the_cpu(
    start_engine: StartEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    failed = start_engine(device="cuda", compute_type="float16").start()

    assert (failed["type"], failed["code"]) == ("start_failed", "cuda_error")
