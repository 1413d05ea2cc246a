"""GET /jobs/archive: the transcripts of several jobs in one zip file."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import PurePath
from typing import IO

from flask import Blueprint, Response, request, send_file
from pydantic import BaseModel, ConfigDict, Field

from ...domain.errors import InvalidParameterError, JobNotFinishedError
from ...domain.jobs import Job
from ...domain.transcript import Transcription
from ...formats.table import DOWNLOADS
from ..auth.access import get_job
from ..computing import computed
from ..cooperative_yield import let_others_run
from ..extensions import application
from ..file_names import name_of_download
from ..openapi.operations import LOOKUP_ERRORS, RUN_ERRORS, Operation, OperationAnswer
from .downloads import written

bp = Blueprint("archive", __name__, url_prefix="/jobs")

#: Jobs in one archive: their ids fit into a request's line.
MAX_JOBS = 100

ZIP = "application/zip"

#: Characters in a line of subtitles, as the pages ask for single downloads.
LINE_LENGTH = 42

_MANY = f"the ids of 1 to {MAX_JOBS} jobs that have succeeded, as job=…&job=…"
_FORMATS = f"one of {', '.join(DOWNLOADS)}"


class ArchiveQuery(BaseModel):
    """What GET /jobs/archive takes."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    job: list[str] = Field(description=_MANY)
    format: str = Field("srt", description=_FORMATS)


@bp.get("/archive")
@Operation(
    "Download several transcripts as a zip file",
    tag="Jobs",
    query=ArchiveQuery,
    answers={
        200: OperationAnswer(
            "A zip file with one file for each job.", {ZIP: str}, headers=("Content-Disposition",)
        )
    },
    raises=(InvalidParameterError, JobNotFinishedError, *LOOKUP_ERRORS, *RUN_ERRORS),
)
def download() -> Response:
    """As people left them, under the names of the jobs; the same name twice is numbered."""
    ending = request.args.get("format", "srt")
    if ending not in DOWNLOADS:
        raise InvalidParameterError("format", ending, _FORMATS)
    job_ids = list(dict.fromkeys(request.args.getlist("job")))
    if not 1 <= len(job_ids) <= MAX_JOBS:
        raise InvalidParameterError("job", f"{len(job_ids)} ids", _MANY)
    jobs = [get_job(job_id) for job_id in job_ids]
    # On disk: a hundred long transcripts need not be in memory at once. It is gone once it is closed.
    archive = tempfile.TemporaryFile()  # noqa: SIM115  the response closes it
    try:
        _write(archive, jobs, ending)
    except BaseException:
        archive.close()
        raise
    size = archive.seek(0, 2)
    archive.seek(0)
    response = send_file(archive, mimetype=ZIP, as_attachment=True, download_name="transcripts.zip")
    response.content_length = size
    return response


def _write(file: IO[bytes], jobs: Iterable[Job], ending: str) -> None:
    names: set[str] = set()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for job in jobs:
            transcription = application().service.transcripts.get(job.id).transcription
            name = _unused(name_of_download(job, DOWNLOADS[ending].extension), names)
            _add(archive, name, transcription, ending)
            let_others_run()


def _add(archive: zipfile.ZipFile, name: str, transcription: Transcription, ending: str) -> None:
    row = DOWNLOADS[ending]
    computed(
        lambda: archive.writestr(name, written(row, transcription, LINE_LENGTH)),
        of=transcription,
    )


def _unused(name: str, names: set[str]) -> str:
    """The name, numbered if it is taken."""
    path, number = PurePath(name), 2
    while name.casefold() in names:
        name = f"{path.stem} ({number}){path.suffix}"
        number += 1
    names.add(name.casefold())
    return name
