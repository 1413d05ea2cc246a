"""What each route takes and answers, said beside the route itself: /openapi.json is written from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import BaseModel

from ...domain import errors as e
from ...domain.keys import Role
from ...formats.table import DOWNLOADS, FORMATS

HTML = "text/html"
JSON = "application/json"
EVENTS = "text/event-stream"

#: Media types of transcripts that are not JSON.
TRANSCRIPT_TYPES = tuple(
    row.content_type.partition(";")[0] for row in FORMATS.values() if row.content_type != JSON
)

#: Media types of downloads that are not JSON.
DOWNLOAD_TYPES = tuple(
    dict.fromkeys(
        row.content_type.partition(";")[0] for row in DOWNLOADS.values() if row.content_type != JSON
    )
)

Errors = tuple[type[e.TranscriberError], ...]

#: Why a file is not accepted as a job.
SUBMISSION_ERRORS: Errors = (
    e.BadRequestError,
    e.MissingAudioError,
    e.EmptyUploadError,
    e.ModelNotFoundError,
    e.LimitError,
    e.UploadTooLargeError,
    e.InvalidParameterError,
    e.IdempotencyConflictError,
    e.QueueFullError,
    e.GpuRequiredError,
    e.ShuttingDownError,
    e.StorageFailedError,
    e.StorageFullError,
)

#: Why an upload that arrived before is not accepted as a job.
ARRIVED_ERRORS: Errors = (e.UploadNotFoundError, e.UploadIncompleteError)

#: Why a job that was accepted has no transcript in the end.
RUN_ERRORS: Errors = (
    e.JobCancelledError,
    e.UrlNotAllowedError,
    e.UrlUnreachableError,
    e.UrlRefusedError,
    e.UrlRedirectsError,
    e.UrlTypeError,
    e.UrlTimeoutError,
    e.AudioTooLongError,
    e.UndecodableMediaError,
    e.NoAudioStreamError,
    e.DecodeTimeoutError,
    e.DecoderCrashedError,
    e.DecoderUnavailableError,
    e.GpuRequiredError,
    e.EngineStartError,
    e.EngineCrashedError,
    e.EngineFailedError,
    e.InterruptedJobError,
    e.JobTimeoutError,
    e.JobGivenUpError,
)

#: Why a job can't be looked up.
LOOKUP_ERRORS: Errors = (e.JobNotFoundError, e.StorageFailedError)


@dataclass(frozen=True)
class OperationAnswer:
    """One status: what it means, and the body by media type (a model, or str for text)."""

    description: str
    bodies: Mapping[str, type[BaseModel] | type[str]] = field(default_factory=dict)
    headers: tuple[str, ...] = ()
    #: The X- headers that say where the work ran.
    has_facts: bool = False


@dataclass(frozen=True, kw_only=True)
class UploadBody:
    """A multipart body: a file, and the fields of this form."""

    #: None: options stand in the query.
    form: type[BaseModel] | None = None
    #: The name of the file's field.
    field: str = "audio"


Roles = frozenset[Role]

#: Who may ask: everybody but those that read figures only; admins; admins and readers of figures.
TEAM: Roles = frozenset({Role.ADMIN, Role.USER})
ADMINS: Roles = frozenset({Role.ADMIN})
FIGURES: Roles = frozenset({Role.ADMIN, Role.METRICS})
EVERYBODY: Roles = frozenset(Role)

View = TypeVar("View", bound=Callable[..., Any])

#: Where the description stands on a route's function.
_ATTRIBUTE = "operation"


@dataclass(frozen=True)
class Operation:
    """One route as its callers see it; decorates the route's function, whose docstring says the rest."""

    summary: str
    tag: str
    answers: Mapping[int, OperationAnswer]
    raises: Errors = ()
    upload: UploadBody | None = None
    #: The JSON body, or the fields of a form that may also be left out.
    body: type[BaseModel] | None = None
    form: type[BaseModel] | None = None
    #: Media type of a body that is bytes and nothing else.
    bytes_type: str | None = None
    query: type[BaseModel] | None = None
    #: Request headers that mean something here, by name.
    headers: tuple[str, ...] = ()
    #: It answers without a key.
    is_open: bool = False
    #: The roles of keys that may ask.
    roles: Roles = TEAM

    def __call__(self, view: View) -> View:
        setattr(view, _ATTRIBUTE, self)
        return view


def find_operation(view: Callable[..., Any]) -> Operation | None:
    """The description of a route's function."""
    found = getattr(view, _ATTRIBUTE, None)
    return found if isinstance(found, Operation) else None


#: A file of ours, sent the way browsers like it.
FILE_ANSWERS: Mapping[int, OperationAnswer] = MappingProxyType(
    {
        200: OperationAnswer("The file.", {"*/*": str}),
        206: OperationAnswer("The part of it that Range asked for.", {"*/*": str}),
        304: OperationAnswer("It has not changed."),
    }
)
FILE_ERRORS: Errors = (e.RangeError, e.NotFoundError)


def page(description: str) -> Mapping[int, OperationAnswer]:
    """A route that answers with a page, and with nothing else."""
    return {200: OperationAnswer(description, {HTML: str})}
