"""GET /jobs/archive: several transcripts in one zip file."""

from __future__ import annotations

import io
import zipfile

import pytest
from flask.testing import FlaskClient

from fakes import FakeService
from transcriber.domain.jobs import JobStatus
from transcriber.domain.options import TranscriptionOptions, TranscriptionRequest
from transcriber.jobs.ids import new_job_id
from transcriber.web.transcripts.archive import MAX_JOBS
from uploading import post_file

REQUEST = TranscriptionRequest(model="base", use_gpu=True, require_gpu=False, options=TranscriptionOptions())


def test_archive_has_each_transcript_under_its_name(client: FlaskClient) -> None:
    first = post_file(client, name="talk.mp3").json["job_id"]
    second = post_file(client, name="Talk.wav").json["job_id"]
    client.patch(f"/jobs/{second}", json={"title": "talk"})

    with client.get("/jobs/archive", query_string={"job": [first, second], "format": "srt"}) as answer:
        content = answer.data
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        single = client.get(f"/jobs/{first}/transcript.srt?line_length=42").data

        assert archive.namelist() == ["talk.srt", "talk (2).srt"]
        assert archive.read("talk.srt") == single
    assert answer.mimetype == "application/zip"
    assert answer.content_length == len(content)
    assert answer.headers["Content-Disposition"] == "attachment; filename=transcripts.zip"


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("", "job"),
        ("format=srt", "job"),
        ("job=x&format=pdf", "format"),
        ("&".join(f"job={number}" for number in range(MAX_JOBS + 1)), "job"),
    ],
)
def test_odd_archive_query_is_422_that_names_it(client: FlaskClient, query: str, param: str) -> None:
    answer = client.get(f"/jobs/archive?{query}")

    assert answer.status_code == 422
    assert answer.json["error"]["param"] == param


def test_archive_of_an_unfinished_job_is_409(client: FlaskClient, service: FakeService) -> None:
    done = post_file(client).json["job_id"]
    job = service.add_job(new_job_id(), REQUEST, status=JobStatus.RUNNING)

    answer = client.get(f"/jobs/archive?job={done}&job={job.id}")

    assert answer.status_code == 409
    assert answer.json["error"]["code"] == "job_not_finished"


def test_archive_with_an_unknown_job_is_404(client: FlaskClient) -> None:
    assert client.get(f"/jobs/archive?job={new_job_id()}").status_code == 404
