"""Taking in one request of OpenAI's audio routes: its file and fields, and the job they become, or have become."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from flask import request

from ...domain.jobs import Job, JobStatus, SubmissionTerms
from ..auth.access import owner_id
from ..extensions import application, resends
from ..uploads.receiver import ReceivedUpload, UploadRequest, received_bytes, received_upload
from ..uploads.submissions import idempotency_key, make_job
from .fields import Fields, fields_of_form, fields_of_json
from .forms import SpeechForm, parse_speech
from .json_body import decoded, read_json, take_audio
from .models import ModelNames
from .references import FORM_BYTES, MAX_FIELD_BYTES, decode_references

#: OpenAI's SDKs count their tries in this header.
_TRY_HEADER = "X-Stainless-Retry-Count"

#: Names of the file's field, the first preferred.
FILE_FIELDS = ("file", "audio")


@dataclass(frozen=True, kw_only=True)
class Received:
    """What was sent, the job that it became, and what a re-send of it is known by."""

    form: SpeechForm
    job: Job
    fingerprint: str
    is_resend: bool


def receive(kind: type[SpeechForm]) -> Received:
    """Receive the request and make it a job, unless it is one that comes again."""
    with _arrived(cast(UploadRequest, request)) as (upload, fields):
        form = parse_speech(kind, fields)
        references = decode_references(form.known_speaker_references) if form.wants_speakers else ()
        fingerprint = _fingerprint(form, upload, references)
        known = _find_job(fingerprint)
        if known is not None:
            application().service.abandon_upload(upload.place)
            return Received(form=form, job=known, fingerprint=fingerprint, is_resend=True)
        key = idempotency_key()
        terms = SubmissionTerms(
            is_awaited=True,
            idempotency_key=key,
            fingerprint=None if key is None else fingerprint,
            owner=owner_id(),
        )
        for number, recording in enumerate(references):
            application().service.add_reference(upload.place, number, recording)
        job = make_job(_resolved(form), upload, terms)
    return Received(form=form, job=job, fingerprint=fingerprint, is_resend=job.id != upload.place.job_id)


@contextmanager
def _arrived(sent: UploadRequest) -> Iterator[tuple[ReceivedUpload, Fields]]:
    """The file in the spool, and the fields; the file is removed again when the body of the `with` fails."""
    service, limit = application().service, application().settings.max_upload_bytes
    in_query = fields_of_form(sent.args.items(multi=True))
    if sent.mimetype == "application/json":
        body = read_json(sent)
        text, name = take_audio(body)
        pieces = decoded(text)
        with received_bytes(service, pieces, limit, name=name, expected_bytes=len(text) * 3 // 4) as upload:
            yield upload, in_query | fields_of_json(body)
        return
    sent.form_room_bytes, sent.max_form_memory_size = FORM_BYTES, MAX_FIELD_BYTES
    with received_upload(service, sent, limit, needs_digest=True, fields=FILE_FIELDS) as upload:
        yield upload, in_query | fields_of_form(sent.form.items(multi=True))


def _resolved(form: SpeechForm) -> SpeechForm:
    """The form with the name of a model that is here in place of an alias."""
    app = application()
    names = ModelNames(app.default_model, app.settings.model_aliases)
    return form.model_copy(update={"model": names.resolve(form.model)})


def _find_job(fingerprint: str) -> Job | None:
    """The job of the request that this one repeats, while it is of use."""
    count = request.headers.get(_TRY_HEADER, "0")
    job_id = resends().find(fingerprint, is_resend=count.isascii() and count.isdigit() and int(count) > 0)
    job = None if job_id is None else application().service.find(job_id)
    if job is None or job.status in (JobStatus.FAILED, JobStatus.CANCELLED):
        return None
    return job


def _fingerprint(form: SpeechForm, upload: ReceivedUpload, references: Sequence[bytes]) -> str:
    """A digest of all that was sent, and of who sent it."""
    sent: Mapping[str, Any] = {
        "path": request.path,
        "owner": owner_id(),
        "key": request.headers.get("Idempotency-Key"),
        "file": upload.digest,
        "references": [hashlib.sha256(recording).hexdigest() for recording in references],
        "form": form.model_dump(mode="json", exclude={"known_speaker_references"}),
    }
    return hashlib.sha256(json.dumps(sent, sort_keys=True).encode()).hexdigest()
