"""Every error the service raises on purpose, in one tree.

TranscriberError
├── ConfigError                  a setting is missing or wrong
├── RequestError                 the request itself is at fault
│   ├── InvalidParameterError    a parameter has a value that is not allowed
│   ├── MissingAudioError        no file came with the request
│   ├── BadRequestError          the request can't be read
│   ├── UnauthorizedError        no key, or a wrong one
│   ├── RoleNotAllowedError      the key's role does not allow it
│   ├── KeyExistsError           another key has the name
│   ├── CsrfTokenError           a signed-in browser's request without the page's token
│   ├── BodyTimeoutError         its body comes too slowly
│   ├── TooManyConnectionsError  too many connections from one address
│   ├── WorkLimitError           more work than one request may ask for
│   ├── WorkCancelledError       its client left meanwhile
│   ├── UriTooLongError          the address is longer than gunicorn takes
│   ├── HeaderTooLargeError      a header is larger than gunicorn takes
│   ├── OriginNotAllowedError    a page of another site sent the request
│   ├── HostNotAllowedError      the Host header names a host that is not ours
│   ├── NotFoundError            there is no such page
│   │   ├── JobNotFoundError     there is no such job
│   │   ├── UploadNotFoundError  there is no such unfinished upload
│   │   ├── KeyNotFoundError     there is no such key
│   │   └── ModelNotFoundError   there is no such model here
│   ├── JobNotFinishedError      the job has no transcript yet
│   ├── JobFinishedError         the job has ended, so it can't be cancelled
│   ├── JobNotFailedError        the job has not failed, so it can't be retried
│   ├── TranscriptChangedError   somebody else saved the transcript first
│   ├── RevisionMissingError     the request does not say which revision it changes
│   ├── ModelBusyError           the model is at work, so it can't be unloaded
│   ├── WebNodeError        a web node of a fleet holds none
│   ├── DownloadRefusedError     this installation fetches no models
│   ├── UploadGoneError          the job's upload is not in the spool any more
│   ├── IdempotencyConflictError the key was used for something else
│   ├── UploadOffsetError        bytes that don't follow those that are here
│   ├── UploadIncompleteError    not all of the file has arrived
│   ├── TusVersionError          another version of the upload protocol
│   ├── MediaTypeError           a body of a type that is not taken there
│   ├── RangeError               a part of a file that begins behind its end
│   ├── WebSocketRequiredError   the address speaks WebSocket alone
│   └── MethodNotAllowedError    the route does not take this method
├── MediaError                   the upload can't be used as audio
│   ├── EmptyUploadError         the file has no bytes
│   ├── UndecodableMediaError    no audio can be read from it
│   ├── NoAudioStreamError       it is media, but silent by construction
│   ├── DecodeTimeoutError       decoding took longer than is allowed
│   └── DecoderCrashedError      the sandboxed decoder died on it
├── SourceError                  the file behind a URL could not be fetched
│   ├── UrlNotAllowedError       its address is not on the internet
│   ├── UrlUnreachableError      its server can't be reached
│   ├── UrlRefusedError          its server answered with an error
│   ├── UrlRedirectsError        too many redirects, or to something else
│   ├── UrlTypeError             it is no media file
│   └── UrlTimeoutError          it took too long
├── LimitError                   more than this installation takes
│   ├── UploadTooLargeError      in bytes
│   └── AudioTooLongError        in seconds
├── CapacityError                not now
│   ├── QueueFullError           too many jobs wait
│   │   └── QueueShareFullError  too many of them are of one key
│   ├── TooManyUploadsError      too many uploads are unfinished
│   ├── TooManyTriesError        wrong keys, one after another
│   ├── StorageFullError         the disk is full, or only its reserve is left
│   │   └── AudioRoomError       no room for the decoded audio
│   ├── StorageFailedError       the data folder or the database can't be read or written
│   │   └── DatabaseUnavailableError  PostgreSQL can't be reached
│   ├── SearchTimeoutError       a search took too long
│   ├── DecoderUnavailableError  the decode server can't be started, or its sandbox does not hold
│   ├── LiveUnavailableError     no live captions on this node
│   ├── LiveSessionsFullError    too many live sessions are open
│   ├── ListenerError            the child that listens has ended
│   └── ShuttingDownError        the service is stopping
├── GpuRequiredError             the GPU was required and can't serve
├── JobTimeoutError              the job took longer than is allowed
├── JobGivenUpError              the job was begun again and again, and came to nothing
├── InterruptedJobError          the service stopped while a client waited for the job
├── EngineError                  the engine child failed
│   ├── EngineStartError         it did not become ready
│   ├── EngineCrashedError       it died in mid-work
│   └── EngineFailedError        it reported an error for this job
├── DiarizationError             the speakers could not be told apart; a warning of the answer
└── JobCancelledError            somebody cancelled the job

`code` is what programs match on; `param` names the request field at fault; `fix` says what to do.
"""

from __future__ import annotations

from ..selftest import SelfTestReport
from .base import CapacityError as CapacityError
from .base import TranscriberError as TranscriberError
from .live import ListenerError as ListenerError
from .live import LiveSessionsFullError as LiveSessionsFullError
from .live import LiveUnavailableError as LiveUnavailableError
from .live import WebSocketRequiredError as WebSocketRequiredError
from .request import BadRequestError as BadRequestError
from .request import BodyTimeoutError as BodyTimeoutError
from .request import CsrfTokenError as CsrfTokenError
from .request import DownloadRefusedError as DownloadRefusedError
from .request import HeaderTooLargeError as HeaderTooLargeError
from .request import HostNotAllowedError as HostNotAllowedError
from .request import IdempotencyConflictError as IdempotencyConflictError
from .request import InvalidParameterError as InvalidParameterError
from .request import JobFinishedError as JobFinishedError
from .request import JobNotFailedError as JobNotFailedError
from .request import JobNotFinishedError as JobNotFinishedError
from .request import JobNotFoundError as JobNotFoundError
from .request import KeyExistsError as KeyExistsError
from .request import KeyNotFoundError as KeyNotFoundError
from .request import MediaTypeError as MediaTypeError
from .request import MethodNotAllowedError as MethodNotAllowedError
from .request import MissingAudioError as MissingAudioError
from .request import ModelBusyError as ModelBusyError
from .request import ModelNotFoundError as ModelNotFoundError
from .request import NotFoundError as NotFoundError
from .request import OriginNotAllowedError as OriginNotAllowedError
from .request import RangeError as RangeError
from .request import RequestError as RequestError
from .request import RevisionMissingError as RevisionMissingError
from .request import RoleNotAllowedError as RoleNotAllowedError
from .request import TooManyConnectionsError as TooManyConnectionsError
from .request import TranscriptChangedError as TranscriptChangedError
from .request import TusVersionError as TusVersionError
from .request import UnauthorizedError as UnauthorizedError
from .request import UploadGoneError as UploadGoneError
from .request import UploadIncompleteError as UploadIncompleteError
from .request import UploadNotFoundError as UploadNotFoundError
from .request import UploadOffsetError as UploadOffsetError
from .request import UriTooLongError as UriTooLongError
from .request import WebNodeError as WebNodeError
from .request import WorkCancelledError as WorkCancelledError
from .request import WorkLimitError as WorkLimitError
from .source import SourceError as SourceError
from .source import UrlNotAllowedError as UrlNotAllowedError
from .source import UrlRedirectsError as UrlRedirectsError
from .source import UrlRefusedError as UrlRefusedError
from .source import UrlTimeoutError as UrlTimeoutError
from .source import UrlTypeError as UrlTypeError
from .source import UrlUnreachableError as UrlUnreachableError


class ConfigError(TranscriberError):
    """A setting is missing or has a value that is not allowed."""

    code = "invalid_setting"


class MediaError(TranscriberError):
    """The upload can't be used as audio."""

    code = "invalid_media"
    param = "audio"


class EmptyUploadError(MediaError):
    """The uploaded file has no bytes."""

    code = "empty_upload"
    fix = "Check that the file is not empty, and that the client really sends it."


class UndecodableMediaError(MediaError):
    """No audio can be read from the upload."""

    code = "undecodable_media"
    fix = "Send an audio or video file (wav, mp3, m4a, flac, ogg, webm, mp4, mkv and others), whole."


class NoAudioStreamError(MediaError):
    """The upload is a media file without an audio stream."""

    code = "no_audio_stream"
    fix = "Send a file that has a sound track."


class AudioTrackNotFoundError(MediaError):
    """The upload has no audio track with the number that was asked for."""

    code = "audio_track_not_found"
    fix = "Send audio_track with a number from 0 on, below the number of the file's audio tracks, or leave it out."


class DecodeTimeoutError(MediaError):
    """Decoding the upload took longer than is allowed."""

    code = "decode_timeout"
    fix = "Send the audio in another format (wav or flac), or raise WHISPER_DECODE_TIMEOUT_SECONDS."


class DecoderCrashedError(MediaError):
    """The sandboxed decoder died while it read the upload."""

    code = "decoder_crashed"
    fix = "The file is probably damaged. Convert it to wav or flac and send that."
    #: It was killed from outside (SIGKILL), or ended without a word: the file may be innocent.
    is_kill: bool = False


class LimitError(TranscriberError):
    """The request is larger than this installation takes."""

    code = "limit_exceeded"
    param = "audio"


class UploadTooLargeError(LimitError):
    """The upload has more bytes than are allowed."""

    code = "upload_too_large"
    fix = "Send a smaller or compressed file, or raise WHISPER_MAX_UPLOAD_BYTES."


class AudioTooLongError(LimitError):
    """The audio is longer than is allowed."""

    code = "audio_too_long"
    fix = "Split the file, or raise WHISPER_MAX_AUDIO_SECONDS."


class QueueFullError(CapacityError):
    """Too many jobs are waiting."""

    code = "queue_full"
    fix = "Send it again later, or raise WHISPER_MAX_QUEUE."


class QueueShareFullError(QueueFullError):
    """Too many jobs of this key are waiting."""

    code = "queue_share_full"
    fix = "Send it again when some of your jobs have ended, or raise WHISPER_KEY_QUEUE_SHARE."


class TooManyUploadsError(CapacityError):
    """Too many uploads are unfinished."""

    code = "too_many_uploads"
    fix = "Send it again in a minute; finish your unfinished uploads, or end some (DELETE /uploads/{upload_id})."
    retry_after = 60


class TooManyTriesError(CapacityError):
    """Too many wrong keys came, from this address or in all."""

    code = "too_many_tries"
    fix = "Wait, and look the key up before the next try."

    def __init__(self, wait_seconds: int = 5) -> None:
        super().__init__()
        self.retry_after = wait_seconds


class StorageFullError(CapacityError):
    """The disk of the data folder is full, or only its reserve is left."""

    code = "storage_full"
    fix = "Free space under DATA_DIR, or put DATA_DIR on a larger disk."
    retry_after = 60


class AudioRoomError(StorageFullError):
    """The decoded audio needs more room than the disk has besides its reserve."""

    code = "audio_does_not_fit"
    fix = (
        "It takes 115 MB for each hour of audio. Free space under DATA_DIR, lower WHISPER_DISK_RESERVE_BYTES, or split the "
        "file; then retry the job (POST /jobs/{job_id}/retry)."
    )


class StorageFailedError(CapacityError):
    """The data folder can't be read or written."""

    code = "storage_failed"
    fix = "Check that the disk under DATA_DIR is healthy and writable; the service's log names the cause."
    retry_after = 60


class DatabaseUnavailableError(StorageFailedError):
    """PostgreSQL can't be reached, or doesn't serve."""

    code = "database_unavailable"
    fix = "Check that PostgreSQL runs and that WHISPER_DATABASE_URL reaches it; the service goes on by itself once it does."
    retry_after = 5


class SearchTimeoutError(CapacityError):
    """The search took too long."""

    code = "search_timeout"
    fix = "Search for longer words, or fewer of them."


class DecoderUnavailableError(CapacityError):
    """The sandboxed decoder can't run on this machine now."""

    code = "decoder_unavailable"
    fix = "See /diagnostics and the log for what the decode server lacks (seccomp, memory, processes)."
    retry_after = 30


class ShuttingDownError(CapacityError):
    """The service is stopping."""

    code = "shutting_down"
    fix = "Send it again in a moment."


class GpuRequiredError(TranscriberError):
    """The GPU was required, and it can't serve."""

    code = "gpu_required"
    retryable = True


class JobTimeoutError(TranscriberError):
    """The job took longer than is allowed."""

    code = "job_timeout"
    fix = "Split the file, take a smaller model, or raise WHISPER_JOB_TIMEOUT_SECONDS."


class JobGivenUpError(TranscriberError):
    """The job was begun again and again, and came to nothing."""

    code = "too_many_attempts"
    fix = "See the service's log for what ends the service while it works on this job, then retry it."


class InterruptedJobError(TranscriberError):
    """The service stopped before this job was done."""

    code = "interrupted"
    fix = "Send the file again; a job without a waiting connection goes on after a restart."
    retryable = True


class EngineError(TranscriberError):
    """The engine failed."""

    code = "engine_error"
    retryable = True


class EngineStartError(EngineError):
    """The engine child did not become ready."""

    code = "engine_start_failed"
    #: What its self-test found, if it came so far.
    selftest: SelfTestReport | None = None


class EngineCrashedError(EngineError):
    """The engine child died while it worked on this job."""

    code = "engine_crashed"
    fix = "Try again; if it happens with this file only, the file is the cause. See the log for the child's last words."
    #: It died by a fault of its own; else somebody or the kernel killed it, or we ended it.
    is_fault: bool = False
    #: We ended it, for a reason that is none of this job's: it drifted, had no room, made way, or lied.
    is_ours: bool = False

    def __init__(
        self,
        message: str | None = None,
        *,
        is_fault: bool = False,
        is_ours: bool = False,
        code: str | None = None,
    ) -> None:
        super().__init__(message, code=code)
        self.is_fault = is_fault
        self.is_ours = is_ours


class EngineFailedError(EngineError):
    """The engine reported an error for this job."""

    code = "engine_failed"


class DiarizationError(TranscriberError):
    """The speakers could not be told apart. The transcript is given without them, and this in its warnings."""

    code = "diarization_failed"
    fix = "Retry the job; if it happens again, see the log for the child's last words."
    retryable = True


class JobCancelledError(TranscriberError):
    """The job was cancelled."""

    code = "job_cancelled"
