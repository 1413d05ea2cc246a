"""What is wrong with a request. Import them from errors.py, which has the whole tree."""

from __future__ import annotations

from .base import TranscriberError


class RequestError(TranscriberError):
    """The request can't be served as it was sent."""

    code = "invalid_request"


class InvalidParameterError(RequestError):
    """A parameter has a value that is not allowed."""

    code = "invalid_parameter"

    def __init__(
        self, param: str, given: object, allowed: str, *, code: str | None = None, fix: str = ""
    ) -> None:
        shown = repr(given)
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        super().__init__(
            f"{param} was {shown}; allowed: {allowed}.",
            param=param,
            code=code,
            fix=fix or f"Send {param} as {allowed}, or leave it out.",
        )
        self.given = given
        self.allowed = allowed


class MissingAudioError(RequestError):
    """The request carries no audio file."""

    code = "missing_audio"
    param = "audio"
    fix = "Send the file as the multipart field 'audio': curl -F audio=@speech.mp3 http://HOST/transcribe"


class BadRequestError(RequestError):
    """The request can't be read."""

    code = "bad_request"


class BodyTimeoutError(RequestError):
    """The body of the request comes too slowly, or not at all."""

    code = "request_timeout"
    fix = "Send the body at once, at 1 kB/s or faster; a large file on a bad line as a resumable upload (/uploads)."
    retryable = True


class TooManyConnectionsError(RequestError):
    """There are too many connections from this address."""

    code = "too_many_connections"
    fix = "Use fewer connections at a time, or raise WHISPER_CONNECTIONS_PER_ADDRESS."
    retryable = True


class WorkLimitError(RequestError):
    """The request asks for more work than one may."""

    code = "work_limit_exceeded"
    fix = "Send the changes in several smaller requests, and name each source once."


class WorkCancelledError(RequestError):
    """The client left before the work was done."""

    code = "work_cancelled"


class UriTooLongError(RequestError):
    """The address of the request is longer than is taken."""

    code = "uri_too_long"
    fix = "Send options as form fields, and keep the address under 4094 bytes."


class HeaderTooLargeError(RequestError):
    """A header of the request is larger than is taken, or there are too many."""

    code = "header_too_large"
    fix = "Keep each header under 8190 bytes, and their number under 100; cookies are the usual cause."


class UnauthorizedError(RequestError):
    """The request has no API key, or a wrong one."""

    code = "unauthorized"
    fix = "Send a key as 'Authorization: Bearer KEY'; an admin makes one with: python -m transcriber keys add NAME"


class RoleNotAllowedError(RequestError):
    """The key's role does not allow this."""

    code = "role_not_allowed"
    fix = "Use a key with the role admin; an admin makes one at /keys or with: python -m transcriber keys add NAME --role admin"


class KeyExistsError(RequestError):
    """A key of this name is in use."""

    code = "key_exists"
    param = "name"
    fix = "Choose another name, or revoke the key first."


class CsrfTokenError(RequestError):
    """The request of a signed-in browser lacks the page's token, or has an old one."""

    code = "csrf_token_invalid"
    fix = "Load the page again. Programs send the key as 'Authorization: Bearer KEY' and need no token."


class OriginNotAllowedError(RequestError):
    """A page of another site sent this request."""

    code = "origin_not_allowed"
    fix = "Use the service's own page, or a client that sends no Origin header."


class HostNotAllowedError(RequestError):
    """The Host header names a host this service does not answer for."""

    code = "host_not_allowed"
    fix = "Add the name to WHISPER_ALLOWED_HOSTS and restart."


class NotFoundError(RequestError):
    """There is nothing at this address."""

    code = "not_found"


class JobNotFoundError(NotFoundError):
    """There is no such job."""

    code = "job_not_found"


class UploadNotFoundError(NotFoundError):
    """There is no such unfinished upload."""

    code = "upload_not_found"
    fix = "Begin again with POST /uploads; WHISPER_KEEP_UNFINISHED_HOURS says how long an upload may rest."


class KeyNotFoundError(NotFoundError):
    """There is no such key."""

    code = "key_not_found"
    param = "name"
    fix = "List the keys: python -m transcriber keys list"


class ModelNotFoundError(NotFoundError):
    """The model is not on this machine."""

    code = "model_not_found"
    param = "model"


class JobNotFinishedError(RequestError):
    """The job has no transcript yet."""

    code = "job_not_finished"


class JobFinishedError(RequestError):
    """The job has ended already."""

    code = "job_finished"
    fix = "A job that has ended can be removed: DELETE /jobs/{job_id}?purge=true"


class JobNotFailedError(RequestError):
    """Only a job that failed can be retried."""

    code = "job_not_failed"
    fix = "Submit the file as a new job."


class TranscriptChangedError(RequestError):
    """The transcript was changed since it was read."""

    code = "transcript_changed"
    param = "If-Match"
    fix = "Read the transcript again and make the change on what is there now."


class RevisionMissingError(RequestError):
    """The request does not say which revision of the transcript it changes."""

    code = "revision_missing"
    param = "If-Match"
    fix = "Send the ETag of the transcript as If-Match."


class ModelBusyError(RequestError):
    """The model is at work."""

    code = "model_busy"
    param = "model"
    fix = "Wait for its jobs to end, or cancel them (GET /jobs shows them), then send it again."


class WebNodeError(RequestError):
    """This web node of a fleet holds no engine."""

    code = "no_engine_here"
    fix = "Workers load models by themselves, as jobs ask for them: see workers[] in /diagnostics."


class DownloadRefusedError(RequestError):
    """This installation does not fetch models."""

    code = "model_download_refused"
    param = "model"
    fix = "Set WHISPER_MODEL_DOWNLOAD=true and restart, or put the model's folder in place by hand (docs/models.md)."


class UploadGoneError(RequestError):
    """The job's upload is not kept any more."""

    code = "upload_gone"
    fix = "Send the file again; WHISPER_KEEP_UPLOADS_HOURS says how long uploads are kept."


class IdempotencyConflictError(RequestError):
    """This Idempotency-Key was used for another file or other options."""

    code = "idempotency_key_reused"
    fix = "Send a new Idempotency-Key with each new submission."


class UploadOffsetError(RequestError):
    """These bytes don't begin where the upload ends."""

    code = "upload_offset_mismatch"
    param = "Upload-Offset"
    fix = "Ask with HEAD how many bytes are here, and go on from there."


class UploadIncompleteError(RequestError):
    """The upload has not arrived as a whole."""

    code = "upload_incomplete"
    param = "upload"
    fix = "Send the rest with PATCH /uploads/{upload_id}, then submit it again."


class TusVersionError(RequestError):
    """The request does not name the version of the upload protocol that is spoken here."""

    code = "tus_version_unsupported"
    param = "Tus-Resumable"
    fix = "Send the header 'Tus-Resumable: 1.0.0'."


class MediaTypeError(RequestError):
    """The body's type is not accepted here."""

    code = "unsupported_media_type"
    param = "Content-Type"


class RangeError(RequestError):
    """The part that was asked for begins behind the end of the file."""

    code = "range_not_satisfiable"
    param = "Range"
    fix = "Ask for a range within the length that Content-Range names, or for the whole file."


class MethodNotAllowedError(RequestError):
    """This address does not take this method."""

    code = "method_not_allowed"
