"""OpenAI's audio routes over a fake service: formats, streams, errors, models, and requests that come again."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from fakes import FakeService
from transcriber.domain.errors import DiarizationError, EngineFailedError, QueueFullError
from transcriber.domain.jobs import JobStatus
from transcriber.domain.transcript import DiarizationReceipt, Notice, Speaker
from transcriber.web.openai.references import MAX_REFERENCE_BYTES
from transcriber.web.openai.render import segment_events
from transcriptions import make_segment, make_transcription
from uploading import post_file

PATH = "/v1/audio/transcriptions"
SPEECH = b"RIFF....speech"


def speak(client: FlaskClient, *, path: str = PATH, data: bytes = SPEECH, **fields: Any) -> TestResponse:
    return post_file(client, data, field="file", path=path, **({"model": "whisper-1"} | fields))


def events_of(answer: TestResponse) -> list[Any]:
    lines = [line for line in answer.text.split("\n\n") if line.startswith("data: ")]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def test_json_has_text_usage_language_and_the_device_facts(client: FlaskClient) -> None:
    answer = speak(client)

    assert answer.json["text"].startswith("Ask not what")
    assert answer.json["usage"] == {"type": "duration", "seconds": 11.0}
    assert answer.json["languages"] == [{"code": "en"}]
    assert answer.json["gpu_used"] is False
    assert answer.headers["X-Gpu-Used"] == "false"
    assert answer.headers["X-Warnings"] == 'model_alias;param="model"'


def test_verbose_json_has_all_statistics_of_each_segment(client: FlaskClient) -> None:
    body = speak(client, response_format="verbose_json").json

    assert (body["task"], body["language"], body["duration"]) == ("transcribe", "english", 11.0)
    assert set(body["segments"][0]) == {
        "id",
        "seek",
        "start",
        "end",
        "text",
        "tokens",
        "temperature",
        "avg_logprob",
        "compression_ratio",
        "no_speech_prob",
    }
    assert "words" not in body


def test_words_come_when_they_were_asked_for(client: FlaskClient, service: FakeService) -> None:
    fields = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}

    body = speak(client, **fields).json

    assert body["words"] == []  # the fake hears none
    assert "segments" not in body
    assert next(iter(service.jobs.values())).request.options.word_timestamps


@pytest.mark.parametrize(
    ("kind", "begin", "content_type"),
    [
        ("text", "Ask not", "text/plain"),
        ("srt", "1\n00:00:00,000", "application/x-subrip"),
        ("vtt", "WEBVTT\n\n", "text/vtt"),
    ],
)
def test_plain_formats(client: FlaskClient, kind: str, begin: str, content_type: str) -> None:
    answer = speak(client, response_format=kind)

    assert answer.text.startswith(begin)
    assert answer.content_type.startswith(content_type)
    assert answer.headers["X-Device"] == "cpu"


def test_stream_is_deltas_and_one_done_with_the_whole_text(client: FlaskClient) -> None:
    answer = speak(client, stream="true")

    *deltas, done = events_of(answer)
    assert answer.mimetype == "text/event-stream"
    assert {delta["type"] for delta in deltas} == {"transcript.text.delta"}
    assert done["type"] == "transcript.text.done"
    assert "".join(delta["delta"] for delta in deltas) == done["text"]
    assert done["usage"]["total_tokens"] == done["usage"]["input_tokens"] + done["usage"]["output_tokens"]
    assert done["gpu_used"] is False


def test_failure_in_a_stream_is_an_error_event(client: FlaskClient, service: FakeService) -> None:
    service.job_error = EngineFailedError("It broke.", fix="Mend it.")

    (event,) = events_of(speak(client, stream="true"))

    assert event["error"]["code"] == "engine_failed"
    assert event["error"]["message"] == "It broke. Mend it."


def test_translation_is_english_and_says_what_was_spoken(client: FlaskClient, service: FakeService) -> None:
    service.answer = make_transcription(make_segment(), language="de", task="translate")

    body = speak(client, path="/v1/audio/translations", response_format="verbose_json").json

    assert (body["task"], body["language"], body["source_language"]) == ("translate", "english", "german")
    assert next(iter(service.jobs.values())).request.options.task == "translate"


def test_json_body_carries_the_audio(client: FlaskClient, service: FakeService) -> None:
    audio = {"data": base64.b64encode(SPEECH).decode(), "format": "wav"}

    answer = client.post(PATH, json={"model": "whisper-1", "input_audio": audio, "language": "de"})

    (job,) = service.jobs.values()
    assert answer.status_code == 200
    assert service.received[job.id] == SPEECH
    assert (job.file_name, job.request.options.language) == ("audio.wav", "de")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"input_audio": "AAAA", "\\ud800": 1}', 400),
        (b'{"input_audio": "AAAA", "prompt": "\\ud800"}', 400),
        (b'{"input_audio": "AAAA", "chunking_strategy": "' + b"[" * 10_000 + b'"}', 400),
        (b"[" * 40_000, 400),
        (b'{"input_audio": "AAAA", "x": [' + b"[]," * 60_000 + b"[]]}", 413),
    ],
)
def test_hostile_json_is_refused(client: FlaskClient, body: bytes, status: int) -> None:
    answer = client.post(PATH, data=body, content_type="application/json")

    assert answer.status_code == status
    assert answer.json["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "file"),
        ({"input_audio": {"data": "!!!"}}, "input_audio.data"),
        ({"input_audio": {"format": "wav"}}, "input_audio"),
        ({"input_audio": {"data": ""}}, "file"),
    ],
)
def test_json_body_without_audio_is_refused(
    client: FlaskClient, service: FakeService, body: dict[str, Any], param: str
) -> None:
    answer = client.post(PATH, json=body)

    assert answer.status_code == 400
    assert answer.json["error"]["param"] == param
    assert list(service.spool.iterdir()) == []


def with_speakers(*names: str, **changes: Any) -> Any:
    """What two speakers said, the first ones by name."""
    segments = [
        make_segment(speaker="A"),
        make_segment(id=1, start=2.5, end=4.0, text=" Ask more.", speaker="B"),
    ]
    speakers = [
        Speaker(id=letter, name=name, seconds=2.0)
        for letter, name in zip("AB", [*names, "", ""], strict=False)
    ]
    found = DiarizationReceipt(device="cpu", provider="CPUExecutionProvider", pid=7, seconds=0.5)
    made = make_transcription(*segments, **({"speakers": tuple(speakers)} | changes))
    return replace(made, receipt=replace(made.receipt, diarization=found))


def test_diarized_json_has_what_each_speaker_says(client: FlaskClient, service: FakeService) -> None:
    service.answer = with_speakers("Ada")

    body = speak(client, response_format="diarized_json").json

    assert (body["task"], body["duration"], body["usage"]) == (
        "transcribe",
        11.0,
        {"type": "duration", "seconds": 11.0},
    )
    assert body["text"].endswith("Ask more.")
    assert body["segments"][1] == {
        "type": "transcript.text.segment",
        "id": "seg_001",
        "start": 2.5,
        "end": 4.0,
        "text": "Ask more.",
        "speaker": "B",
    }
    assert body["segments"][0]["speaker"] == "Ada"
    assert next(iter(service.jobs.values())).request.options.diarize


def test_letter_that_is_the_name_of_somebody_else_is_told_apart(
    client: FlaskClient, service: FakeService
) -> None:
    service.answer = with_speakers("B")

    body = speak(client, response_format="diarized_json").json

    assert [one["speaker"] for one in body["segments"]] == ["B", "Speaker B"]


def test_stream_of_diarized_json_has_the_text_then_the_segments(
    client: FlaskClient, service: FakeService
) -> None:
    service.answer = with_speakers()

    events = events_of(speak(client, response_format="diarized_json", stream="true"))

    assert [event["type"].rpartition(".")[2] for event in events] == [
        *["delta"] * 2,
        *["segment"] * 2,
        "done",
    ]
    assert [event["speaker"] for event in events if "speaker" in event] == ["A", "B"]
    assert events[-1]["text"] == "".join(event.get("delta", "") for event in events)


def test_text_where_no_voice_was_found_is_of_nobody(client: FlaskClient, service: FakeService) -> None:
    service.answer = with_speakers(speakers=())

    body = speak(client, response_format="diarized_json").json

    assert {one["speaker"] for one in body["segments"]} == {"unknown"}


@pytest.mark.parametrize("stream", ["false", "true"])
def test_speakers_that_could_not_be_told_apart_are_an_error_of_the_format_that_needs_them(
    client: FlaskClient, service: FakeService, stream: str
) -> None:
    answer = speak(client, response_format="diarized_json", stream=stream)

    error = events_of(answer)[-1]["error"] if stream == "true" else answer.json["error"]
    assert error["code"] == "diarization_failed"
    assert answer.status_code == (200 if stream == "true" else 500)


def test_error_of_speakers_is_the_one_of_the_warnings() -> None:
    notice = Notice(code="diarization_timeout", message="It took too long.", param="diarize")

    with pytest.raises(DiarizationError, match="too long") as raised:
        segment_events(make_transcription(make_segment(), warnings=(notice,)))

    assert raised.value.code == "diarization_timeout"


def data_url(data: bytes = b"RIFF a voice", kind: str = "audio/wav") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


@pytest.mark.parametrize("kind", ["audio/wav", "audio/mpeg;rate=16000", "audio/ogg;codecs=opus"])
def test_known_speakers_come_with_their_recordings(
    client: FlaskClient, service: FakeService, kind: str
) -> None:
    names = ["Ada", "Bob, the second"]
    fields = {
        "response_format": "diarized_json",
        "known_speaker_names[]": names,
        "known_speaker_references[]": [data_url(b"ada", kind), data_url(b"bob" * 700_000, kind)],
    }
    service.answer = with_speakers(*names)

    answer = speak(client, **fields)

    (job,) = service.jobs.values()
    assert answer.status_code == 200
    assert job.request.options.known_speakers == tuple(names)
    assert service.references[job.id] == [b"ada", b"bob" * 700_000]
    assert 'param="known' not in answer.headers["X-Warnings"]


def test_known_speakers_serve_every_format_with_speakers(client: FlaskClient, service: FakeService) -> None:
    service.answer = with_speakers("Ada")
    fields = {"known_speaker_names[]": "Ada", "known_speaker_references[]": data_url()}

    text = speak(client, response_format="vtt", diarize="true", **fields).text

    assert "<v Ada>" in text


def test_other_recordings_are_another_job(client: FlaskClient, service: FakeService) -> None:
    client.environ_base["HTTP_X_STAINLESS_RETRY_COUNT"] = "1"
    service.answer = with_speakers("Ada")
    for voice in (b"ada", b"ada", b"not ada"):
        fields = {"known_speaker_names[]": "Ada", "known_speaker_references[]": data_url(voice)}
        assert speak(client, response_format="diarized_json", **fields).status_code == 200

    assert len(service.jobs) == 2


@pytest.mark.parametrize(
    ("references", "names"),
    [
        (["not a URL"], ["Ada"]),
        (["https://example.org/ada.wav"], ["Ada"]),
        (["data:audio/wav,plain"], ["Ada"]),
        (["data:audio/wav;base64,!!!!"], ["Ada"]),
        (["data:audio/wav;base64,"], ["Ada"]),
        ([data_url(bytes(MAX_REFERENCE_BYTES + 9))], ["Ada"]),
        ([data_url()], []),
        ([], ["Ada"]),
        ([data_url()] * 5, ["Ada"] * 5),
    ],
)
def test_recording_that_can_not_be_used_is_refused(
    client: FlaskClient, service: FakeService, references: list[str], names: list[str]
) -> None:
    body = {
        "input_audio": {"data": base64.b64encode(SPEECH).decode()},
        "response_format": "diarized_json",
        "known_speaker_names": names,
        "known_speaker_references": references,
    }

    answer = client.post(PATH, json=body)

    assert answer.status_code == 400
    assert answer.json["error"]["param"].startswith("known_speaker_")
    assert answer.json["error"]["code"] == "invalid_parameter"
    assert list(service.spool.iterdir()) == []


def test_channels_on_their_own_have_no_speakers(client: FlaskClient) -> None:
    answer = speak(client, response_format="diarized_json", channels="split")

    assert (answer.status_code, answer.json["error"]["param"]) == (400, "channels")


def test_error_has_openais_shape_with_the_fix_in_its_message(client: FlaskClient) -> None:
    answer = speak(client, temperature="hot")

    error = answer.json["error"]
    assert answer.status_code == 400
    assert {"message", "type", "param", "code"} <= set(error)
    assert (error["type"], error["param"], error["code"]) == (
        "invalid_request_error",
        "temperature",
        "invalid_parameter",
    )
    assert error["message"].endswith(error["fix"])


def test_browser_gets_no_page_here(client: FlaskClient) -> None:
    answer = client.get("/v1/nothing", headers={"Accept": "text/html"})

    assert (answer.status_code, answer.mimetype) == (404, "application/json")


def test_wrong_key_is_a_401(build_client: Callable[..., FlaskClient]) -> None:
    client = build_client(WHISPER_API_KEY="right")

    answer = client.get("/v1/models", headers={"Authorization": "Bearer wrong", "Accept": "text/html"})

    assert answer.status_code == 401
    assert answer.json["error"]["type"] == "authentication_error"


def test_full_queue_is_a_429_with_retry_after(client: FlaskClient, service: FakeService) -> None:
    service.begin_error = QueueFullError()

    answer = speak(client)

    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) >= 1
    assert "X-Should-Retry" not in answer.headers


def test_engine_failure_is_a_503_with_retry_after(client: FlaskClient, service: FakeService) -> None:
    service.job_error = EngineFailedError()

    answer = speak(client)

    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1


def test_models_are_those_that_are_here_and_their_names(client: FlaskClient) -> None:
    found = {model["id"]: model for model in client.get("/v1/models").json["data"]}

    assert found["base"]["object"] == "model"
    assert isinstance(found["base"]["created"], int)
    assert found["gpt-4o-transcribe"]["root"] == "base"
    assert client.get("/v1/models/tiny.en").json == found["tiny.en"]
    assert client.get("/v1/models/gpt-transcribe").json["root"] == "base"
    assert client.get("/v1/models/someone/else").status_code == 404


def test_alias_of_the_operator_beats_openais(build_client: Callable[..., FlaskClient]) -> None:
    client = build_client(WHISPER_MODEL_ALIASES="whisper-1=tiny.en,mine=base")

    assert speak(client).json["model"] == "tiny.en"
    assert speak(client, model="mine").json["model"] == "base"
    assert speak(client, model="gpt-transcribe").json["model"] == "base"


def test_request_that_comes_again_finds_its_job(client: FlaskClient, service: FakeService) -> None:
    first = speak(client)
    again = client.post(
        PATH,
        data={"model": "whisper-1", "file": (io.BytesIO(SPEECH), "speech.wav")},
        headers={"X-Stainless-Retry-Count": "1"},
    )

    assert again.json["job_id"] == first.json["job_id"]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(service.jobs) == 1
    assert list(service.spool.iterdir()) == []


@pytest.mark.parametrize("changes", [{"data": b"RIFF....other"}, {"language": "de"}])
def test_other_bytes_or_options_are_another_job(
    client: FlaskClient, service: FakeService, changes: dict[str, Any]
) -> None:
    speak(client)
    client.environ_base["HTTP_X_STAINLESS_RETRY_COUNT"] = "2"
    speak(client, **changes)

    assert len(service.jobs) == 2


def test_failed_job_is_not_found_again(client: FlaskClient, service: FakeService) -> None:
    service.job_error = EngineFailedError()
    speak(client)
    service.job_error = None
    client.environ_base["HTTP_X_STAINLESS_RETRY_COUNT"] = "1"

    assert speak(client).status_code == 200
    assert [job.status for job in service.jobs.values()] == [JobStatus.FAILED, JobStatus.SUCCEEDED]
