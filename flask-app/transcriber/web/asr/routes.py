"""POST /asr and /detect-language, GET /status: what Bazarr, subgen's clients and Speakr speak."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar, cast
from urllib.parse import quote

import structlog
from flask import Blueprint, Response, jsonify, request
from pydantic import BaseModel, Field

from ... import __version__
from ...domain.errors import JobCancelledError, QueueFullError
from ...domain.jobs import Job, SubmissionTerms
from ...domain.languages import language_name
from ...domain.transcript import Transcription
from ..auth.access import owner_id
from ..client_disconnect import ClientConnection, ClientGoneError, wait_for
from ..extensions import application
from ..file_names import shown_name
from ..forms import parse_fields
from ..openapi.operations import JSON, RUN_ERRORS, SUBMISSION_ERRORS, Operation, OperationAnswer, UploadBody
from ..transcripts.downloads import set_facts
from ..uploads.receiver import SpooledFile, UploadRequest, received_upload
from ..uploads.submissions import last_values, make_job, read_options
from .forms import AsrForm, DetectionForm, SampleForm
from .raw_pcm import LanguageSample, RawPcmFile
from .render import rendered

logger = structlog.get_logger(__name__)

bp = Blueprint("asr", __name__)

TEXT = "text/plain"

#: Names of the file's field, the first preferred.
FILE_FIELDS = ("audio_file", "audio", "file")

#: A client of a full queue waits this long for room, in seconds: Bazarr takes any answer for a subtitle, and asks a
#: server that refuses no more for a day.
PATIENCE_SECONDS = 900.0
LOOK_SECONDS = 0.5

Form = TypeVar("Form", bound=SampleForm)


class DetectionAnswer(BaseModel):
    """The language of a file's first 30 s."""

    detected_language: str = Field(description="its English name")
    language_code: str
    confidence: float = Field(ge=0, le=1)


class StatusAnswer(BaseModel):
    """Which program answers."""

    version: str


@bp.post("/asr")
@Operation(
    "Transcribe (whisper-asr-webservice)",
    tag="whisper-asr-webservice",
    query=AsrForm,
    upload=UploadBody(field=FILE_FIELDS[0]),
    answers={
        200: OperationAnswer(
            "The transcript, as plain text whatever the output is.",
            {TEXT: str},
            headers=("Asr-Engine", "Content-Disposition"),
            has_facts=True,
        )
    },
    raises=SUBMISSION_ERRORS + RUN_ERRORS,
)
def asr() -> Response:
    """Options stand in the query. While the queue is full the request waits for up to 15 minutes."""
    with _submitted(AsrForm, RawPcmFile) as (form, job):
        transcription = _awaited(job)
    body = rendered(transcription, form.output)
    response = Response(body, content_type=f"{TEXT}; charset=utf-8")
    response.headers["Asr-Engine"] = "faster_whisper"
    name = quote(f"{job.file_name}.{form.output}", safe="")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return set_facts(response, transcription)


@bp.post("/detect-language")
@Operation(
    "Detect the language of a file's first 30 s",
    tag="whisper-asr-webservice",
    query=DetectionForm,
    upload=UploadBody(field=FILE_FIELDS[0]),
    answers={200: OperationAnswer("The likeliest language.", {JSON: DetectionAnswer}, has_facts=True)},
    raises=SUBMISSION_ERRORS + RUN_ERRORS,
)
def detect_language() -> Response:
    """A job as any other, of the first 30 s; it is deleted with the answer."""
    with _submitted(DetectionForm, LanguageSample) as (_, job):
        transcription = _awaited(job)
    application().service.purge(job.id)
    response = jsonify(
        {
            "detected_language": language_name(transcription.language),
            "language_code": transcription.language,
            "confidence": round(transcription.language_probability, 4),
        }
    )
    return set_facts(response, transcription)


@bp.get("/status")
@Operation(
    "The version, for clients that test their connection",
    tag="whisper-asr-webservice",
    answers={200: OperationAnswer("This program and its version.", {JSON: StatusAnswer})},
)
def status() -> Response:
    """Says nothing of the state: /health does."""
    return jsonify({"version": f"Transcriber {__version__}"})


@contextmanager
def _submitted(kind: type[Form], raw: type[SpooledFile]) -> Iterator[tuple[Form, Job]]:
    """The request as a job; raw samples get a header in the spool."""
    app = application()
    _wait_for_room(ClientConnection(request.environ))
    # How the file is written has to be known before it comes: the query says it.
    file = SpooledFile if parse_fields(kind, last_values(request.args)).encode else raw
    sent, limit = cast(UploadRequest, request), app.settings.max_upload_bytes
    with received_upload(app.service, sent, limit, fields=FILE_FIELDS, kind=file) as upload:
        form = read_options(kind)
        named = replace(upload, file_name=shown_name(form.video_file or upload.file_name))
        job = make_job(form, named, SubmissionTerms(is_awaited=True, owner=owner_id()))
    yield form, job


def _awaited(job: Job) -> Transcription:
    """The job's transcription; it is cancelled when its client goes away."""
    service = application().service
    try:
        return wait_for(service, job.id, ClientConnection(request.environ))
    except ClientGoneError:
        logger.info("client_gone", job_id=job.id)
        service.give_up(job.id)
        raise JobCancelledError("The client closed its connection before the answer.") from None


def _wait_for_room(connection: ClientConnection) -> None:
    """Until the queue takes a job, or the client has had enough. Raises QueueFullError."""
    service, deadline = application().service, time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            service.check_queue(owner_id())
            return
        except QueueFullError:
            if connection.is_gone() or time.monotonic() > deadline:
                raise
            time.sleep(LOOK_SECONDS)
