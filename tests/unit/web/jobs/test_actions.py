"""Cancelling, removing and retrying jobs, as a program and as a form of a page."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from fakes import FakeService
from transcriber.domain.jobs import JobError, JobStatus
from transcriber.domain.options import TranscriptionOptions, TranscriptionRequest, VadParameters
from transcriber.jobs.ids import new_job_id
from uploading import BROWSER

REQUEST = TranscriptionRequest(model="base", use_gpu=True, require_gpu=False, options=TranscriptionOptions())
ERROR = JobError(code="engine_crashed", message="it died", fix="")
PAGE = {"Accept": BROWSER}


def add(service: FakeService, status: JobStatus, **changes: object) -> str:
    error = ERROR if status is JobStatus.FAILED else None
    return service.add_job(new_job_id(), REQUEST, status=status, error=error, **changes).id


@pytest.mark.parametrize("status", [JobStatus.QUEUED, JobStatus.RUNNING])
def test_delete_cancels_what_has_not_ended(
    client: FlaskClient, service: FakeService, status: JobStatus
) -> None:
    job_id = add(service, status)

    answer = client.delete(f"/jobs/{job_id}")

    assert answer.status_code == 200
    assert answer.json["status"] == "cancelled"
    assert service.jobs[job_id].status is JobStatus.CANCELLED


@pytest.mark.parametrize("status", [JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED])
def test_delete_of_a_finished_job_is_409(
    client: FlaskClient, service: FakeService, status: JobStatus
) -> None:
    job_id = add(service, status)

    answer = client.delete(f"/jobs/{job_id}")

    assert answer.status_code == 409
    assert answer.json["error"]["code"] == "job_finished"
    assert "purge=true" in answer.json["error"]["fix"]
    assert job_id in service.jobs


def test_purge_removes_a_finished_job(client: FlaskClient, service: FakeService) -> None:
    job_id = add(service, JobStatus.CANCELLED)

    answer = client.delete(f"/jobs/{job_id}?purge=true")

    assert answer.status_code == 204
    assert answer.data == b""
    assert client.get(f"/jobs/{job_id}").status_code == 404


def test_purge_of_a_running_job_is_409(client: FlaskClient, service: FakeService) -> None:
    job_id = add(service, JobStatus.RUNNING)

    assert client.delete(f"/jobs/{job_id}?purge=1").status_code == 409
    assert service.jobs[job_id].status is JobStatus.RUNNING


def test_odd_purge_is_422(client: FlaskClient, service: FakeService) -> None:
    job_id = add(service, JobStatus.CANCELLED)

    answer = client.delete(f"/jobs/{job_id}?purge=perhaps")

    assert answer.status_code == 422
    assert answer.json["error"]["param"] == "purge"
    assert job_id in service.jobs


def test_failed_job_is_tried_again(client: FlaskClient, service: FakeService) -> None:
    job_id = add(service, JobStatus.FAILED)

    answer = client.post(f"/jobs/{job_id}/retry")

    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/jobs/{job_id}"
    assert answer.json["status"] == "queued"
    assert answer.json["error"] is None


def test_only_failed_jobs_are_tried_again(client: FlaskClient, service: FakeService) -> None:
    answer = client.post(f"/jobs/{add(service, JobStatus.CANCELLED)}/retry")

    assert answer.status_code == 409
    assert answer.json["error"]["code"] == "job_not_failed"


def test_retry_without_its_upload_is_410(client: FlaskClient, service: FakeService) -> None:
    job_id = add(service, JobStatus.FAILED, has_upload=False)

    answer = client.post(f"/jobs/{job_id}/retry")
    page = client.get("/jobs", headers=PAGE).text

    assert answer.status_code == 410
    assert answer.json["error"]["code"] == "upload_gone"
    assert "/retry" not in page


def test_retry_with_another_model_keeps_what_only_openais_fields_can_say(
    client: FlaskClient, service: FakeService
) -> None:
    options = TranscriptionOptions(
        language="de",
        diarize=True,
        known_speakers=("Ada",),
        token_logprobs=True,
        vad_parameters=VadParameters(threshold=0.3),
    )
    request = TranscriptionRequest(model="base", use_gpu=False, require_gpu=False, options=options)
    job_id = service.add_job(new_job_id(), request, status=JobStatus.FAILED, error=ERROR).id

    answer = client.post(f"/jobs/{job_id}/retry", data={"model": "tiny.en"})

    again = service.jobs[answer.json["job_id"]].request
    assert (again.model, again.options, again.ignored) == ("tiny.en", options, ())


@pytest.mark.parametrize(
    ("status", "action", "target"),
    [
        (JobStatus.RUNNING, "cancel", "/jobs/{}"),
        (JobStatus.FAILED, "retry", "/jobs/{}"),
        (JobStatus.SUCCEEDED, "delete", "/jobs"),
    ],
)
def test_forms_of_the_pages_lead_back_to_a_page(
    client: FlaskClient, service: FakeService, status: JobStatus, action: str, target: str
) -> None:
    job_id = add(service, status)

    answer = client.post(f"/jobs/{job_id}/{action}", headers=PAGE)

    assert answer.status_code == 303
    assert answer.headers["Location"] == target.format(job_id)


@pytest.mark.parametrize(("action", "status"), [("cancel", 200), ("delete", 204)])
def test_forms_answer_programs_too(
    client: FlaskClient, service: FakeService, action: str, status: int
) -> None:
    job_id = add(service, JobStatus.RUNNING if action == "cancel" else JobStatus.FAILED)

    assert client.post(f"/jobs/{job_id}/{action}").status_code == status


@pytest.mark.parametrize("action", ["cancel", "retry", "delete"])
def test_page_of_another_site_changes_nothing(client: FlaskClient, service: FakeService, action: str) -> None:
    job_id = add(service, JobStatus.RUNNING if action == "cancel" else JobStatus.FAILED)
    before = dict(service.jobs)

    answer = client.post(f"/jobs/{job_id}/{action}", headers={"Origin": "https://evil.example"})

    assert answer.status_code == 403
    assert service.jobs == before


@pytest.mark.parametrize("job_id", ["job_" + "a" * 22, "x"])
def test_unknown_job_is_404_for_every_action(client: FlaskClient, job_id: str) -> None:
    answers = [
        client.delete(f"/jobs/{job_id}"),
        client.delete(f"/jobs/{job_id}?purge=true"),
        *(client.post(f"/jobs/{job_id}/{action}") for action in ("cancel", "retry", "delete")),
    ]

    assert [answer.status_code for answer in answers] == [404] * 5
