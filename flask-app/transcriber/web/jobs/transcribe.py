"""POST /transcribe: one file in, one transcript out, in the same request."""

from __future__ import annotations

import structlog
from flask import Blueprint, Response, make_response, render_template, request

from ...domain.errors import JobCancelledError
from ...domain.jobs import Job, SubmissionTerms
from ...domain.transcript import Transcription
from ..client_disconnect import ClientConnection, ClientGoneError, wait_for
from ..extensions import application, waiters
from ..forms import TranscriptionForm
from ..negotiation import wants_html
from ..openai.answers import JsonAnswer
from ..openapi.operations import (
    HTML,
    JSON,
    RUN_ERRORS,
    SUBMISSION_ERRORS,
    TRANSCRIPT_TYPES,
    Operation,
    OperationAnswer,
    UploadBody,
)
from ..transcripts.downloads import rendered, set_facts
from ..transcripts.page import transcript_facts
from ..uploads.submissions import SubmissionForm, receive_submission

logger = structlog.get_logger(__name__)

bp = Blueprint("api", __name__)


@bp.post("/transcribe")
@Operation(
    "Transcribe a file and wait for the answer",
    tag="Transcribing",
    upload=UploadBody(form=TranscriptionForm),
    answers={
        200: OperationAnswer(
            "The transcript, in the format that was asked for.",
            {JSON: JsonAnswer, HTML: str, **dict.fromkeys(TRANSCRIPT_TYPES, str)},
            has_facts=True,
        )
    },
    raises=SUBMISSION_ERRORS + RUN_ERRORS,
)
def transcribe() -> Response:
    """A client that goes away cancels its job, unless it says `detach=true`."""
    submission = receive_submission(
        TranscriptionForm, lambda form: SubmissionTerms(is_awaited=not form.detach)
    )
    transcription = _awaited(submission)
    job = application().service.get(submission.job.id)
    return submission.mark(answer(submission.form, job, transcription))


def answer(form: TranscriptionForm, job: Job, transcription: Transcription) -> Response:
    """The format that was asked for; else a page for browsers and JSON for programs."""
    if form.response_format is None and wants_html():
        response = make_response(render_template("transcript.html", job=job, **transcript_facts(job)))
        set_facts(response, transcription)
    else:
        response = rendered(transcription, form.response_format or "json")
    response.vary.add("Accept")
    return response


def _awaited(submission: SubmissionForm[TranscriptionForm]) -> Transcription:
    service = application().service
    job_id = submission.job.id
    with waiters().counted(job_id):
        try:
            return wait_for(service, job_id, ClientConnection(request.environ))
        except ClientGoneError:
            logger.info("client_gone", job_id=job_id, detach=submission.form.detach)
            if not submission.form.detach and waiters().is_last(job_id):
                service.cancel(job_id)
    raise JobCancelledError("The client closed its connection before the answer.")  # nobody reads this
