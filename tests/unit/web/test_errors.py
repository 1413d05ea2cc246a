"""One body for every error, one status for every class, one line in the docs for every code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from structlog.testing import capture_logs
from werkzeug.test import TestResponse

from fakes import FakeService, make_application
from transcriber.domain.errors import EngineFailedError, GpuRequiredError, QueueFullError, TranscriberError
from transcriber.domain.errors.stored import iter_classes
from transcriber.web import create_app, errors
from transcriber.web.forms import JobForm, JobsQuery, TranscriptionForm
from uploading import BROWSER, post_file

API_DOCS = Path(__file__).parents[3] / "docs" / "api.md"
CLASSES = list(iter_classes())
FIELDS = {"code", "message", "param", "type", "fix"}


def assert_error_shape(answer: TestResponse, status: int, code: str) -> None:
    assert answer.status_code == status
    assert answer.mimetype == "application/json"
    assert set(answer.json) == {"error"}
    assert set(answer.json["error"]) == FIELDS
    assert answer.json["error"]["code"] == code
    assert answer.json["error"]["message"]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_class_has_code_status_and_line_in_the_docs(kind: type[TranscriberError]) -> None:
    error = kind.__new__(kind)
    TranscriberError.__init__(error)

    assert 400 <= errors.status_of(error) <= 599
    assert f"| `{kind.code}` | {errors.status_of(error)} |" in API_DOCS.read_text()


def test_codes_are_unique() -> None:
    codes = [kind.code for kind in CLASSES]

    assert sorted(codes) == sorted(set(codes))


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_stored_error_has_the_status_of_its_class(kind: type[TranscriberError]) -> None:
    live = kind.__new__(kind)
    TranscriberError.__init__(live)
    stored = TranscriberError("what happened", code=kind.code)

    assert errors.status_of(stored) == errors.status_of(live)


def test_unknown_stored_code_is_500() -> None:
    assert errors.status_of(TranscriberError("?", code="never_heard_of")) == 500


def test_custom_code_keeps_the_status_of_its_class() -> None:
    assert errors.status_of(GpuRequiredError("no", code="cublas_missing")) == 503


def test_unknown_address_is_404(client: FlaskClient) -> None:
    assert_error_shape(client.get("/nothing/here"), 404, "not_found")


def test_wrong_method_is_405_with_allow(client: FlaskClient) -> None:
    answer = client.get("/transcribe")

    assert_error_shape(answer, 405, "method_not_allowed")
    assert "POST" in answer.headers["Allow"]
    assert "POST" in answer.json["error"]["fix"]


def test_too_many_fields_have_the_same_shape(client: FlaskClient) -> None:
    assert_error_shape(post_file(client, **{f"f{i}": "1" for i in range(90)}), 413, "limit_exceeded")


@pytest.mark.parametrize("path", ["/nothing", "/transcribe", "/jobs/job_" + "x" * 24])
def test_browsers_get_errors_as_pages(client: FlaskClient, path: str) -> None:
    answer = client.get(path, headers={"Accept": BROWSER})

    assert answer.status_code in (404, 405)
    assert answer.mimetype == "text/html"
    assert f"<code>{answer.status_code} " in answer.text


def test_unforeseen_failure_tells_nothing_of_itself_and_is_logged(
    client: FlaskClient, service: FakeService
) -> None:
    service.begin_error = RuntimeError("secret path /root/.key")  # type: ignore[assignment]

    with capture_logs() as logs:
        answer = post_file(client)

    assert_error_shape(answer, 500, "internal_error")
    assert "secret" not in answer.text
    assert answer.headers["X-Request-ID"] in answer.json["error"]["fix"]
    assert answer.headers["X-Should-Retry"] == "false"
    failed = next(line for line in logs if line["event"] == "request_failed")
    assert failed["request_id"] == answer.headers["X-Request-ID"]
    assert isinstance(failed["exc_info"], RuntimeError)


def test_unforeseen_failure_is_a_page_for_browsers(client: FlaskClient, service: FakeService) -> None:
    service.begin_error = RuntimeError("secret")  # type: ignore[assignment]

    answer = post_file(client, accept=BROWSER)

    assert answer.status_code == 500
    assert answer.mimetype == "text/html"
    assert "secret" not in answer.text


def test_error_text_is_escaped_in_pages(client: FlaskClient, service: FakeService) -> None:
    service.submit_error = EngineFailedError("<script>alert(1)</script>", fix="<i>no</i>")

    answer = post_file(client, accept=BROWSER)

    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;alert(1)" in answer.text


@pytest.mark.parametrize(
    ("error", "should_retry"),
    [(EngineFailedError(), None), (TranscriberError(), "false"), (QueueFullError(), None)],
)
def test_deterministic_server_errors_forbid_retries(
    client: FlaskClient, service: FakeService, error: TranscriberError, should_retry: str | None
) -> None:
    service.submit_error = error

    assert post_file(client).headers.get("X-Should-Retry") == should_retry


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "server_error"),
        (507, "server_error"),
    ],
)
def test_type_is_the_word_openai_clients_know(status: int, kind: str) -> None:
    assert errors.type_of(status) == kind


def test_every_route_has_its_line_in_the_docs(app: Flask) -> None:
    docs = API_DOCS.read_text()
    rules = {rule.rule for rule in app.url_map.iter_rules()}

    missing = [rule for rule in rules if f"`{rule.replace('<', '{').replace('>', '}')}`" not in docs]

    assert missing == []


def test_every_option_has_its_line_in_the_docs() -> None:
    docs = API_DOCS.read_text()
    models = (TranscriptionForm, JobForm, JobsQuery)
    names = {name for model in models for name in model.model_fields}

    assert [name for name in sorted(names) if f"| `{name}` |" not in docs] == []


def test_no_route_answers_an_error_without_the_shape(
    app: Flask, build_client: Callable[..., FlaskClient]
) -> None:
    """Every route, asked without its key, refuses in the one shape."""
    client = build_client(WHISPER_API_KEY="k")
    for rule in app.url_map.iter_rules():
        path = rule.rule.replace("<path:filename>", "x").replace("<job_id>", "x").replace("<ending>", "x")
        with client.open(path, method="GET") as answer:
            if answer.status_code >= 400 and not path.startswith(("/health", "/static")):
                assert_error_shape(answer, 401, "unauthorized")


def test_json_of_errors_is_json(tmp_path: Path) -> None:
    client = create_app(make_application(tmp_path / "s")).test_client()

    assert json.loads(client.get("/ü\x00").data)["error"]["code"] == "not_found"
