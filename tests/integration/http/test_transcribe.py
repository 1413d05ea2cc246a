"""POST /transcribe against the real thing: gunicorn, sandbox, engine, weights."""

from __future__ import annotations

import concurrent.futures
import re
from pathlib import Path

import pytest

from media_files import ENCODINGS, can_encode, encode, make_tone, make_wave, read_pcm
from server import Server

WORDS = (
    "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
)

ANSWER_FIELDS = {
    "job_id", "text", "language", "language_probability", "duration", "segments", "model", "task", "gpu_used",
    "device", "compute_type", "requested", "fallback_reason", "receipt", "timings", "rtfx", "warnings", "media",
}  # fmt: skip


def words(text: str) -> str:
    return " ".join(re.findall(r"[a-z']+", text.lower()))


@pytest.mark.model
def test_speech_is_answered_with_its_words_and_the_truth_about_the_device(
    shared: Server, speech: Path
) -> None:
    answer = shared.transcribe(speech, name="jfk.flac")

    assert answer.status == 200
    body = answer.json
    assert set(body) >= ANSWER_FIELDS
    assert words(body["text"]) == WORDS
    assert (body["gpu_used"], body["device"], body["compute_type"]) == (False, "cpu", "int8_float32")
    assert "no NVIDIA driver on this machine" in body["fallback_reason"]["message"]
    assert body["fallback_reason"]["fix"]
    assert body["receipt"]["windows_total"] == body["receipt"]["windows_cpu"] >= 1
    assert list(body["receipt"]["libraries"]) == ["libctranslate2"]
    assert (body["receipt"]["partition"], body["receipt"]["nvml"], body["receipt"]["steps"]) == (
        None,
        None,
        [],
    )
    assert body["requested"] == {"use_gpu": True, "device": "cuda", "compute_type": "auto"}
    assert (answer.headers["x-gpu-used"], answer.headers["x-device"]) == ("false", "cpu")
    assert all(0 < s["end"] - s["start"] <= 7.0 and len(s["text"]) <= 84 for s in body["segments"])


@pytest.mark.model
@pytest.mark.parametrize("name", ["wav", "mp3", "m4a", "flac", "opus", "webm", "mp4-video", "mkv"])
def test_same_audio_in_any_container_gives_the_same_words(
    shared: Server, speech: Path, tmp_path: Path, name: str
) -> None:
    encoding = next(each for each in ENCODINGS if each.name == name)
    assert can_encode(encoding)
    path = encode(tmp_path / f"speech.{name}", read_pcm(speech), encoding)

    answer = shared.transcribe(path, name=path.name)

    assert answer.status == 200, answer.text
    assert words(answer.json["text"]) == WORDS


@pytest.mark.model
def test_tone_is_answered_empty_with_a_warning_and_a_receipt(shared: Server) -> None:
    answer = shared.transcribe(make_wave(make_tone(1.0)), name="tone.wav")

    assert answer.status == 200
    body = answer.json
    assert (body["text"], body["segments"]) == ("", [])
    assert "no_speech" in [warning["code"] for warning in body["warnings"]]
    assert (body["gpu_used"], body["device"]) == (False, "cpu")
    assert body["receipt"]["windows_total"] >= 1


@pytest.mark.model
def test_word_timestamps_are_monotone_and_inside_their_segment(shared: Server, speech: Path) -> None:
    body = shared.transcribe(speech, word_timestamps="true").json

    for segment in body["segments"]:
        times = [(word["start"], word["end"]) for word in segment["words"]]
        assert times
        assert times == sorted(times)
        assert segment["start"] <= times[0][0]
        assert times[-1][1] <= segment["end"]
        assert "".join(word["word"] for word in segment["words"]).strip() == segment["text"].strip()


@pytest.mark.model
@pytest.mark.parametrize(
    ("response_format", "content_type", "pattern"),
    [
        ("text", "text/plain", r"(?s)\AAnd so.*country\.?\n\Z"),
        ("srt", "application/x-subrip", r"\A1\n00:00:\d\d,\d{3} --> 00:00:\d\d,\d{3}\n"),
        ("vtt", "text/vtt", r"\AWEBVTT\n\n00:00:\d\d\.\d{3} --> "),
        ("tsv", "text/tab-separated-values", r"\Astart\tend\ttext\n\d+\t\d+\t"),
    ],
)
def test_formats(shared: Server, speech: Path, response_format: str, content_type: str, pattern: str) -> None:
    answer = shared.transcribe(speech, response_format=response_format)

    assert answer.status == 200
    assert answer.headers["content-type"].startswith(content_type)
    assert re.search(pattern, answer.text), answer.text[:200]
    assert answer.headers["x-gpu-used"] == "false"


@pytest.mark.model
def test_ten_uploads_at_once_all_end_well(shared: Server, speech: Path) -> None:
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: shared.transcribe(speech, model="tiny.en"), range(10)))

    assert [answer.status for answer in answers] == [200] * 10
    assert {words(answer.json["text"]) for answer in answers} == {WORDS}


@pytest.mark.model
def test_browser_gets_the_same_facts_as_html(shared: Server, speech: Path) -> None:
    answer = shared.transcribe(speech, accept="text/html,application/xhtml+xml,*/*;q=0.8")

    assert answer.headers["content-type"].startswith("text/html")
    for fact in ("gpu_used", "device", "compute_type", "int8_float32", "no NVIDIA driver on this machine"):
        assert fact in answer.text


@pytest.mark.parametrize(
    ("payload", "status", "code"),
    [
        (b"", 400, "empty_upload"),
        (b"This is a letter, not a recording.\n" * 50, 422, "undecodable_media"),
        (bytes(range(256)) * 40, 422, "undecodable_media"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", 422, "undecodable_media"),
        (
            b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://127.0.0.1:9/x.ts\n",
            422,
            "undecodable_media",
        ),
    ],
)
def test_what_is_no_audio_is_a_client_error_with_its_code(
    shared: Server, payload: bytes, status: int, code: str
) -> None:
    answer = shared.transcribe(payload, name="speech.mp3")

    assert (answer.status, answer.json["error"]["code"]) == (status, code)
    assert answer.json["error"]["fix"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"beam_size": "none"}, "beam_size"),
        ({"temperature": "7"}, "temperature"),
        ({"language": "klingon"}, "language"),
        ({"task": "sing"}, "task"),
        ({"use_gpu": "perhaps"}, "use_gpu"),
        ({"response_format": "pdf"}, "response_format"),
        ({"model": "tiny.en", "task": "translate"}, "task"),
    ],
)
def test_wrong_value_is_a_422_that_names_the_parameter(
    shared: Server, speech: Path, fields: dict[str, str], param: str
) -> None:
    answer = shared.transcribe(speech, **fields)

    error = answer.json["error"]
    assert (answer.status, error["param"]) == (422, param)
    assert fields[param] in error["message"]


def test_unknown_model_lists_those_that_are_here(shared: Server, speech: Path) -> None:
    answer = shared.transcribe(speech, model="large-v9")

    assert (answer.status, answer.json["error"]["code"]) == (404, "model_not_found")
    assert "base" in answer.json["error"]["message"]
    assert "tiny.en" in answer.json["error"]["message"]


def test_require_gpu_without_one_is_503_with_the_cause_and_the_fix(shared: Server, speech: Path) -> None:
    answer = shared.transcribe(speech, require_gpu="true")

    assert (answer.status, answer.json["error"]["code"]) == (503, "gpu_required")
    assert "no NVIDIA driver" in answer.json["error"]["message"]
    assert answer.json["error"]["fix"]


@pytest.mark.model
def test_unknown_option_is_named_in_the_warnings(shared: Server, speech: Path) -> None:
    body = shared.transcribe(speech, model="tiny.en", best_of="5").json

    assert ("ignored_parameter", "best_of") in [(w["code"], w["param"]) for w in body["warnings"]]


@pytest.mark.model
def test_diagnostics_show_engines_and_the_last_receipt(shared: Server, speech: Path) -> None:
    job_id = shared.transcribe(speech).json["job_id"]

    body = shared.get("/diagnostics", headers={"Accept": "application/json"}).json

    assert body["last_receipt"]["job_id"] == job_id
    engine = next(each for each in body["engines"] if each["model"] == "base")
    assert {"pid", "device", "compute_type", "model", "uptime"} <= set(engine)
    assert "transcriber.engine.child.main" in shared.children()[engine["pid"]]
    assert "no NVIDIA driver on this machine" in body["verdict"]
    assert {row["name"]: row["source"] for row in body["settings"]}[
        "WHISPER_MODEL_PATH"
    ] == "WHISPER_MODEL_PATH"


def test_health_under_preferred_on_the_cpu(shared: Server) -> None:
    assert shared.get("/health").status == 200
    assert shared.get("/health/live").status == 200
    ready = shared.get("/health/ready")
    assert (ready.status, ready.json["status"]) == (200, "degraded")
    gpu = shared.get("/health/gpu")
    assert (gpu.status, gpu.json["fallback_reason"]["code"]) == (503, "no_nvidia_gpu")
