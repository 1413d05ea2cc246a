"""GET /jobs/{id}/media: the upload itself, for the player of the job's page, while it is kept."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from flask import Blueprint, Response, g, request, send_file

from ...domain.errors import RangeError, TranscriberError, UploadGoneError
from ...domain.jobs import Job
from ..auth.access import get_job
from ..extensions import application
from ..file_names import attachment, is_video_name, shown_name
from ..openapi.operations import LOOKUP_ERRORS, Operation, OperationAnswer
from ..ranges import fit_suffix
from .listing import find_transcription

bp = Blueprint("media", __name__, url_prefix="/jobs")

#: FFmpeg's names of containers to the types that players know: audio, and video where there are pictures.
#: Whatever is not here goes out as bytes without a meaning: never as a page, a picture or a script.
_TYPES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "aac": ("audio/aac", "audio/aac"),
        "aiff": ("audio/aiff", "audio/aiff"),
        "amr": ("audio/amr", "audio/amr"),
        "avi": ("video/x-msvideo", "video/x-msvideo"),
        "flac": ("audio/flac", "audio/flac"),
        "matroska": ("audio/webm", "video/webm"),
        "mov": ("audio/mp4", "video/mp4"),
        "mp3": ("audio/mpeg", "audio/mpeg"),
        "mp4": ("audio/mp4", "video/mp4"),
        "mpeg": ("video/mpeg", "video/mpeg"),
        "mpegts": ("video/mp2t", "video/mp2t"),
        "ogg": ("audio/ogg", "video/ogg"),
        "wav": ("audio/wav", "audio/wav"),
        "webm": ("audio/webm", "video/webm"),
    }
)
UNKNOWN_TYPE = "application/octet-stream"

#: A file that somebody sent runs nothing and asks for nothing, also when it is opened as a page of its own.
SANDBOX = "sandbox; default-src 'none'; media-src 'self'; style-src 'unsafe-inline'"


@bp.get("/<job_id>/media")
@Operation(
    "Play what was uploaded",
    tag="Jobs",
    headers=("Range",),
    answers={
        200: OperationAnswer(
            "The upload.", {"audio/*": str, "video/*": str, UNKNOWN_TYPE: str}, headers=("ETag",)
        ),
        206: OperationAnswer(
            "The part of it that Range asked for.",
            {"audio/*": str, "video/*": str, UNKNOWN_TYPE: str},
            headers=("Content-Range", "ETag"),
        ),
        304: OperationAnswer("It has not changed."),
        412: OperationAnswer("It is not the one that If-Match names."),
    },
    raises=(RangeError, UploadGoneError, *LOOKUP_ERRORS),
)
def show(job_id: str) -> Response:
    """The bytes as they came, with Range, as audio or video and as nothing else."""
    job = get_job(job_id)
    path = application().service.find_media(job.id)
    if path is None:
        raise UploadGoneError()
    try:
        fit_suffix(request.environ, path.stat().st_size)
        # The bytes of an upload never change, so its job's id names them.
        response = send_file(path, mimetype=media_type(job), etag=job.id, conditional=True, max_age=None)
    except FileNotFoundError as error:
        raise UploadGoneError() from error
    if response.status_code == 412:
        # Werkzeug sets the status and sends the file all the same.
        response.close()
        return Response(status=412, headers={"ETag": response.headers["ETag"]})
    g.csp_own = SANDBOX
    response.headers["Accept-Ranges"] = "bytes"
    if response.mimetype == UNKNOWN_TYPE:
        response.headers["Content-Disposition"] = attachment(shown_name(job.file_name) or job.id, job.id)
    return response


def media_type(job: Job) -> str:
    """The media type for players; a generic one until a transcription says what the file is."""
    try:
        transcription = find_transcription(job)
    except TranscriberError:  # the result is gone or damaged; its own address says so
        transcription = None
    facts: Mapping[str, Any] = {} if transcription is None else transcription.media
    names = str(facts.get("container", "")).split(",")
    types = next((_TYPES[name] for name in names if name in _TYPES), (UNKNOWN_TYPE, UNKNOWN_TYPE))
    return types[1] if is_video_name(job.file_name) else types[0]
