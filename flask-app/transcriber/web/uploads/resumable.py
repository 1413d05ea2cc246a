"""/uploads: files that arrive in parts and go on where they were cut off, by the tus protocol 1.0.0.

Creation, termination and expiration. A whole upload becomes a job with POST /jobs and the field `upload`.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
import socket
from collections.abc import Callable
from typing import Any

import structlog
from flask import Blueprint, Response, jsonify, request, url_for
from werkzeug.exceptions import ClientDisconnected
from werkzeug.http import http_date

from ...domain.errors import (
    BadRequestError,
    InvalidParameterError,
    MediaTypeError,
    QueueFullError,
    ShuttingDownError,
    StorageFailedError,
    StorageFullError,
    TooManyUploadsError,
    TusVersionError,
    UploadNotFoundError,
    UploadOffsetError,
    UploadTooLargeError,
)
from ...jobs.files.resumable import ResumableUpload, UploadTurn
from ..auth.access import owner_id
from ..cooperative_yield import TURN_BYTES, let_others_run
from ..extensions import application
from ..file_names import shown_name
from ..openapi.answers import ResumableUploadAnswer
from ..openapi.operations import JSON, Operation, OperationAnswer
from .receiver import too_large

logger = structlog.get_logger(__name__)

bp = Blueprint("resumable", __name__, url_prefix="/uploads")

VERSION = "1.0.0"
EXTENSIONS = "creation,termination,expiration"
CONTENT_TYPE = "application/offset+octet-stream"

#: What is read from the socket at a time.
PIECE_BYTES = 64 * 1024

_NUMBER = re.compile(r"[0-9]{1,18}")
_METADATA_BYTES = 4096

_STANDING = ("Tus-Resumable", "Upload-Offset", "Upload-Length", "Upload-Expires")
_STORAGE = (StorageFailedError, StorageFullError)


@bp.after_request
def name_version(response: Response) -> Response:
    """Every answer says what is spoken here, refusals too."""
    response.headers["Tus-Resumable"] = VERSION
    if response.status_code == 412:
        response.headers["Tus-Version"] = VERSION
    return response


@bp.route("", methods=["OPTIONS"], provide_automatic_options=False)
@Operation(
    "What the upload protocol offers here", tag="Uploads", answers={204: OperationAnswer("In the headers.")}
)
def options() -> Response:
    """The version, the extensions, and the largest upload."""
    response = Response(status=204)
    response.headers["Tus-Version"] = VERSION
    response.headers["Tus-Extension"] = EXTENSIONS
    response.headers["Tus-Max-Size"] = str(application().settings.max_upload_bytes)
    return response


@bp.post("")
@Operation(
    "Begin an upload that can be resumed",
    tag="Uploads",
    headers=("Tus-Resumable", "Upload-Length", "Upload-Metadata"),
    answers={
        201: OperationAnswer(
            "It waits for its bytes, at the address in Location.", headers=("Location", *_STANDING)
        )
    },
    raises=(
        TusVersionError,
        InvalidParameterError,
        UploadTooLargeError,
        QueueFullError,
        TooManyUploadsError,
        ShuttingDownError,
        *_STORAGE,
    ),
)
def create() -> Response:
    """tus creation. Of Upload-Metadata the key `filename` counts. Refused at once where a job would be refused."""
    check_version()
    length, limit = number_in("Upload-Length"), largest_upload()
    if length > limit:
        raise too_large(limit)
    name = file_name_in(request.headers.get("Upload-Metadata", ""))
    owner = owner_id()
    sender = owner or request.remote_addr or ""
    upload = application().service.resumable.create(length, name, owner=sender, key_id=owner)
    response = _standing(Response(status=201), upload)
    response.headers["Location"] = url_for("resumable.show", upload_id=upload.id)
    return response


@bp.get("/<upload_id>")
@Operation(
    "See how far an upload is",
    tag="Uploads",
    answers={
        200: OperationAnswer(
            "Its offset and length, also in the headers.", {JSON: ResumableUploadAnswer}, _STANDING
        )
    },
    raises=(UploadNotFoundError, *_STORAGE),
)
def show(upload_id: str) -> Response:
    """tus asks with HEAD, and that ends a connection that still sends, so that the offset in the answer stays true."""
    resumable = application().service.resumable
    if request.method == "HEAD":
        check_version()
        resumable.interrupt(upload_id)
    upload = resumable.get(upload_id)
    answer = ResumableUploadAnswer(
        upload_id=upload.id,
        file_name=upload.file_name,
        offset=upload.offset,
        length=upload.length,
        expires_at=upload.expires_at,
    )
    return _standing(jsonify(answer.model_dump(mode="json")), upload)


@bp.patch("/<upload_id>")
@Operation(
    "Send the next bytes of an upload",
    tag="Uploads",
    headers=("Tus-Resumable", "Upload-Offset"),
    bytes_type=CONTENT_TYPE,
    answers={204: OperationAnswer("They are here.", headers=_STANDING)},
    raises=(
        TusVersionError,
        InvalidParameterError,
        MediaTypeError,
        UploadNotFoundError,
        UploadOffsetError,
        BadRequestError,
        *_STORAGE,
    ),
)
def append(upload_id: str) -> Response:
    """Bytes that arrived before a connection broke are kept. A new connection takes over from an older one."""
    check_version()
    if request.mimetype != CONTENT_TYPE:
        raise MediaTypeError(
            f"The body is {request.mimetype[:80] or 'of no stated type'}.", fix=f"Send {CONTENT_TYPE}."
        )
    service = application().service
    # The turn knows how much belongs to the upload; None would be the limit of forms.
    request.max_content_length = largest_upload()
    with service.resumable.turn(upload_id, number_in("Upload-Offset"), hang_up()) as turn:
        try:
            receive(turn, service.check_room)
        except (ClientDisconnected, OSError):
            logger.info("upload_interrupted", upload_id=upload_id)
            raise BadRequestError("The connection broke before the announced end.") from None
    return _standing(Response(status=204), service.resumable.get(upload_id))


@bp.delete("/<upload_id>")
@Operation(
    "Give an upload up",
    tag="Uploads",
    headers=("Tus-Resumable",),
    answers={204: OperationAnswer("It is gone.")},
    raises=(TusVersionError, UploadNotFoundError, *_STORAGE),
)
def remove(upload_id: str) -> Response:
    """tus termination. One that has become a job is none any more: DELETE /jobs/{job_id}."""
    check_version()
    application().service.resumable.remove(upload_id)
    return Response(status=204)


def receive(turn: UploadTurn, check_room: Callable[[], None]) -> None:
    """Write the request's body, giving others their turn. Raises OSError when the connection breaks."""
    until_turn = 0
    while data := request.stream.read(PIECE_BYTES):
        if until_turn <= 0:
            until_turn = TURN_BYTES
            check_room()
            let_others_run()
        turn.write(data)
        until_turn -= len(data)


def largest_upload() -> int:
    """Bytes of the largest upload."""
    return application().settings.max_upload_bytes


def hang_up() -> Callable[[], None]:
    """What ends the connection of this request, from outside: a dead one would be waited for in vain."""
    sock: Any = request.environ.get("gunicorn.socket")

    def end() -> None:
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    return end


def check_version() -> None:
    """Raises TusVersionError."""
    if request.headers.get("Tus-Resumable") != VERSION:
        raise TusVersionError()


def number_in(header: str) -> int:
    """The header's number of bytes. Raises InvalidParameterError."""
    given = request.headers.get(header, "")
    if not _NUMBER.fullmatch(given):
        raise InvalidParameterError(header, given, "a whole number of bytes")
    return int(given)


def file_name_in(metadata: str) -> str:
    """The file's name, for show only. Raises InvalidParameterError."""
    if len(metadata) > _METADATA_BYTES:
        raise InvalidParameterError("Upload-Metadata", metadata, f"up to {_METADATA_BYTES} bytes")
    for pair in metadata.split(","):
        name, _, value = pair.strip().partition(" ")
        if name == "filename":
            try:
                return shown_name(base64.b64decode(value, validate=True).decode())
            except (binascii.Error, ValueError):
                raise InvalidParameterError(
                    "Upload-Metadata", metadata, "filename and base64 of UTF-8"
                ) from None
    return ""


def _standing(response: Response, upload: ResumableUpload) -> Response:
    response.headers["Upload-Offset"] = str(upload.offset)
    response.headers["Upload-Length"] = str(upload.length)
    response.headers["Upload-Expires"] = http_date(upload.expires_at)
    return response
