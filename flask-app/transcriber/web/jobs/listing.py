"""/jobs: submitting a file without waiting for it, the history, one job, and its transcript as files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, Response, jsonify, make_response, redirect, render_template, request, url_for
from pydantic import BaseModel, ConfigDict, Field

from ...domain.edits import Edit, Transcript
from ...domain.errors import (
    InvalidParameterError,
    JobNotFinishedError,
    NotFoundError,
    SearchTimeoutError,
    UrlNotAllowedError,
)
from ...domain.jobs import Job, JobStatus, SubmissionTerms
from ...domain.transcript import Transcription
from ...formats.table import DOWNLOADS
from ..auth.access import get_job, principal
from ..device_state import device_state
from ..extensions import application, device_cache
from ..file_names import attachment, name_of_download
from ..forms import Flag, JobForm, JobsQuery, Whole, parse_jobs_query, parse_query
from ..negotiation import wants_html
from ..openai.answers import JsonAnswer
from ..openapi.answers import JobAnswer, JobPageAnswer
from ..openapi.operations import (
    ARRIVED_ERRORS,
    DOWNLOAD_TYPES,
    HTML,
    JSON,
    LOOKUP_ERRORS,
    RUN_ERRORS,
    SUBMISSION_ERRORS,
    Operation,
    OperationAnswer,
    UploadBody,
)
from ..pages import model_names, spoken_languages
from ..transcripts.downloads import downloaded, set_facts, set_revision
from ..transcripts.page import PageQuery, transcript_facts
from ..uploads.submissions import last_values, receive_submission
from .answers import job_answer, summary_to_dict

if TYPE_CHECKING:
    from ...service.job_queries import JobView

bp = Blueprint("jobs", __name__, url_prefix="/jobs")


@bp.post("")
@Operation(
    "Submit a file as a job",
    tag="Jobs",
    upload=UploadBody(form=JobForm),
    answers={
        202: OperationAnswer(
            "The job is on disk and will be done, whatever happens to this process.",
            {JSON: JobAnswer},
            headers=("Location", "Idempotency-Replayed"),
        ),
        303: OperationAnswer("For browsers: the job's page.", headers=("Location",)),
    },
    raises=(*SUBMISSION_ERRORS, *ARRIVED_ERRORS, UrlNotAllowedError),
)
def submit() -> Response:
    """The answer comes as soon as the job is safe, with its place in the queue."""
    submission = receive_submission(
        JobForm, lambda form: SubmissionTerms(priority=form.priority, webhook=form.webhook)
    )
    location = url_for("jobs.show", job_id=submission.job.id)
    if wants_html():
        response = make_response(redirect(location, 303))
    else:
        view = application().service.view(submission.job.id)
        response = job_answer(view, find_transcription(view.job))
        response.status_code = 202
        response.headers["Location"] = location
    response.vary.add("Accept")
    return submission.mark(response)


@bp.get("")
@Operation(
    "List jobs, the newest first",
    tag="Jobs",
    query=JobsQuery,
    answers={200: OperationAnswer("A page of jobs.", {JSON: JobPageAnswer, HTML: str})},
    raises=(InvalidParameterError, SearchTimeoutError, *LOOKUP_ERRORS[1:]),
)
def history() -> Response:
    """`status` may be given several times or with commas; `before` is the `next_before` of the page before. `q`
    searches the text of all transcripts, and the names."""
    service = application().service
    query = parse_jobs_query(request.args.getlist("status"), last_values(request.args))
    found = service.page(
        statuses=query.status,
        before=query.before,
        limit=query.limit,
        search=query.q.strip(),
        owner=principal().seen_owner,
    )
    devices = device_cache().find_all(found.jobs, service.devices)
    rows = [summary_to_dict(job, devices.get(job.id), found.excerpts.get(job.id)) for job in found.jobs]
    counts = {status.value: number for status, number in service.counts(owner=principal().seen_owner).items()}
    shown = {"jobs": rows, "next_before": found.next_before, "counts": counts}
    if wants_html():
        response = make_response(render_template("jobs.html", page=shown, found=found.jobs, query=query))
    else:
        response = jsonify(shown)
    response.vary.add("Accept")
    return response


@bp.get("/<job_id>")
@Operation(
    "See how a job stands",
    tag="Jobs",
    query=PageQuery,
    answers={
        200: OperationAnswer(
            "The job, with all of its transcription once it has succeeded.",
            {JSON: JobAnswer, HTML: str},
        )
    },
    raises=LOOKUP_ERRORS,
)
def show(job_id: str) -> Response:
    """A job that failed is a 200 here, with its `error`. The text is the engine's own; `links.transcript` has what
    people made of it."""
    view = application().service.view(get_job(job_id).id)
    transcription = find_transcription(view.job)
    if wants_html():
        response = make_response(_page(view, transcription))
    else:
        response = job_answer(view, transcription)
    if transcription is not None:
        set_facts(response, transcription)
    response.vary.add("Accept")
    return response


class DownloadQuery(BaseModel):
    """What a download takes."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    original: Flag = Field(False, description="true or false; true gives what the engine wrote, never edited")
    line_length: Whole = Field(
        0,
        ge=0,
        le=200,
        description="a whole number from 0 to 200: characters in a line of srt, vtt and ass; 0: all",
    )


@bp.get("/<job_id>/transcript.<ending>")
@Operation(
    "Download a transcript",
    tag="Jobs",
    query=DownloadQuery,
    answers={
        200: OperationAnswer(
            "The transcript as a file.",
            {JSON: JsonAnswer, **dict.fromkeys(DOWNLOAD_TYPES, str)},
            headers=("Content-Disposition", "ETag"),
            has_facts=True,
        )
    },
    raises=(NotFoundError, InvalidParameterError, JobNotFinishedError, *LOOKUP_ERRORS, *RUN_ERRORS),
)
def download(job_id: str, ending: str) -> Response:
    """As people left it. Of a job that failed, the answer is the job's own error."""
    job = get_job(job_id)
    if ending not in DOWNLOADS:
        raise NotFoundError(
            "There is no such transcript format.", fix=f"The endings are {', '.join(DOWNLOADS)}."
        )
    query = parse_query(DownloadQuery, last_values(request.args))
    transcript = application().service.transcripts.get(job.id)
    if query.original:
        transcript = Transcript(transcription=application().service.transcription(job.id), edit=Edit())
    response = downloaded(transcript.transcription, ending, query.line_length)
    name = name_of_download(job, DOWNLOADS[ending].extension)
    response.headers["Content-Disposition"] = attachment(name, job.id)
    return set_revision(response, transcript)


def find_transcription(job: Job) -> Transcription | None:
    """The answer of a job that succeeded."""
    if job.status is not JobStatus.SUCCEEDED:
        return None
    return application().service.transcription(job.id)


def _page(view: JobView, transcription: Transcription | None) -> str:
    """The page of a job; of a finished one with its transcript as people left it."""
    models = model_names(view.job.request.model, [model.name for model in application().service.models()])
    shown = {} if transcription is None else transcript_facts(view.job)
    return render_template(
        "job.html",
        view=view,
        job=view.job,
        models=models,
        languages=spoken_languages(),
        state=device_state(),
        **shown,
    )
