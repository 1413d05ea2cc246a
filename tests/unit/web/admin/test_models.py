from __future__ import annotations

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from fakes import FakeApplication
from transcriber.domain.errors import DownloadRefusedError, EngineStartError, ModelBusyError
from transcriber.web.openapi.admin_answers import ModelAnswer, ModelsAnswer

HTML = {"Accept": "text/html"}


def test_models_are_listed_as_documented(client: FlaskClient) -> None:
    body = client.get("/models").json

    ModelsAnswer.model_validate(body)
    assert [model["id"] for model in body["models"]] == ["base", "tiny.en", "small", "someone/whisper"]
    assert set(body["memory"]) == {"cuda", "cpu"}


def test_one_model_also_with_a_slash_in_its_name(client: FlaskClient) -> None:
    answer = client.get("/models/someone/whisper")

    assert ModelAnswer.model_validate(answer.json).id == "someone/whisper"
    assert client.get("/models/nothing").json["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("path", "asked", "status", "state"),
    [
        ("/models/tiny.en/load", ("load", "cpu", "tiny.en"), 200, "loaded"),
        ("/models/tiny.en/load?device=cuda", ("load", "cuda", "tiny.en"), 200, "loaded"),
        ("/models/base/unload", ("unload", "None", "base"), 200, "unloaded"),
        ("/models/base/unload?device=cpu", ("unload", "cpu", "base"), 200, "unloaded"),
        ("/models/small/download", ("download", "small"), 202, "downloading"),
        ("/models/someone/whisper/load", ("load", "cpu", "someone/whisper"), 200, "loaded"),
    ],
)
def test_model_is_handled(
    client: FlaskClient,
    application: FakeApplication,
    path: str,
    asked: tuple[str, ...],
    status: int,
    state: str,
) -> None:
    answer = client.post(path)

    assert (answer.status_code, answer.json["state"], application.models.asked) == (status, state, [asked])
    ModelAnswer.model_validate(answer.json)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ModelBusyError(), 409, "model_busy"),
        (DownloadRefusedError(), 403, "model_download_refused"),
        (EngineStartError("No.", code="memory_too_small"), 503, "memory_too_small"),
    ],
)
def test_refusals_keep_their_codes(
    client: FlaskClient, application: FakeApplication, error: Exception, status: int, code: str
) -> None:
    application.models.error = error  # type: ignore[assignment]

    for action in ("load", "unload", "download"):
        answer = client.post(f"/models/base/{action}")
        assert (answer.status_code, answer.json["error"]["code"]) == (status, code)


def test_unknown_device_is_refused(client: FlaskClient) -> None:
    assert client.post("/models/base/load?device=tpu").status_code == 422


@pytest.mark.parametrize("action", ["load", "unload", "download"])
def test_browser_is_sent_to_the_page_and_waits_for_no_load(
    client: FlaskClient, application: FakeApplication, action: str
) -> None:
    answer = client.post(f"/models/tiny.en/{action}", headers=HTML)

    assert (answer.status_code, answer.location) == (303, "/diagnostics#models")
    assert application.models.asked[0][0] == ("begin_load" if action == "load" else action)


def test_foreign_pages_and_strangers_change_nothing(
    client: FlaskClient, application: FakeApplication, build_client: Callable[..., FlaskClient]
) -> None:
    assert client.post("/models/base/unload", headers={"Origin": "http://evil.example"}).status_code == 403
    locked = build_client(WHISPER_API_KEY="open sesame")
    assert locked.post("/models/base/unload").status_code == 401
    assert locked.get("/models").status_code == 401
    assert application.models.asked == []


def test_page_has_a_button_for_what_can_be_done(client: FlaskClient, application: FakeApplication) -> None:
    page = client.get("/diagnostics", headers=HTML).text

    assert 'action="/models/base/unload"' in page
    assert 'action="/models/tiny.en/load"' in page
    assert 'action="/models/small/download"' in page
    application.models.download("small")
    page = client.get("/diagnostics", headers=HTML).text
    assert '<progress max="100" value="25.0"' in page
    assert 'action="/models/small/download"' not in page
