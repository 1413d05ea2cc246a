"""What can be done to a job: cancel, remove, rename it, try it again. For programs, and as plain forms of the pages."""

from __future__ import annotations

from dataclasses import replace

from flask import Blueprint, Response, g, make_response, redirect, request, url_for
from pydantic import BaseModel, ConfigDict, Field

from ...domain.errors import (
    BadRequestError,
    GpuRequiredError,
    InvalidParameterError,
    JobFinishedError,
    JobNotFailedError,
    JobNotFinishedError,
    LimitError,
    ModelNotFoundError,
    QueueFullError,
    ShuttingDownError,
    StorageFullError,
    UploadGoneError,
)
from ..auth.access import get_job
from ..bodies import read_form, read_json
from ..extensions import application
from ..file_names import shown_title
from ..forms import Flag, RetryForm, fieldless_options, fields_of, parse_fields, parse_query
from ..negotiation import wants_html
from ..openapi.answers import JobAnswer
from ..openapi.operations import JSON, LOOKUP_ERRORS, Operation, OperationAnswer
from ..uploads.submissions import last_values
from .answers import job_answer
from .listing import find_transcription

bp = Blueprint("job_actions", __name__, url_prefix="/jobs/<job_id>")


class RemovalQuery(BaseModel):
    """What DELETE takes."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    purge: Flag = Field(False, description="true or false; true removes a job that has ended, with its files")


#: A title of 1000 characters takes a tenth of it.
MAX_TITLE_BYTES = 64 * 1024

_PURGED = OperationAnswer("The job and its files are gone.")
_CANCELLED = OperationAnswer("The job is cancelled; no more of it is worked on.", {JSON: JobAnswer})
_TO_THE_JOB = OperationAnswer("For browsers: back to the job's page.", headers=("Location",))


@bp.delete("")
@Operation(
    "Cancel a job, or remove one that has ended",
    tag="Jobs",
    query=RemovalQuery,
    answers={200: _CANCELLED, 204: _PURGED},
    raises=(JobFinishedError, JobNotFinishedError, InvalidParameterError, *LOOKUP_ERRORS),
)
def remove(job_id: str) -> Response:
    """A waiting or running job becomes `cancelled`; a finished one is removed with `purge=true` only."""
    job = get_job(job_id)
    if parse_query(RemovalQuery, last_values(request.args)).purge:
        application().service.purge(job.id)
        return Response(status=204)
    application().service.cancel(job.id)
    return _shown(job.id)


@bp.post("/retry")
@Operation(
    "Try a job again",
    tag="Jobs",
    form=RetryForm,
    answers={
        202: OperationAnswer("It waits for its turn.", {JSON: JobAnswer}, headers=("Location",)),
        303: _TO_THE_JOB,
    },
    raises=(
        JobNotFailedError,
        JobNotFinishedError,
        UploadGoneError,
        BadRequestError,
        InvalidParameterError,
        ModelNotFoundError,
        GpuRequiredError,
        QueueFullError,
        ShuttingDownError,
        StorageFullError,
        *LOOKUP_ERRORS,
    ),
)
def retry(job_id: str) -> Response:
    """Without options a failed job goes on after the windows that are finished already. With options (another
    model, say) a new job is made of the same upload, of any job that has ended; what is not named stays as it was."""
    job = get_job(job_id)
    given = last_values(request.args) | read_form()
    service = application().service
    if RetryForm.names_any(given):
        wanted = parse_fields(RetryForm, fields_of(job.request), given)
        settings = application().settings
        again = wanted.to_request(
            model=job.request.model, use_gpu=job.request.use_gpu, vad_filter=settings.vad_filter
        )
        again = again.evolve(**fieldless_options(job.request))
        if "use_gpu" not in given and not wanted.require_gpu:
            again = replace(again, asks_for_gpu=job.request.asks_for_gpu)
        job = service.retry_with(job.id, again, request_id=g.request_id)
    else:
        service.retry(job.id)
    if wants_html():
        return _back_to(job.id)
    response = _shown(job.id)
    response.status_code = 202
    response.headers["Location"] = url_for("jobs.show", job_id=job.id)
    return response


class TitleBody(BaseModel):
    """What a job is to be called."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = Field(max_length=1000, description="text; empty: the file's name again")


class TitleForm(BaseModel):
    """What the form of the page sends."""

    title: str = Field("", max_length=1000, description="text of up to 1000 characters")


_NAMED = OperationAnswer("The job under its new name.", {JSON: JobAnswer})


@bp.patch("")
@Operation(
    "Rename a job",
    tag="Jobs",
    body=TitleBody,
    answers={200: _NAMED},
    raises=(BadRequestError, InvalidParameterError, LimitError, *LOOKUP_ERRORS),
)
def rename(job_id: str) -> Response:
    """A display name for pages and downloads; `file_name` keeps the file's own."""
    job = get_job(job_id)
    body = read_json(TitleBody, MAX_TITLE_BYTES)
    application().service.rename(job.id, shown_title(body.title))
    return _shown(job.id)


@bp.post("/rename")
@Operation(
    "Rename a job (for plain forms)",
    tag="Jobs",
    form=TitleForm,
    answers={200: _NAMED, 303: _TO_THE_JOB},
    raises=(BadRequestError, InvalidParameterError, *LOOKUP_ERRORS),
)
def rename_by_form(job_id: str) -> Response:
    """The same as PATCH, for a form of a page."""
    job = get_job(job_id)
    form = parse_query(TitleForm, read_form())
    application().service.rename(job.id, shown_title(form.title))
    return _back_to(job.id) if wants_html() else _shown(job.id)


@bp.post("/cancel")
@Operation(
    "Cancel a job (for plain forms)",
    tag="Jobs",
    answers={200: _CANCELLED, 303: _TO_THE_JOB},
    raises=(JobFinishedError, *LOOKUP_ERRORS),
)
def cancel(job_id: str) -> Response:
    """The same as DELETE, for a form of a page: HTML knows no DELETE."""
    job = get_job(job_id)
    application().service.cancel(job.id)
    return _back_to(job.id) if wants_html() else _shown(job.id)


@bp.post("/delete")
@Operation(
    "Remove a job that has ended (for plain forms)",
    tag="Jobs",
    answers={204: _PURGED, 303: OperationAnswer("For browsers: back to the list.", headers=("Location",))},
    raises=(JobNotFinishedError, *LOOKUP_ERRORS),
)
def delete(job_id: str) -> Response:
    """The same as DELETE with `purge=true`, for a form of a page."""
    job = get_job(job_id)
    application().service.purge(job.id)
    if wants_html():
        return make_response(redirect(url_for("jobs.history"), 303))
    return Response(status=204)


def _shown(job_id: str) -> Response:
    view = application().service.view(job_id)
    return job_answer(view, find_transcription(view.job))


def _back_to(job_id: str) -> Response:
    response = make_response(redirect(url_for("jobs.show", job_id=job_id), 303))
    response.vary.add("Accept")
    return response
