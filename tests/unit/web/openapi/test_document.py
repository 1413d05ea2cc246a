"""The OpenAPI document: complete, valid, and true to the answers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jsonschema_rs import validator_for
from pydantic import BaseModel

from fakes import FakeService
from transcriber.domain.jobs import JobError, JobStatus
from transcriber.domain.options import TranscriptionOptions, TranscriptionRequest
from transcriber.jobs.ids import new_job_id
from transcriber.web.forms import JobForm, TranscriptionForm
from transcriber.web.openapi.answers import ErrorAnswer, JobAnswer, JobPageAnswer, TranscriptionAnswer
from transcriber.web.openapi.document import make_document
from uploading import post_file

ROOT = Path(__file__).parents[4]
REQUEST = TranscriptionRequest(model="base", use_gpu=True, require_gpu=False, options=TranscriptionOptions())


@pytest.fixture
def document(client: FlaskClient) -> Any:
    return client.get("/openapi.json").json


def test_every_route_and_method_is_in_the_document(app: Flask, document: Any) -> None:
    served = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }

    described = {(path, method.upper()) for path, item in document["paths"].items() for method in item}

    assert described == served


def test_route_without_a_description_is_noticed(app: Flask) -> None:
    app.add_url_rule("/undescribed", view_func=lambda: "")

    with pytest.raises(LookupError, match="/undescribed"):
        make_document(app, needs_key=False)


def test_operation_ids_are_unique(document: Any) -> None:
    ids = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]

    assert sorted(ids) == sorted(set(ids))


def test_every_tag_has_its_place(document: Any) -> None:
    used = {tag for item in document["paths"].values() for one in item.values() for tag in one["tags"]}

    assert used == {tag["name"] for tag in document["tags"]}


def test_every_reference_leads_somewhere(document: Any) -> None:
    names = set(re.findall(r"#/components/schemas/(\w+)", repr(document)))

    assert names == set(document["components"]["schemas"])


def test_schemas_are_schemas(document: Any) -> None:
    for name in document["components"]["schemas"]:
        validator_for({"$ref": f"#/components/schemas/{name}", "components": document["components"]})


@pytest.mark.parametrize(("path", "form"), [("/transcribe", TranscriptionForm), ("/jobs", JobForm)])
def test_form_is_the_one_that_validates(document: Any, path: str, form: type[BaseModel]) -> None:
    body = document["paths"][path]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]

    assert set(body["properties"]) == {"audio", *form.model_fields}
    assert body["required"] == ["audio"]
    assert body["properties"]["beam_size"]["maximum"] == 10
    assert "null" not in repr(body)


def test_key_is_described_where_one_is_needed(build_client: Callable[..., FlaskClient]) -> None:
    client = build_client(WHISPER_API_KEY="k")

    document = client.get("/openapi.json", headers={"Authorization": "Bearer k"}).json

    assert "401" in document["paths"]["/jobs"]["get"]["responses"]
    assert document["paths"]["/jobs"]["get"]["security"]
    assert "security" not in document["paths"]["/health"]["get"]


@pytest.mark.parametrize("status", list(JobStatus))
def test_job_is_exactly_what_the_document_says(
    client: FlaskClient, service: FakeService, status: JobStatus
) -> None:
    if status is JobStatus.SUCCEEDED:
        job_id = post_file(client).json["job_id"]
    else:
        error = JobError(code="x", message="y", fix="z") if status is JobStatus.FAILED else None
        job_id = service.add_job(new_job_id(), REQUEST, status=status, error=error).id
        service.progress(job_id, 10)
        service.say(job_id, " one")

    JobAnswer.model_validate_json(client.get(f"/jobs/{job_id}").data, extra="forbid")
    JobPageAnswer.model_validate_json(client.get("/jobs").data, extra="forbid")


def test_answers_are_exactly_what_the_document_says(client: FlaskClient) -> None:
    TranscriptionAnswer.model_validate_json(post_file(client).data, extra="forbid")
    ErrorAnswer.model_validate_json(client.get("/nothing").data, extra="forbid")


def test_docs_page_loads_nothing_from_elsewhere(client: FlaskClient) -> None:
    answer = client.get("/docs")

    loaded = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
    assert all(address.startswith("/") or address == "#main" for address in loaded)
    assert any("swagger-ui-bundle.js" in address for address in loaded)
    for address in loaded:
        if address.startswith("/static/"):
            with client.get(address) as file:
                assert file.status_code == 200
    assert "img-src 'self' data:" in answer.headers["Content-Security-Policy"]
    assert "data:" not in client.get("/jobs").headers["Content-Security-Policy"]


def test_vendored_files_are_as_they_were_published() -> None:
    vendor = ROOT / "static" / "vendor"
    listed = dict(
        re.findall(r"\| `(\S+/\S+)` \| `([0-9a-f]{64})` \|", (ROOT / "docs" / "vendored.md").read_text())
    )
    there = {
        str(path.relative_to(vendor)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in vendor.rglob("*")
        if path.is_file()
    }

    assert there == listed
