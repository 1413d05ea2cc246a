"""/jobs/{id}: status, result page and downloads."""

from __future__ import annotations

import json

import pytest
from flask.testing import FlaskClient

from fakes import FakeService
from transcriber.domain.jobs import JobError, JobStatus
from transcriber.domain.options import TranscriptionOptions, TranscriptionRequest
from transcriber.jobs.ids import new_job_id
from transcriber.web.file_names import MAX_NAME, download_name, shown_name
from uploading import BROWSER, post_file

REQUEST = TranscriptionRequest(model="base", use_gpu=True, require_gpu=False, options=TranscriptionOptions())
HOSTILE_IDS = ["x", "job_", "job_../../etc/passwd", "job_%2e%2e", "job_" + "a" * 65, "job_" + "\u202e" * 24]


@pytest.fixture
def done(client: FlaskClient) -> str:
    """The id of a job that succeeded."""
    return str(post_file(client, name="Rede über Bären.mp3").json["job_id"])


def test_finished_job_shows_its_transcription(client: FlaskClient, done: str) -> None:
    answer = client.get(f"/jobs/{done}")

    assert answer.json["status"] == "succeeded"
    assert answer.json["file_name"] == "Rede über Bären.mp3"
    assert answer.json["created_at"] == "2026-11-21T12:00:00+00:00"
    assert answer.json["transcription"]["gpu_used"] is False
    assert answer.json["error"] is None
    assert answer.headers["X-Gpu-Used"] == "false"
    assert answer.headers["X-Job-Id"] == done


def test_links_of_a_finished_job_work(client: FlaskClient, done: str) -> None:
    links = client.get(f"/jobs/{done}").json["links"]

    assert set(links) == {"self", "txt", "srt", "vtt", "tsv", "json", "verbose_json"}
    assert {client.get(link).status_code for link in links.values()} == {200}


def test_finished_job_is_a_page_for_browsers(client: FlaskClient, done: str) -> None:
    answer = client.get(f"/jobs/{done}", headers={"Accept": BROWSER})

    assert answer.mimetype == "text/html"
    assert "<dt>gpu_used</dt>" in answer.text
    assert f"/jobs/{done}/transcript.srt" in answer.text
    assert "0:02.5 – 0:04.0" in answer.text


@pytest.mark.parametrize("status", [JobStatus.QUEUED, JobStatus.RUNNING])
def test_unfinished_job_says_so(client: FlaskClient, service: FakeService, status: JobStatus) -> None:
    job = service.add_job(new_job_id(), REQUEST, status=status)

    answer = client.get(f"/jobs/{job.id}")
    page = client.get(f"/jobs/{job.id}", headers={"Accept": BROWSER})

    assert answer.json["status"] == status.value
    assert answer.json["transcription"] is None
    assert set(answer.json["links"]) == {"self"}
    assert 'http-equiv="refresh"' in page.text


def test_failed_job_shows_its_error(client: FlaskClient, service: FakeService) -> None:
    error = JobError(code="undecodable_media", message="No <audio> in it.", fix="Send audio.")
    job = service.add_job(new_job_id(), REQUEST, status=JobStatus.FAILED, error=error)

    answer = client.get(f"/jobs/{job.id}")
    page = client.get(f"/jobs/{job.id}", headers={"Accept": BROWSER})

    assert answer.status_code == 200
    assert answer.json["error"] == {
        "code": "undecodable_media",
        "message": "No <audio> in it.",
        "param": None,
        "fix": "Send audio.",
    }
    assert "No &lt;audio&gt; in it." in page.text
    assert "refresh" not in page.text


def test_cancelled_job_is_a_page(client: FlaskClient, service: FakeService) -> None:
    job = service.add_job(new_job_id(), REQUEST, status=JobStatus.CANCELLED)

    assert "was cancelled" in client.get(f"/jobs/{job.id}", headers={"Accept": BROWSER}).text


@pytest.mark.parametrize("job_id", [new_job_id(), *HOSTILE_IDS])
@pytest.mark.parametrize("rest", ["", "/transcript.srt"])
def test_unknown_job_is_404(client: FlaskClient, job_id: str, rest: str) -> None:
    answer = client.get(f"/jobs/{job_id}{rest}")

    assert answer.status_code == 404
    assert answer.json["error"]["code"] in ("job_not_found", "not_found")


@pytest.mark.parametrize(
    ("ending", "mimetype", "extension"),
    [
        ("txt", "text/plain", "txt"),
        ("srt", "application/x-subrip", "srt"),
        ("vtt", "text/vtt", "vtt"),
        ("tsv", "text/tab-separated-values", "tsv"),
        ("json", "application/json", "json"),
        ("verbose_json", "application/json", "json"),
    ],
)
def test_transcript_downloads_as_an_attachment(
    client: FlaskClient, done: str, ending: str, mimetype: str, extension: str
) -> None:
    answer = client.get(f"/jobs/{done}/transcript.{ending}")

    assert answer.mimetype == mimetype
    disposition = answer.headers["Content-Disposition"]
    assert disposition.startswith("attachment; ")
    assert f'filename="Rede uber Baren.{extension}"' in disposition
    assert f"Rede%20%C3%BCber%20B%C3%A4ren.{extension}" in disposition
    assert answer.headers["X-Gpu-Used"] == "false"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_downloaded_json_is_the_answer(client: FlaskClient) -> None:
    posted = post_file(client).json

    assert json.loads(client.get(f"/jobs/{posted['job_id']}/transcript.json").data) == posted


def test_unknown_ending_is_404_that_lists_them(client: FlaskClient, done: str) -> None:
    answer = client.get(f"/jobs/{done}/transcript.docx")

    assert answer.status_code == 404
    assert "srt" in answer.json["error"]["fix"]


def test_transcript_of_an_unfinished_job_is_409(client: FlaskClient, service: FakeService) -> None:
    job = service.add_job(new_job_id(), REQUEST, status=JobStatus.RUNNING)

    answer = client.get(f"/jobs/{job.id}/transcript.txt")

    assert answer.status_code == 409
    assert answer.json["error"]["code"] == "job_not_finished"


@pytest.mark.parametrize(
    ("code", "status"), [("undecodable_media", 422), ("audio_too_long", 413), ("interrupted", 503)]
)
def test_transcript_of_a_failed_job_is_its_error(
    client: FlaskClient, service: FakeService, code: str, status: int
) -> None:
    error = JobError(code=code, message="no", fix="")
    job = service.add_job(new_job_id(), REQUEST, status=JobStatus.FAILED, error=error)

    answer = client.get(f"/jobs/{job.id}/transcript.txt")

    assert answer.status_code == status
    assert answer.json["error"]["code"] == code


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("speech.mp3", "speech.mp3"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\voice memo.m4a", "voice memo.m4a"),
        ("a\x00b\r\nc\x1b.wav", "abc.wav"),
        ("gpj.\u202egnp.exe", "gpj.gnp.exe"),
        ("", ""),
    ],
)
def test_shown_names_are_harmless(sent: str, shown: str) -> None:
    assert shown_name(sent) == shown


@pytest.mark.parametrize(
    ("file_name", "expected"),
    [
        ("speech.mp3", "speech.srt"),
        ("no ending", "no ending.srt"),
        (".hidden", "hidden.srt"),
        ("..", "job_1.srt"),
        ("", "job_1.srt"),
        ('a"b;c%d<e>.wav', "a_b_c_d_e_.srt"),
        ("x" * 4000 + ".wav", "x" * 80 + ".srt"),
    ],
)
def test_download_names_are_safe(file_name: str, expected: str) -> None:
    assert download_name(file_name, "job_1", "srt") == expected


def test_long_names_are_cut() -> None:
    assert len(shown_name("é" * 5000)) == MAX_NAME
