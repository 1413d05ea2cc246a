"""POST /jobs, and what an Idempotency-Key and detach=true mean on both ways in."""

from __future__ import annotations

import threading

import pytest
from flask.testing import FlaskClient

from fakes import FakeService
from transcriber.domain.errors import QueueFullError, StorageFullError
from uploading import BROWSER, post_file

SECRET = "a secret of some length"


def test_submission_is_202_with_location_and_place(client: FlaskClient, service: FakeService) -> None:
    service.release.clear()

    answer = post_file(client, b"the bytes", path="/jobs", priority="7", best_of="5")

    assert answer.status_code == 202
    job = service.jobs[answer.json["job_id"]]
    assert answer.headers["Location"] == f"/jobs/{job.id}"
    assert answer.json["status"] == "queued"
    assert answer.json["position"] == 1
    assert answer.json["estimated_wait_seconds"] == 30.0
    assert service.received[job.id] == b"the bytes"
    assert job.priority == 7
    assert job.is_awaited is False
    assert job.request.ignored == ("best_of",)


def test_response_format_means_nothing_for_a_job(client: FlaskClient, service: FakeService) -> None:
    answer = post_file(client, path="/jobs", response_format="srt")

    assert service.jobs[answer.json["job_id"]].request.ignored == ("response_format",)


def test_browser_is_sent_to_the_page_of_the_job(client: FlaskClient) -> None:
    answer = post_file(client, path="/jobs", accept=BROWSER)

    assert answer.status_code == 303
    assert client.get(answer.headers["Location"], headers={"Accept": BROWSER}).status_code == 200


def test_webhook_reaches_the_service(client: FlaskClient, service: FakeService) -> None:
    url = "https://hooks.example/in?token=1"

    answer = post_file(client, path="/jobs", webhook_url=url, webhook_secret=SECRET)

    webhook = service.jobs[answer.json["job_id"]].webhook
    assert webhook is not None
    assert (webhook.url, webhook.secret) == (url, SECRET)
    assert SECRET not in answer.text


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"priority": "101"}, "priority"),
        ({"priority": "-101"}, "priority"),
        ({"priority": "high"}, "priority"),
        ({"webhook_url": "ftp://hooks.example/"}, "webhook_url"),
        ({"webhook_url": "hooks.example"}, "webhook_url"),
        ({"webhook_url": "https://me:pw@hooks.example/"}, "webhook_url"),
        ({"webhook_url": "https://hooks.example/" + "x" * 2048}, "webhook_url"),
        ({"webhook_secret": SECRET}, "webhook_secret"),
        ({"webhook_url": "https://hooks.example/", "webhook_secret": "sh0rt"}, "webhook_secret"),
        ({"webhook_url": "https://hooks.example/", "webhook_secret": "x" * 201}, "webhook_secret"),
    ],
)
def test_odd_terms_are_422_that_names_the_field(
    client: FlaskClient, service: FakeService, fields: dict[str, str], param: str
) -> None:
    answer = post_file(client, path="/jobs", **fields)

    assert answer.status_code == 422
    assert answer.json["error"]["param"] == param
    assert fields.get("webhook_secret", "nothing secret") not in answer.text
    assert service.jobs == {}
    assert list(service.spool.iterdir()) == []


@pytest.mark.parametrize(("error", "status"), [(QueueFullError(), 429), (StorageFullError(), 507)])
def test_no_room_is_said_with_retry_after(
    client: FlaskClient, service: FakeService, error: Exception, status: int
) -> None:
    error.retry_after = 77  # type: ignore[attr-defined]
    service.begin_error = error  # type: ignore[assignment]

    answer = post_file(client, path="/jobs")

    assert answer.status_code == status
    assert answer.headers["Retry-After"] == "77"


@pytest.mark.parametrize("path", ["/jobs", "/transcribe"])
def test_same_key_is_the_same_job(client: FlaskClient, service: FakeService, path: str) -> None:
    first = post_file(client, path=path, key="k-1", beam_size="3")
    second = post_file(client, path=path, key="k-1", beam_size="3")

    assert second.status_code == first.status_code
    assert second.json == first.json
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert len(service.jobs) == 1
    assert list(service.spool.iterdir()) == []


@pytest.mark.parametrize(
    "changed",
    [{"data": b"other bytes"}, {"beam_size": "4"}, {"path": "/transcribe"}, {"priority": "1"}],
    ids=["file", "option", "address", "terms"],
)
def test_key_reused_for_something_else_is_422(
    client: FlaskClient, service: FakeService, changed: dict[str, object]
) -> None:
    post_file(client, key="k-1", path="/jobs", beam_size="3")

    answer = post_file(client, **({"key": "k-1", "path": "/jobs", "beam_size": "3"} | changed))  # type: ignore[arg-type]

    assert answer.status_code == 422
    assert answer.json["error"]["code"] == "idempotency_key_reused"
    assert len(service.jobs) == 1
    assert list(service.spool.iterdir()) == []


@pytest.mark.parametrize("key", ["", "x" * 256, "with space", "umläut"])
def test_odd_key_is_422_before_the_file_is_read(client: FlaskClient, service: FakeService, key: str) -> None:
    answer = post_file(client, path="/jobs", key=key)

    assert answer.status_code == 422
    assert answer.json["error"]["param"] == "Idempotency-Key"
    assert service.received == {}


def test_key_of_255_characters_is_taken(client: FlaskClient) -> None:
    assert post_file(client, path="/jobs", key="~" * 255).status_code == 202


def test_without_a_key_the_same_file_is_another_job(client: FlaskClient, service: FakeService) -> None:
    post_file(client, path="/jobs")
    post_file(client, path="/jobs")

    assert len(service.jobs) == 2
    assert all(job.fingerprint is None for job in service.jobs.values())


def test_race_for_a_key_gives_the_winner_to_both(client: FlaskClient, service: FakeService) -> None:
    """The store decides: submit() may answer with the job that was first."""
    winner = post_file(client, path="/jobs", key="k").json["job_id"]
    service.find_submitted = lambda key, fingerprint: None  # type: ignore[method-assign]
    service.submit = lambda *args, **kwargs: service.jobs[winner]  # type: ignore[method-assign]

    answer = post_file(client, path="/jobs", key="k")

    assert answer.json["job_id"] == winner
    assert answer.headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize(("fields", "is_awaited"), [({}, True), ({"detach": "true"}, False)])
def test_awaited_unless_detached(
    client: FlaskClient, service: FakeService, fields: dict[str, str], is_awaited: bool
) -> None:
    answer = post_file(client, **fields)

    assert service.jobs[answer.json["job_id"]].is_awaited is is_awaited


def test_repeated_transcribe_waits_for_the_running_job(app: object, service: FakeService) -> None:
    service.release.clear()
    answers = []
    clients = [app.test_client() for _ in range(2)]  # type: ignore[attr-defined]
    threads = [threading.Thread(target=lambda c=c: answers.append(post_file(c, key="same"))) for c in clients]
    threads[0].start()
    with service._changed:
        assert service._changed.wait_for(lambda: len(service.jobs) == 1, 10)
    threads[1].start()
    service.release.set()
    for thread in threads:
        thread.join(20)

    assert [answer.status_code for answer in answers] == [200, 200]
    assert len(service.jobs) == 1
