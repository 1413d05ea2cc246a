"""GET /metrics, and what requests leave in it."""

from __future__ import annotations

from collections.abc import Callable

from flask.testing import FlaskClient

from fakes import FakeApplication
from metrics_example import families, value
from uploading import BROWSER


def test_page_is_prometheus_text_also_for_browsers(client: FlaskClient) -> None:
    for accept in ("*/*", BROWSER, "application/openmetrics-text;version=1.0.0,text/plain;version=x"):
        answer = client.get("/metrics", headers={"Accept": accept})

        assert answer.status_code == 200
        assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
        assert "# TYPE transcriber_jobs_total counter\n" in answer.text


def test_key_is_needed_like_anywhere(build_client: Callable[..., FlaskClient]) -> None:
    client = build_client(WHISPER_API_KEY="a-long-enough-key")

    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers={"Authorization": "Bearer a-long-enough-key"}).status_code == 200


def test_requests_are_counted_by_route_not_by_path(client: FlaskClient, application: FakeApplication) -> None:
    client.get("/jobs/job_secret_1")
    client.get("/jobs/job_secret_2")
    client.get("/no/such/page?token=secret")
    client.post("/health")

    def count(method: str, route: str, status: str) -> float | None:
        labels = {"method": method, "route": route, "status": status}
        return value(application.metrics, "transcriber_http_requests_total", **labels)

    assert count("GET", "/jobs/<job_id>", "404") == 2
    assert count("GET", "(no route)", "404") == 1
    assert count("POST", "(no route)", "405") == 1
    assert b"secret" not in application.metrics.render()


def test_refused_request_is_counted_and_timed(client: FlaskClient, application: FakeApplication) -> None:
    client.get("/", headers={"Host": "evil.example"})

    samples = families(application.metrics)["transcriber_http_requests_total"].samples
    assert [(s.labels["status"], s.value) for s in samples] == [("421", 1)]
    assert value(application.metrics, "transcriber_http_request_seconds_count", method="GET", route="/") == 1
