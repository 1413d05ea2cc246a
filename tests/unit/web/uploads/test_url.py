"""POST /jobs with `url` in place of a file."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from fakes import FakeService
from transcriber.domain.errors import UrlNotAllowedError
from transcriber.web.file_names import name_of_url
from uploading import BROWSER, post_file

URL = "https://media.example/talks/Rede%20%C3%BCber.mp3?token=secret"


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data"])
def test_url_becomes_a_job_with_its_options(client: FlaskClient, service: FakeService, kind: str) -> None:
    answer = client.post("/jobs", data={"url": URL, "language": "de", "priority": "5"}, content_type=kind)

    assert answer.status_code == 202, answer.text
    job = service.jobs[answer.json["job_id"]]
    assert job.request.url == URL and job.request.options.language == "de" and job.priority == 5
    assert job.file_name == "Rede über.mp3" and answer.json["file_name"] == "Rede über.mp3"


def test_answer_shows_the_url_without_its_query(client: FlaskClient) -> None:
    answer = client.post("/jobs", data={"url": URL})

    assert answer.json["url"] == "https://media.example/talks/Rede%20%C3%BCber.mp3"
    assert "secret" not in answer.text
    assert post_file(client).json.get("url") is None


def test_form_of_a_page_leads_to_the_job(client: FlaskClient) -> None:
    answer = client.post("/jobs", data={"url": URL, "audio": ""}, headers={"Accept": BROWSER})

    assert answer.status_code == 303 and answer.headers["Location"].startswith("/jobs/job_")


def test_file_and_url_at_once_are_refused(client: FlaskClient, service: FakeService) -> None:
    answer = post_file(client, path="/jobs", url=URL)

    assert (answer.status_code, answer.json["error"]["param"]) == (422, "url")
    assert service.jobs == {}


def test_url_that_is_not_allowed_is_403_and_leaves_nothing(client: FlaskClient, service: FakeService) -> None:
    service.submit_error = UrlNotAllowedError()

    answer = client.post("/jobs", data={"url": "http://127.0.0.1/x"})

    assert (answer.status_code, answer.json["error"]["code"]) == (403, "url_not_allowed")
    assert "WHISPER_SOURCE_ALLOW_CIDR" in answer.json["error"]["fix"]
    assert list(service.spool.iterdir()) == []


def test_same_key_makes_one_job(client: FlaskClient, service: FakeService) -> None:
    send = {"data": {"url": URL}, "headers": {"Idempotency-Key": "k1"}}
    first, second = client.post("/jobs", **send), client.post("/jobs", **send)
    other = client.post("/jobs", data={"url": URL + "2"}, headers={"Idempotency-Key": "k1"})

    assert first.json["job_id"] == second.json["job_id"] and len(service.jobs) == 1
    assert second.headers["Idempotency-Replayed"] == "true"
    assert other.json["error"]["code"] == "idempotency_key_reused"


def test_url_is_no_file_for_the_synchronous_route(client: FlaskClient) -> None:
    answer = client.post("/transcribe", data={"url": URL})

    assert answer.json["error"]["code"] == "missing_audio"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (URL, "Rede über.mp3"),
        ("https://media.example/", "media.example"),
        ("https://media.example", "media.example"),
        ("https://media.example/a/b/", "b"),
        ("http://[::1", ""),
        ("http://a℀b/", ""),
    ],
)
def test_file_is_called_as_the_url_ends(url: str, name: str) -> None:
    assert name_of_url(url) == name
