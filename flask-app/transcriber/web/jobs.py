"""/jobs/{id}: how a job stands, its result page, and its transcript as files."""

from __future__ import annotations

from datetime import datetime
from types import MappingProxyType
from typing import Any

from flask import Blueprint, Response, jsonify, make_response, render_template, url_for

from ..domain.answer import transcription_to_dict
from ..domain.errors import JobNotFoundError, NotFoundError
from ..domain.jobs import Job, JobStatus
from ..domain.transcript import Transcription
from ..formats.table import FORMATS
from ..jobs.ids import is_job_id
from .current import application
from .file_names import attachment, download_name
from .negotiation import wants_html
from .transcripts import rendered, set_facts

bp = Blueprint("jobs", __name__, url_prefix="/jobs")

#: Ends of download addresses, with the format each stands for.
DOWNLOADS = MappingProxyType(
    {"txt": "text", "srt": "srt", "vtt": "vtt", "tsv": "tsv", "json": "json", "verbose_json": "verbose_json"}
)


@bp.get("/<job_id>")
def show(job_id: str) -> Response:
    """The job, with its transcription when it has one."""
    job = get_job(job_id)
    transcription = find_transcription(job)
    response = _page(job, transcription) if wants_html() else jsonify(job_to_dict(job, transcription))
    if transcription is not None:
        set_facts(response, transcription)
    response.vary.add("Accept")
    return response


@bp.get("/<job_id>/transcript.<ending>")
def download(job_id: str, ending: str) -> Response:
    """The transcript as a file. Raises NotFoundError for an ending that is not in the table."""
    job = get_job(job_id)
    if ending not in DOWNLOADS:
        raise NotFoundError(
            "There is no such transcript format.", fix=f"The endings are {', '.join(DOWNLOADS)}."
        )
    response_format = DOWNLOADS[ending]
    response = rendered(application().service.transcription(job.id), response_format)
    name = download_name(job.file_name, job.id, FORMATS[response_format].extension)
    response.headers["Content-Disposition"] = attachment(name)
    return response


def get_job(job_id: str) -> Job:
    """The job. Raises JobNotFoundError, for a text that can't be an id too."""
    if not is_job_id(job_id):
        raise JobNotFoundError(fix="Job ids begin with job_; the answer to the upload has it.")
    return application().service.get(job_id)


def find_transcription(job: Job) -> Transcription | None:
    """The answer of a job that succeeded."""
    if job.status is not JobStatus.SUCCEEDED:
        return None
    return application().service.transcription(job.id)


def job_to_dict(job: Job, transcription: Transcription | None) -> dict[str, Any]:
    """The job as the API shows it. Times are ISO 8601 in UTC."""
    return {
        "job_id": job.id,
        "status": job.status.value,
        "file_name": job.file_name,
        "size_bytes": job.size_bytes,
        "created_at": _iso(job.created_at),
        "started_at": _iso(job.started_at),
        "completed_at": _iso(job.completed_at),
        "attempts": job.attempts,
        "error": _error_of(job),
        "transcription": None if transcription is None else transcription_to_dict(transcription),
        "links": _links(job),
    }


def _links(job: Job) -> dict[str, str]:
    own = {"self": url_for("jobs.show", job_id=job.id)}
    if job.status is not JobStatus.SUCCEEDED:
        return own
    return own | {e: url_for("jobs.download", job_id=job.id, ending=e) for e in DOWNLOADS}


def _error_of(job: Job) -> dict[str, Any] | None:
    error = job.error
    if error is None:
        return None
    return {"code": error.code, "message": error.message, "param": error.param, "fix": error.fix}


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _page(job: Job, transcription: Transcription | None) -> Response:
    if transcription is None:
        return make_response(render_template("job.html", job=job))
    return make_response(render_template("transcript.html", job=job, transcription=transcription))
