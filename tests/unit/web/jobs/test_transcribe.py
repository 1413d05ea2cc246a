"""POST /transcribe: what comes back, in which form, and that the facts are always in the headers."""

from __future__ import annotations

import dataclasses
import socket

import pytest
from flask.testing import FlaskClient

from fakes import FakeService
from transcriber.domain.errors import EngineCrashedError, GpuRequiredError, ModelNotFoundError
from transcriber.domain.transcript import Receipt
from uploading import BROWSER, post_file


def test_answer_is_json_with_the_facts(client: FlaskClient) -> None:
    answer = post_file(client)

    assert answer.status_code == 200
    assert answer.mimetype == "application/json"
    assert answer.json["gpu_used"] is False
    assert answer.json["device"] == "cpu"
    assert answer.json["compute_type"] == "int8_float32"
    assert answer.json["fallback_reason"]["code"] == "no_driver"


@pytest.mark.parametrize(
    ("response_format", "mimetype", "begins"),
    [
        ("json", "application/json", "{"),
        ("verbose_json", "application/json", "{"),
        ("text", "text/plain", "Ask not"),
        ("srt", "application/x-subrip", "1\n00:00:00,000 --> "),
        ("vtt", "text/vtt", "WEBVTT\n\n"),
        ("tsv", "text/tab-separated-values", "start\tend\ttext"),
    ],
)
def test_every_format_carries_the_facts_in_its_headers(
    client: FlaskClient, response_format: str, mimetype: str, begins: str
) -> None:
    answer = post_file(client, response_format=response_format, best_of="5")

    assert answer.mimetype == mimetype
    assert answer.text.startswith(begins)
    assert answer.headers["X-Gpu-Used"] == "false"
    assert answer.headers["X-Device"] == "cpu"
    assert answer.headers["X-Compute-Type"] == "int8_float32"
    assert answer.headers["X-Fallback-Code"] == "no_driver"
    assert answer.headers["X-Warnings"] == 'ignored_parameter;param="best_of"'
    assert answer.headers["X-Job-Id"].startswith("job_")


def test_gpu_answer_says_so_in_headers_and_page(client: FlaskClient, service: FakeService) -> None:
    receipt = Receipt(
        device_name="NVIDIA H200",
        device_uuid="GPU-1",
        windows_gpu=3,
        windows_cpu=0,
        windows_total=3,
        claimed_device="cuda",
        compute_type="float16",
        requested_compute_type="float16",
        engine_pid=1,
    )
    service.answer = dataclasses.replace(
        service.answer,
        gpu_used=True,
        device="cuda",
        compute_type="float16",
        fallback_reason=None,
        receipt=receipt,
    )

    answer = post_file(client, accept=BROWSER)

    assert answer.headers["X-Gpu-Used"] == "true"
    assert answer.headers["X-Device"] == "cuda"
    assert "X-Fallback-Code" not in answer.headers
    assert "Ran on the GPU: NVIDIA H200" in answer.text
    assert "3 of 3 windows" in answer.text


def test_browser_gets_a_page_with_literal_fact_names(client: FlaskClient) -> None:
    answer = post_file(client, accept=BROWSER)

    assert answer.mimetype == "text/html"
    for fact in ("gpu_used", "device", "compute_type"):
        assert f'{fact} <strong data-fact="{fact}">' in answer.text
    for fact in ("model", "language", "duration", "rtfx"):
        assert f'data-fact="{fact}"' in answer.text
    assert "This ran on the CPU, not on the GPU." in answer.text
    assert "Install it." in answer.text
    assert answer.headers["X-Gpu-Used"] == "false"
    assert answer.vary.as_set() >= {"accept"}


def test_text_of_the_engine_is_escaped_in_the_page(client: FlaskClient) -> None:
    answer = post_file(client, accept=BROWSER, name="<img src=x onerror=alert(1)>.wav")

    assert "<b>more</b>" not in answer.text
    assert "&lt;b&gt;more&lt;/b&gt;" in answer.text
    assert "<img src=x" not in answer.text


@pytest.mark.parametrize(
    ("accept", "mimetype"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("application/json, text/html;q=0.5", "application/json"),
        ("text/html", "text/html"),
        (BROWSER, "text/html"),
    ],
)
def test_form_of_the_answer_follows_accept(client: FlaskClient, accept: str, mimetype: str) -> None:
    assert post_file(client, accept=accept).mimetype == mimetype


def test_named_format_wins_over_accept(client: FlaskClient) -> None:
    assert post_file(client, accept=BROWSER, response_format="srt").mimetype == "application/x-subrip"


def test_alias_file_is_accepted(client: FlaskClient, service: FakeService) -> None:
    answer = post_file(client, b"bytes of the file", field="file")

    assert answer.status_code == 200
    assert service.received[answer.json["job_id"]] == b"bytes of the file"


def test_options_reach_the_service_from_query_and_form(client: FlaskClient, service: FakeService) -> None:
    answer = post_file(
        client,
        query="?task=translate&beam_size=2&language=de",
        beam_size="3",
        use_gpu="OFF",
        language="French",
        temperature="0.5",
        word_timestamps="yes",
        initial_prompt=" Kennedy ",
        hotwords="",
    )

    request = service.jobs[answer.json["job_id"]].request
    assert request.model == "base"
    assert request.use_gpu is False
    assert request.options.task == "translate"
    assert request.options.beam_size == 3
    assert request.options.language == "fr"
    assert request.options.temperature == 0.5
    assert request.options.word_timestamps is True
    assert request.options.initial_prompt == "Kennedy"
    assert request.options.hotwords is None
    assert request.options.vad_filter is True


def test_unknown_fields_are_named_in_the_warnings(client: FlaskClient) -> None:
    answer = post_file(client, best_of="5", query="?patience=2")

    assert [notice["param"] for notice in answer.json["warnings"]] == ["best_of", "patience"]


def test_wrong_value_is_422_with_name_value_and_what_is_allowed(
    client: FlaskClient, service: FakeService
) -> None:
    answer = post_file(client, beam_size="11")

    assert answer.status_code == 422
    error = answer.json["error"]
    assert error["code"] == "invalid_parameter"
    assert error["param"] == "beam_size"
    assert "'11'" in error["message"]
    assert "a whole number from 1 to 10" in error["message"]
    assert list(service.spool.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "status"),
    [(ModelNotFoundError(), 404), (GpuRequiredError(), 503)],
)
def test_refusal_at_submission_leaves_nothing_in_the_spool(
    client: FlaskClient, service: FakeService, error: Exception, status: int
) -> None:
    service.submit_error = error  # type: ignore[assignment]

    assert post_file(client).status_code == status
    assert list(service.spool.iterdir()) == []


def test_failed_job_answers_with_its_error_and_keeps_its_row(
    client: FlaskClient, service: FakeService
) -> None:
    service.job_error = EngineCrashedError()

    answer = post_file(client)

    assert answer.status_code == 503
    assert answer.json["error"]["code"] == "engine_crashed"
    assert [job.status.value for job in service.jobs.values()] == ["failed"]


def test_request_id_goes_into_the_job_and_back(client: FlaskClient, service: FakeService) -> None:
    answer = post_file(client)

    job = service.jobs[answer.json["job_id"]]
    assert job.request_id == answer.headers["X-Request-ID"]
    assert job.file_name == "speech.wav"


@pytest.mark.parametrize(("fields", "status"), [({}, "cancelled"), ({"detach": "true"}, "queued")])
def test_client_that_goes_away_cancels_its_job_unless_it_detached(
    client: FlaskClient, service: FakeService, fields: dict[str, str], status: str
) -> None:
    service.release.clear()
    server, sender = socket.socketpair()
    sender.close()

    with server:
        answer = post_file(client, environ={"gunicorn.socket": server}, **fields)

    [job] = service.jobs.values()
    assert job.status.value == status
    assert answer.status_code == 409
    service.release.set()
