"""One table from error to HTTP status, and one body for every error (ADR 0007)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import structlog
from flask import Flask, Response, g, jsonify, make_response, render_template, request
from werkzeug.exceptions import HTTPException, RequestedRangeNotSatisfiable

from ..domain.errors import (
    AudioTooLongError,
    BadRequestError,
    BodyTimeoutError,
    CapacityError,
    ConfigError,
    CsrfTokenError,
    DecoderCrashedError,
    DownloadRefusedError,
    EmptyUploadError,
    EngineError,
    GpuRequiredError,
    HeaderTooLargeError,
    HostNotAllowedError,
    IdempotencyConflictError,
    InterruptedJobError,
    InvalidParameterError,
    JobCancelledError,
    JobFinishedError,
    JobNotFailedError,
    JobNotFinishedError,
    JobTimeoutError,
    KeyExistsError,
    LimitError,
    LiveSessionsFullError,
    MediaError,
    MediaTypeError,
    MethodNotAllowedError,
    MissingAudioError,
    ModelBusyError,
    NotFoundError,
    OriginNotAllowedError,
    QueueFullError,
    RangeError,
    RequestError,
    RevisionMissingError,
    RoleNotAllowedError,
    SourceError,
    StorageFullError,
    TooManyConnectionsError,
    TooManyTriesError,
    TooManyUploadsError,
    TranscriberError,
    TranscriptChangedError,
    TusVersionError,
    UnauthorizedError,
    UploadGoneError,
    UploadIncompleteError,
    UploadOffsetError,
    UploadTooLargeError,
    UriTooLongError,
    UrlNotAllowedError,
    WebNodeError,
    WebSocketRequiredError,
    WorkLimitError,
)
from ..domain.errors.stored import iter_classes
from .auth.sign_in import to_sign_in
from .negotiation import wants_html
from .openai_errors import is_openai, openai_body, openai_status

logger = structlog.get_logger(__name__)

#: Status by error class; a class without a row has that of its nearest ancestor.
STATUS: Mapping[type[TranscriberError], int] = MappingProxyType(
    {
        TranscriberError: 500,
        ConfigError: 500,
        RequestError: 400,
        BadRequestError: 400,
        MissingAudioError: 400,
        EmptyUploadError: 400,
        UnauthorizedError: 401,
        RoleNotAllowedError: 403,
        CsrfTokenError: 403,
        OriginNotAllowedError: 403,
        DownloadRefusedError: 403,
        WebNodeError: 409,
        NotFoundError: 404,
        MethodNotAllowedError: 405,
        BodyTimeoutError: 408,
        JobNotFinishedError: 409,
        JobFinishedError: 409,
        JobNotFailedError: 409,
        ModelBusyError: 409,
        KeyExistsError: 409,
        JobCancelledError: 409,
        UploadOffsetError: 409,
        UploadIncompleteError: 409,
        UploadGoneError: 410,
        TranscriptChangedError: 412,
        TusVersionError: 412,
        LimitError: 413,
        UploadTooLargeError: 413,
        AudioTooLongError: 413,
        UriTooLongError: 414,
        MediaTypeError: 415,
        RangeError: 416,
        HostNotAllowedError: 421,
        InvalidParameterError: 422,
        IdempotencyConflictError: 422,
        WorkLimitError: 422,
        MediaError: 422,
        SourceError: 422,
        UrlNotAllowedError: 403,
        DecoderCrashedError: 422,
        WebSocketRequiredError: 426,
        RevisionMissingError: 428,
        QueueFullError: 429,
        TooManyUploadsError: 429,
        LiveSessionsFullError: 429,
        TooManyTriesError: 429,
        TooManyConnectionsError: 429,
        HeaderTooLargeError: 431,
        CapacityError: 503,
        GpuRequiredError: 503,
        EngineError: 503,
        InterruptedJobError: 503,
        JobTimeoutError: 504,
        StorageFullError: 507,
    }
)

#: OpenAI's word for the kind of error, by status; other statuses by their hundred.
TYPES: Mapping[int, str] = MappingProxyType(
    {
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        421: "permission_error",
        429: "rate_limit_error",
    }
)


def init_app(app: Flask) -> None:
    """Answer every error, foreseen or not, with the one body."""
    app.register_error_handler(TranscriberError, answer_error)
    app.register_error_handler(HTTPException, answer_http_exception)
    app.register_error_handler(Exception, answer_unforeseen)


def answer_error(error: TranscriberError) -> Response:
    """The error as JSON, or as a page for browsers."""
    status = status_of(error)
    if is_openai(request.path):
        status = openai_status(status)
        response = jsonify(openai_answer(error))
    elif status == 401 and wants_html():
        return to_sign_in()
    else:
        response = _page(error, status) if wants_html() else jsonify(error_body(error))
        response.vary.add("Accept")
    response.status_code = status
    kind = class_of(error)
    if kind.retryable and status in (429, 503, 507):
        asked = getattr(error, "retry_after", getattr(kind, "retry_after", CapacityError.retry_after))
        response.headers["Retry-After"] = str(asked)
    if (status >= 500 or status in (408, 409)) and not kind.retryable:
        # OpenAI's SDKs send these twice more unless a header says that this won't help.
        response.headers["X-Should-Retry"] = "false"
    if status == 401:
        # Not Basic, though its password is taken, too: a browser would put its own window before our page.
        response.headers["WWW-Authenticate"] = 'Bearer realm="Transcriber"'
    return response


def answer_http_exception(error: HTTPException) -> Response:
    """What Flask and Werkzeug raise on their own, in our words."""
    if error.code is None or error.code < 400 or error.response is not None:
        return make_response(error.get_response(request.environ))
    response = answer_error(translate(error))
    if error.code == 405:
        response.headers["Allow"] = dict(error.get_headers())["Allow"]
    if isinstance(error, RequestedRangeNotSatisfiable) and error.length is not None:
        response.headers["Content-Range"] = f"bytes */{error.length}"
    return response


def answer_unforeseen(error: Exception) -> Response:
    """A fault of ours: all of it goes to the log, none of it to the client."""
    logger.error("request_failed", request_id=g.get("request_id"), exc_info=error)
    return answer_error(
        TranscriberError(
            "Something failed that the service did not foresee.",
            fix=f"Look for request {g.get('request_id')} in the service's log, and report it with that part of the log.",
        )
    )


def error_body(error: TranscriberError) -> dict[str, Any]:
    """The one shape of an error."""
    return {
        "error": {
            "code": error.code,
            "message": error.message,
            "param": error.param,
            "type": type_of(status_of(error)),
            "fix": error.fix,
        }
    }


def openai_answer(error: TranscriberError) -> dict[str, Any]:
    """The body of an error for OpenAI's clients."""
    return openai_body(error, type_of(openai_status(status_of(error))))


def status_of(error: TranscriberError) -> int:
    """The HTTP status, found along the ancestors of the error's class."""
    return status_of_class(class_of(error))


def status_of_class(kind: type[TranscriberError]) -> int:
    """The HTTP status of errors of this class."""
    return next(STATUS[ancestor] for ancestor in kind.__mro__ if ancestor in STATUS)


def class_of(error: TranscriberError) -> type[TranscriberError]:
    """The error's class; for one that was stored with its job, where only the code was kept, by code."""
    if type(error) is not TranscriberError:
        return type(error)
    return classes_by_code().get(error.code, TranscriberError)


def classes_by_code() -> dict[str, type[TranscriberError]]:
    """Every code that a class has as its own."""
    return {kind.code: kind for kind in iter_classes()}


def type_of(status: int) -> str:
    """The kind of error that OpenAI's clients know."""
    return TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")


def translate(error: HTTPException) -> TranscriberError:
    """Our error for one of Werkzeug's."""
    match error.code:
        case 404:
            return NotFoundError(fix="See / for the upload page and docs/api.md for the addresses.")
        case 405:
            allowed = dict(error.get_headers()).get("Allow", "")
            return MethodNotAllowedError(
                f"This address does not take {request.method}.", fix=f"Use {allowed}."
            )
        case 413:
            return LimitError(
                "The form has more fields, or larger ones, than are taken.",
                fix="Send one file and only the options that docs/api.md names.",
            )
        case 416:
            return RangeError()
        case code if code is not None and code < 500:
            return BadRequestError(error.description)
        case _:
            return TranscriberError()


def _page(error: TranscriberError, status: int) -> Response:
    return make_response(render_template("error.html", error=error, status=status))
