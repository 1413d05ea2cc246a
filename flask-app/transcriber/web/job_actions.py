"""What can be done to a job: cancel it, remove it, try it again. For programs, and as plain forms of the pages."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, make_response, redirect, request, url_for
from pydantic import BaseModel, ConfigDict, Field

from ..domain.errors import (
    InvalidParameterError,
    JobFinishedError,
    JobNotFailedError,
    JobNotFinishedError,
    QueueFullError,
    ShuttingDownError,
    UploadGoneError,
)
from .answers import JobAnswer
from .current import application
from .forms import Flag, parse_query
from .job_answers import job_to_dict
from .jobs import find_transcription, get_job
from .negotiation import wants_html
from .operations import JSON, LOOKUP_ERRORS, Answer, Operation
from .submissions import last_values

bp = Blueprint("job_actions", __name__, url_prefix="/jobs/<job_id>")


class RemovalQuery(BaseModel):
    """What DELETE takes."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    purge: Flag = Field(False, description="true or false; true removes a job that has ended, with its files")


_PURGED = Answer("The job and its files are gone.")
_CANCELLED = Answer("The job is cancelled; no more of it is worked on.", {JSON: JobAnswer})
_TO_THE_JOB = Answer("For browsers: back to the job's page.", headers=("Location",))


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
    "Try a failed job again",
    tag="Jobs",
    answers={
        202: Answer("The job waits for its turn again.", {JSON: JobAnswer}, headers=("Location",)),
        303: _TO_THE_JOB,
    },
    raises=(JobNotFailedError, UploadGoneError, QueueFullError, ShuttingDownError, *LOOKUP_ERRORS),
)
def retry(job_id: str) -> Response:
    """It goes on after the windows that are finished already."""
    job = get_job(job_id)
    application().service.retry(job.id)
    if wants_html():
        return _back_to(job.id)
    response = _shown(job.id)
    response.status_code = 202
    response.headers["Location"] = url_for("jobs.show", job_id=job.id)
    return response


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
    answers={204: _PURGED, 303: Answer("For browsers: back to the list.", headers=("Location",))},
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
    return jsonify(job_to_dict(view, find_transcription(view.job)))


def _back_to(job_id: str) -> Response:
    response = make_response(redirect(url_for("jobs.show", job_id=job_id), 303))
    response.vary.add("Accept")
    return response
