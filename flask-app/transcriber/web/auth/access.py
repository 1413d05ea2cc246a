"""The jobs and uploads that a requester may see; any other does not exist for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile
from typing import TypeVar

from flask import current_app, g, request
from werkzeug.exceptions import MethodNotAllowed

from ...domain.errors import JobNotFoundError, UploadNotFoundError
from ...domain.jobs import Job
from ...domain.keys import Principal, Role
from ...jobs.files.resumable import ResumableUpload
from ...jobs.ids import is_job_id
from ..extensions import application

Event = TypeVar("Event")


def principal() -> Principal:
    """Who asks."""
    found: Principal = g.principal
    return found


def owner_id() -> str | None:
    """What the jobs of this request are marked with."""
    return principal().owner


def get_job(job_id: str) -> Job:
    """The job. Raises JobNotFoundError, for another's and for a text that can't be an id too."""
    if not is_job_id(job_id):
        raise JobNotFoundError(fix="Job ids begin with job_; the answer to the upload has it.")
    job = application().service.get(job_id)
    if not principal().sees(job.owner):
        raise JobNotFoundError(f"There is no job {job_id[:80]}.")
    return job


def get_upload(upload_id: str) -> ResumableUpload:
    """The upload. Raises UploadNotFoundError, for another's too."""
    upload = application().service.resumable.get(upload_id)
    if not principal().sees(upload.key_id):
        raise UploadNotFoundError()
    return upload


def while_allowed(events: Iterable[Event]) -> Iterator[Event]:
    """The events of a stream, until the key that opened it is revoked or expires."""
    who, keys = principal(), application().keys
    return takewhile(lambda _: keys.is_valid(who), events)


def named_by_address() -> Mapping[str, str]:
    """What the address names, also where it does not take the request's method."""
    if request.view_args is not None:
        return request.view_args
    if not isinstance(request.routing_exception, MethodNotAllowed):
        return {}
    adapter = current_app.create_url_adapter(request)
    if adapter is None:
        return {}
    _, arguments = adapter.match(method=next(iter(adapter.allowed_methods())))
    return arguments


def check_owner(arguments: Mapping[str, str]) -> None:
    """Raises JobNotFoundError, UploadNotFoundError for what an address names and somebody else owns.

    Before all other checks, so that another's job looks like one that doesn't exist.
    """
    if principal().role is Role.ADMIN:
        return
    if (job_id := arguments.get("job_id")) is not None:
        get_job(job_id)
    if (upload_id := arguments.get("upload_id")) is not None:
        get_upload(upload_id)
