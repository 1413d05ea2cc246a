"""One log line per request, without anything that is nobody's business."""

from __future__ import annotations

from flask.testing import FlaskClient
from structlog.testing import capture_logs

from uploading import post_file


def test_request_is_logged_by_its_route(client: FlaskClient) -> None:
    with capture_logs() as logs:
        answer = client.get("/jobs/job_" + "x" * 24)

    [line] = [line for line in logs if line["event"] == "request_finished"]
    assert line["path"] == "/jobs/<job_id>"
    assert line["method"] == "GET"
    assert line["status"] == 404
    assert line["seconds"] >= 0
    assert line["request_id"] == answer.headers["X-Request-ID"]


def test_unknown_address_is_not_repeated_in_the_log(client: FlaskClient) -> None:
    with capture_logs() as logs:
        client.get("/token/abc123\nforged")

    assert logs[-1]["path"] == "(no route)"


def test_log_holds_no_prompts_and_no_text(client: FlaskClient) -> None:
    with capture_logs() as logs:
        post_file(client, query="?initial_prompt=private", hotwords="confidential")

    shown = repr(logs)
    assert "private" not in shown
    assert "confidential" not in shown
    assert "Ask not" not in shown
