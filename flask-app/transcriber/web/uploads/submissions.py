"""One submission: a file and its options received, its Idempotency-Key honoured, and a job made of it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, cast

from flask import Response, g, request
from werkzeug.datastructures import MultiDict

from ...domain.errors import (
    EmptyUploadError,
    InvalidParameterError,
    JobNotFoundError,
    MissingAudioError,
    UploadNotFoundError,
)
from ...domain.jobs import Job, SubmissionTerms
from ...jobs.ids import is_job_id
from ...service.submission import Upload
from ...system.durable_files import storage_errors
from ..auth import csrf
from ..auth.access import get_job, get_upload, owner_id
from ..extensions import application
from ..file_names import name_of_url, shown_name
from ..forms import Form, OptionsForm, parse_fields
from .receiver import ReceivedUpload, UploadRequest, find_stand_in, find_stand_in_alone, received_upload

_SANE_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, kw_only=True)
class SubmissionForm(Generic[Form]):
    """What was submitted, and the job that it became, or that its Idempotency-Key had become before."""

    form: Form
    job: Job
    is_replay: bool

    def mark(self, response: Response) -> Response:
        """Say in the answer that nothing new was begun."""
        if self.is_replay:
            response.headers["Idempotency-Replayed"] = "true"
        return response


def receive_submission(kind: type[Form], terms_of: Callable[[Form], SubmissionTerms]) -> SubmissionForm[Form]:
    """Receive the request's file, or find the one that arrived before, and make it a job.

    A file of this request is removed again if it becomes none; one that arrived before stays for another try.
    """
    app = application()
    key = idempotency_key()
    limit = app.settings.max_upload_bytes
    upload_request = cast(UploadRequest, request)
    makers = {"upload": _submit_arrived, "url": _submit_url}
    takes_stand_in = "upload" in kind.model_fields
    if takes_stand_in and (field := find_stand_in(upload_request)) is not None:
        return makers[field](kind, terms_of, key)
    try:
        with received_upload(app.service, upload_request, limit, needs_digest=key is not None) as upload:
            csrf.check_form_token()
            form = read_options(kind)
            _refuse_url(form)
            terms = replace(
                terms_of(form), idempotency_key=key, fingerprint=_fingerprint(form, upload), owner=owner_id()
            )
            job = make_job(form, upload, terms)
    except MissingAudioError:
        field = find_stand_in_alone(upload_request) if takes_stand_in else None
        if field is None:
            raise
        csrf.check_form_token()
        return makers[field](kind, terms_of, key)
    return SubmissionForm(form=form, job=job, is_replay=job.id != upload.place.job_id)


def _submit_arrived(
    kind: type[Form], terms_of: Callable[[Form], SubmissionTerms], key: str | None
) -> SubmissionForm[Form]:
    """A job of an upload that came in parts. The key is asked first: under it the upload may be a job already.

    Without a key, too, who asks again because the first answer got lost is answered with the job of then.
    """
    service = application().service
    form = read_options(kind)
    upload_id = request.form["upload"].strip()
    if not is_job_id(upload_id):
        raise InvalidParameterError(
            "upload", upload_id, "the id of an upload, which is the last part of its address: job_…"
        )
    fingerprint = _digest(form, None) if key else None
    terms = replace(terms_of(form), idempotency_key=key, fingerprint=fingerprint, owner=owner_id())
    earlier = service.find_submitted(key, terms.fingerprint) if key else None
    if earlier is not None:
        return SubmissionForm(form=form, job=earlier, is_replay=True)
    try:
        with service.resumable.claimed(get_upload(upload_id).id) as arrived:
            if arrived.length == 0:
                raise EmptyUploadError()
            path = service.resumable.path(arrived.id)
            place = Upload(job_id=arrived.id, path=path)
            upload = ReceivedUpload(place=place, file_name=arrived.file_name, size_bytes=arrived.length)
            job = make_job(form, upload, terms)
    except UploadNotFoundError:
        return SubmissionForm(form=form, job=_job_of_upload(upload_id), is_replay=True)
    return SubmissionForm(form=form, job=job, is_replay=job.id != arrived.id)


def _submit_url(
    kind: type[Form], terms_of: Callable[[Form], SubmissionTerms], key: str | None
) -> SubmissionForm[Form]:
    """A job of a file that is elsewhere: it is fetched before the job waits for its turn."""
    service = application().service
    form = read_options(kind)
    fingerprint = _digest(form, None) if key else None
    terms = replace(terms_of(form), idempotency_key=key, fingerprint=fingerprint, owner=owner_id())
    place = service.begin_upload(owner=terms.owner)
    try:
        with storage_errors():
            place.path.touch()
        url = getattr(form, "url", None) or ""
        upload = ReceivedUpload(place=place, file_name=shown_name(name_of_url(url)), size_bytes=0)
        job = make_job(form, upload, terms)
    except BaseException:  # also a greenlet that is killed: nothing may stay in the spool
        service.abandon_upload(place)
        raise
    return SubmissionForm(form=form, job=job, is_replay=job.id != place.job_id)


def _refuse_url(form: OptionsForm) -> None:
    """Raises InvalidParameterError for a URL beside a file: one of the two would be ignored."""
    url = getattr(form, "url", None)
    if url is not None:
        raise InvalidParameterError("url", url, "left out where a file is sent")


def _job_of_upload(upload_id: str) -> Job:
    """The job that an upload became: it has the upload's id. Raises UploadNotFoundError, for another's too."""
    try:
        return get_job(upload_id)
    except JobNotFoundError:
        raise UploadNotFoundError() from None


def idempotency_key() -> str | None:
    """The caller's key, as its own: others may use the same. Raises InvalidParameterError."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not _SANE_KEY.fullmatch(key):
        raise InvalidParameterError("Idempotency-Key", key, "1 to 255 visible ASCII characters")
    owner = owner_id()
    # A space is in no key that is sent, so that nobody can send another's.
    return key if owner is None else f"{owner} {key}"


def read_options(kind: type[Form]) -> Form:
    """Options from the query string and the form; the form's win, and of one name the last."""
    fields = last_values(request.form)
    fields.pop(csrf.FIELD, None)
    return parse_fields(kind, last_values(request.args), fields)


def last_values(fields: MultiDict[str, str]) -> dict[str, str]:
    """The last value of each field: a checkbox follows the hidden field that stands in for it unchecked."""
    return {name: values[-1] for name, values in fields.lists()}


def make_job(form: OptionsForm, upload: ReceivedUpload, terms: SubmissionTerms) -> Job:
    """The job of a received file; under an Idempotency-Key that is known, the job that has it."""
    app = application()
    wanted = form.to_request(
        model=app.default_model,
        use_gpu=app.settings.default_use_gpu,
        vad_filter=app.settings.vad_filter,
    )
    wanted = replace(wanted, url=getattr(form, "url", None))
    if terms.idempotency_key is not None and terms.fingerprint is not None:
        earlier = app.service.find_submitted(terms.idempotency_key, terms.fingerprint)
        if earlier is not None:
            app.service.abandon_upload(upload.place)
            return earlier
    return app.service.submit(
        upload.place, wanted, file_name=upload.file_name, request_id=g.request_id, terms=terms
    )


def _fingerprint(form: OptionsForm, upload: ReceivedUpload) -> str | None:
    """A digest of everything that was sent under the key: the address, the file's bytes, the options."""
    if upload.digest is None:
        return None
    return _digest(form, upload.digest)


def _digest(form: OptionsForm, file: str | None) -> str:
    sent = {"path": request.path, "file": file, "form": form.model_dump(mode="json")}
    return hashlib.sha256(json.dumps(sent, sort_keys=True).encode()).hexdigest()
