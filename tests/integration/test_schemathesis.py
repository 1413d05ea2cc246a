"""The whole API against its own description: no 5xx, no undocumented status, answers that match their schemas.

The service behind it is a fake one: this is about the web. SCHEMATHESIS_EXAMPLES=500 is the long form.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks as openapi_checks

from fakes import FakeApplication, make_application
from transcriber.domain.jobs import JobError, JobStatus
from transcriber.domain.options import TranscriptionOptions, TranscriptionRequest
from transcriber.domain.transcript import DiarizationReceipt
from transcriber.web import create_app

#: Schemathesis does not close the answers that it has read; ours that are files wait for that.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*unclosed file:ResourceWarning",
    "ignore:Exception ignored in. <_io.FileIO:pytest.PytestUnraisableExceptionWarning",
)

REQUEST = TranscriptionRequest(model="base", use_gpu=True, require_gpu=False, options=TranscriptionOptions())
EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "20"))

#: Speakers were told apart: without it diarized_json is an error.
DIARIZED = DiarizationReceipt(device="cpu", provider="CPUExecutionProvider", pid=1, seconds=0.1)

#: What our API does not promise, with the reason.
NOT_OURS = [
    # A language that no model knows and an unknown webhook scheme are refused; no schema can say that.
    openapi_checks.positive_data_acceptance,
    # Unknown fields and parameters are no errors here: they are named in `warnings`, or mean nothing.
    openapi_checks.negative_data_rejection,
]


@schemathesis.serializer("application/offset+octet-stream")
def as_bytes(context: Any, value: Any) -> bytes:
    """The bytes of an upload: whatever was made up, as text."""
    return repr(value).encode()


@pytest.fixture(scope="module")
def api_schema(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The description, with the ids of real jobs for its paths: one in each status, twice, and none."""
    application = make_application(tmp_path_factory.mktemp("api") / "spool")
    application.is_gpu_proven = True  # else /health/gpu answers 503, as it should
    application.service.stop()  # streams end after what there is
    answer = application.service.answer
    application.service.answer = replace(answer, receipt=replace(answer.receipt, diarization=DIARIZED))
    app = create_app(application)  # type: ignore[arg-type]
    document = app.test_client().get("/openapi.json").json
    ids = add_jobs(application)
    upload_id = application.service.resumable.create(10**6, "long.wav").id
    for item in document["paths"].values():
        for operation in item.values():
            for parameter in operation["parameters"]:
                if parameter["name"] == "job_id":
                    parameter["schema"] = {"type": "string", "enum": ids}
                if parameter["name"] == "upload_id":
                    parameter["schema"] = {"type": "string", "enum": [upload_id, "job_" + "z" * 24]}
                if parameter["name"] == "filename":
                    parameter["schema"] = {"type": "string", "enum": ["style.css", "nothing.css"]}
    schema = schemathesis.openapi.from_dict(document)
    schema.app = app
    yield schema


def add_jobs(application: FakeApplication) -> list[str]:
    """Jobs of every kind; the ids, and one that nobody has."""
    service = application.service
    ids = []
    for number, status in enumerate([*JobStatus, *JobStatus]):
        job_id = f"job_{number:024}"
        error = JobError(code="undecodable_media", message="no audio", fix="")
        service.add_job(job_id, REQUEST, error=error if status is JobStatus.FAILED else None)
        service.progress(job_id, 50)
        service.say(job_id, " one")
        if status is JobStatus.SUCCEEDED:
            service.finish(job_id)
        else:
            service.jobs[job_id] = service.jobs[job_id].evolve(status=status)
        ids.append(job_id)
    return [*ids, "job_" + "z" * 24]


def operations() -> list[tuple[str, str]]:
    """Path and method of every operation."""
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(make_application(Path(folder) / "spool"))  # type: ignore[arg-type]
        paths = app.test_client().get("/openapi.json").json["paths"]
    return [(path, method) for path, item in paths.items() for method in item]


@st.composite
def made_up(draw: st.DrawFn, cases: st.SearchStrategy[schemathesis.Case]) -> schemathesis.Case:
    """A case. Schemathesis now and then fails over a file of its own making: that is none."""
    try:
        return draw(cases)
    except ValueError as error:
        if "Unsupported type: 'Binary'" not in str(error):
            raise
        reject()


@pytest.mark.parametrize("mode", list(GenerationMode), ids=str)
@pytest.mark.parametrize(("path", "method"), operations())
def test_every_answer_is_documented(api_schema: Any, path: str, method: str, mode: GenerationMode) -> None:
    operation = api_schema[path][method.upper()]
    if mode.is_negative and not (operation.body or list(operation.iter_parameters())):
        mode = GenerationMode.POSITIVE  # nothing can be wrong about a request without parameters

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=made_up(operation.as_strategy(generation_mode=mode)))
    def check(case: schemathesis.Case) -> None:
        case.call_and_validate(excluded_checks=NOT_OURS)

    check()


def test_fake_service_is_there(tmp_path: Path) -> None:
    """The ids above are real ones, or the tests above would only see 404."""
    application = make_application(tmp_path / "spool")
    ids = add_jobs(application)
    client = create_app(application).test_client()  # type: ignore[arg-type]

    assert [client.get(f"/jobs/{job_id}").status_code for job_id in ids] == [200] * 10 + [404]
