"""Each field and format of the specification: honoured, mapped, named in the warnings, or refused with its code."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient

from conformance import PAGE, ROWS, Row, table
from fakes import FakeService
from transcriber.domain.options import TranscriptionRequest
from transcriber.domain.transcript import DiarizationReceipt, Transcription
from transcriptions import make_segment, make_transcription


def sent(client: FlaskClient, row: Row) -> Any:
    fields = list(row.sent) + ([] if any(name == "model" for name, _ in row.sent) else [("model", "base")])
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields
    ]
    file = '--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF\r\n--b--\r\n'
    return client.post(
        row.path,
        data=("".join(parts) + file).encode(),
        content_type="multipart/form-data; boundary=b",
    )


def diarized() -> Transcription:
    """The service's answer, with its speakers told apart: only those who ask for them see it."""
    made = make_transcription(make_segment())
    found = DiarizationReceipt(device="cpu", provider="CPUExecutionProvider", pid=7, seconds=0.5)
    return replace(made, receipt=replace(made.receipt, diarization=found))


def value_of(request: TranscriptionRequest, name: str) -> Any:
    owner, _, last = name.rpartition(".")
    of: Any = {"": request.options, "request": request, "vad": request.options.vad_parameters}[owner]
    return getattr(of, last)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.path.rpartition('/')[2]}-{row.field}")
def test_row(client: FlaskClient, service: FakeService, row: Row) -> None:
    service.answer = diarized()
    answer = sent(client, row)

    if row.outcome == "refused":
        assert answer.status_code == 400
        assert answer.json["error"]["code"] in row.remark
        return
    assert answer.status_code == 200
    assert answer.mimetype == row.content_type
    assert answer.text.startswith(row.begins)
    (job,) = service.jobs.values()
    assert {name: value_of(job.request, name) for name in row.options} == dict(row.options)
    warned = answer.headers.get("X-Warnings", "") or answer.text
    name = row.sent[0][0] if row.sent else ""
    if row.outcome == "warned":
        told = "response_format" if row.field.startswith("stream with srt") else name
        assert f'"{told}"' in warned
    else:
        assert "X-Warnings" not in answer.headers


def test_page_is_the_tables() -> None:
    assert PAGE.read_text() == table(), "run .venv/bin/python tests/support/conformance.py"
