"""The event stream of a job: its form, where it begins, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice

import pytest
from flask.testing import FlaskClient

from fakes import FakeService
from transcriber.domain.feed import FeedEvent
from transcriber.domain.options import TranscriptionOptions, TranscriptionRequest
from transcriber.jobs.ids import new_job_id
from transcriber.web.jobs.stream import encoded

REQUEST = TranscriptionRequest(model="base", use_gpu=True, require_gpu=False, options=TranscriptionOptions())


@pytest.fixture
def job_id(service: FakeService) -> str:
    """A running job with two segments."""
    job = service.add_job(new_job_id(), REQUEST)
    service.start(job.id)
    service.progress(job.id, 10)
    service.say(job.id, " one\n\ndata: forged")
    service.say(job.id, " two")
    return job.id


def parse(text: str) -> list[dict[str, str]]:
    """Events as a browser reads them; comments and `retry` are left out."""
    blocks = [dict(line.split(": ", 1) for line in block.split("\n")) for block in text.strip().split("\n\n")]
    return [block for block in blocks if "event" in block]


def test_stream_tells_everything_up_to_the_end(
    client: FlaskClient, service: FakeService, job_id: str
) -> None:
    service.finish(job_id)

    answer = client.get(f"/jobs/{job_id}/stream")

    assert answer.mimetype == "text/event-stream"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.text.startswith("retry: 2000\n\n")
    events = parse(answer.text)
    assert [(event["event"], event.get("id")) for event in events] == [
        ("progress", None),
        ("segment", "1"),
        ("segment", "2"),
        ("done", "3"),
    ]
    assert json.loads(events[1]["data"])["text"] == " one\n\ndata: forged"


@pytest.mark.parametrize(
    ("query", "headers", "ids"),
    [
        ("?last_event_id=1", {}, ["2", "3"]),
        ("", {"Last-Event-ID": "2"}, ["3"]),
        ("?last_event_id=0", {"Last-Event-ID": "2"}, ["3"]),
        ("?last_event_id=", {}, ["1", "2", "3"]),
    ],
)
def test_stream_goes_on_after_the_last_event(
    client: FlaskClient,
    service: FakeService,
    job_id: str,
    query: str,
    headers: dict[str, str],
    ids: list[str],
) -> None:
    service.finish(job_id)

    answer = client.get(f"/jobs/{job_id}/stream{query}", headers=headers)

    assert [event["id"] for event in parse(answer.text) if "id" in event] == ids


@pytest.mark.parametrize("given", ["x", "-1", "1.5", "²", "9" * 20])
def test_odd_last_event_id_is_422(client: FlaskClient, job_id: str, given: str) -> None:
    answer = client.get(f"/jobs/{job_id}/stream", query_string={"last_event_id": given})

    assert answer.status_code == 422
    assert answer.json["error"]["param"] == "last_event_id"


def test_nothing_left_is_204_so_that_browsers_stop(client: FlaskClient, service: FakeService) -> None:
    job = service.add_job(new_job_id(), REQUEST)
    service.say(job.id, " one")
    service.finish(job.id)

    assert client.get(f"/jobs/{job.id}/stream?last_event_id=2").status_code == 204
    assert client.get(f"/jobs/{job.id}/stream?last_event_id=1").status_code == 200


def test_cancelled_job_ends_with_an_error_event(
    client: FlaskClient, service: FakeService, job_id: str
) -> None:
    service.cancel(job_id)

    assert parse(client.get(f"/jobs/{job_id}/stream").text)[-1]["event"] == "error"


def test_silence_is_filled_with_comments(client: FlaskClient, service: FakeService, job_id: str) -> None:
    service.heartbeat_seconds = 0.01

    with client.get(f"/jobs/{job_id}/stream?last_event_id=2") as answer:
        lines: Iterator[bytes] = iter(answer.response)  # type: ignore[arg-type]
        first = list(islice(lines, 4))

    assert first[0] == b"retry: 2000\n\n"
    assert b": still here\n\n" in first


def test_stream_ends_when_the_service_stops(client: FlaskClient, service: FakeService, job_id: str) -> None:
    service.stop()

    assert [event["event"] for event in parse(client.get(f"/jobs/{job_id}/stream").text)] == [
        "progress",
        "segment",
        "segment",
    ]


def test_unknown_job_has_no_stream(client: FlaskClient) -> None:
    assert client.get(f"/jobs/{new_job_id()}/stream").status_code == 404


def test_event_is_one_block_whatever_its_text() -> None:
    event = FeedEvent(kind="segment", data={"text": "a\r\nb\u2028c\n\nevent: done"}, number=3)

    assert encoded(event) == ('id: 3\nevent: segment\ndata: {"text": "a\\r\\nb\u2028c\\n\\nevent: done"}\n\n')
