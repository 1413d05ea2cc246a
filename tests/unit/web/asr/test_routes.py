"""whisper-asr-webservice's routes over a fake service, by the requests that its clients send."""

from __future__ import annotations

import io
import json
import wave
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from fakes import FakeService
from transcriber.domain.errors import EngineFailedError, QueueFullError
from transcriptions import make_segment, make_transcription
from uploading import post_file

PCM = bytes(range(256)) * 100


def send(client: FlaskClient, query: str, data: bytes = PCM, path: str = "/asr") -> TestResponse:
    return post_file(client, data, field="audio_file", name="audio_file", path=path, query=query)


def received(service: FakeService) -> bytes:
    (data,) = service.received.values()
    return data


def test_bazarrs_request_is_a_subtitle(client: FlaskClient, service: FakeService) -> None:
    answer = send(client, "?task=transcribe&language=en&output=srt&encode=false&video_file=%2Ftv%2FShow.mkv")

    assert answer.text.startswith("1\n00:00:00,000 --> 00:00:02,500\n")
    assert answer.mimetype == "text/plain"
    (job,) = service.jobs.values()
    assert job.file_name == "Show.mkv"
    with wave.open(io.BytesIO(received(service))) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (16000, 1, 2)
        assert sound.readframes(10**6) == PCM


def test_two_slashes_are_one(client: FlaskClient) -> None:
    answer = post_file(
        client, field="audio_file", path="/nothing", query="?output=txt", environ={"PATH_INFO": "//asr"}
    )

    assert answer.status_code == 200


@pytest.mark.parametrize("data", [b"\0", b"\0" * 11, b"\1\2" * 6])
def test_short_samples_are_whole(client: FlaskClient, service: FakeService, data: bytes) -> None:
    send(client, "?encode=false", data)

    with wave.open(io.BytesIO(received(service))) as sound:
        assert sound.readframes(100) == data[: len(data) // 2 * 2]


def test_file_that_has_a_header_all_the_same_stays_as_it_is(
    client: FlaskClient, service: FakeService
) -> None:
    file = b"RIFF\0\0\0\0WAVEfmt rest"

    send(client, "?encode=false", file)

    assert received(service) == file


def test_encoded_file_stays_as_it_is(client: FlaskClient, service: FakeService) -> None:
    send(client, "?encode=true", b"ID3 anything")

    assert received(service) == b"ID3 anything"


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("txt", "Ask not what your country can do for you.\nAsk <b>more</b>.\n"),
        ("vtt", "WEBVTT\n"),
        ("tsv", "start\tend\ttext\n"),
    ],
)
def test_output_is_plain_text(client: FlaskClient, output: str, text: str) -> None:
    answer = send(client, f"?output={output}")

    assert answer.text.startswith(text)
    assert answer.headers["Asr-Engine"] == "faster_whisper"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="audio_file.{output}"'
    assert answer.headers["X-Gpu-Used"] == "false"


def test_json_is_the_engines(client: FlaskClient) -> None:
    answer = send(client, "?output=json")

    assert answer.mimetype == "text/plain"
    body = json.loads(answer.text)
    assert (body["language"], body["segments"][0]["words"]) == ("en", None)
    assert body["gpu_used"] is False


def test_what_has_no_effect_is_named(client: FlaskClient) -> None:
    answer = send(client, "?return_speaker_embeddings=true&max_speakers=2&vad_filter=on")

    assert answer.headers["X-Warnings"] == (
        'ignored_parameter;param="max_speakers", ignored_parameter;param="return_speaker_embeddings"'
    )


def test_speakers_are_told_apart_where_a_client_asks(client: FlaskClient, service: FakeService) -> None:
    send(client, "?diarize=true&min_speakers=2&max_speakers=3")

    [job] = service.jobs.values()
    options = job.request.options
    assert (options.diarize, options.min_speakers, options.max_speakers) == (True, 2, 3)
    assert options.for_engine.word_timestamps


def test_language_is_detected_from_the_first_window_alone(client: FlaskClient, service: FakeService) -> None:
    service.answer = make_transcription(make_segment(), language="de", language_probability=0.91)

    answer = send(client, "?encode=false", b"\1\2" * 16000 * 40, path="/detect-language")

    assert answer.json == {"detected_language": "german", "language_code": "de", "confidence": 0.91}
    assert len(received(service)) == 44 + 30 * 32000
    assert service.jobs == {}


def test_failure_is_no_subtitle(client: FlaskClient, service: FakeService) -> None:
    service.job_error = EngineFailedError("no")

    answer = send(client, "?output=srt")

    assert answer.status_code == 503
    assert answer.json["error"]["code"] == "engine_failed"


def test_full_queue_is_waited_for(client: FlaskClient, service: FakeService) -> None:
    service.queue_errors = [QueueFullError()]

    assert send(client, "?output=txt").status_code == 200


def test_key_is_the_password_of_a_url(build_client: Callable[..., FlaskClient]) -> None:
    client = build_client(WHISPER_API_KEY="right")

    assert client.get("/status").status_code == 401
    answer: Any = client.get("/status", auth=("bazarr", "right"))
    assert answer.json["version"].startswith("Transcriber ")
