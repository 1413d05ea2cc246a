"""POST /transcribe: one file in, one transcript out, in the same request."""

from __future__ import annotations

from typing import cast

from flask import Blueprint, Response, g, make_response, render_template, request
from werkzeug.datastructures import MultiDict

from ..domain.jobs import Job
from ..domain.transcript import Transcription
from .current import application
from .forms import TranscriptionForm, parse_form
from .negotiation import wants_html
from .transcripts import rendered, set_facts
from .uploads import UploadRequest, received_upload

bp = Blueprint("api", __name__)


@bp.post("/transcribe")
def transcribe() -> Response:
    """Receive, submit, wait, answer. What arrived is removed again if it never becomes a job."""
    app = application()
    upload_request = cast(UploadRequest, request)
    with received_upload(app.service, upload_request, app.settings.max_upload_bytes) as upload:
        form = read_options()
        wanted = form.to_request(
            model=app.default_model,
            use_gpu=app.settings.default_use_gpu,
            vad_filter=app.settings.vad_filter,
        )
        job = app.service.submit(upload.place, wanted, file_name=upload.file_name, request_id=g.request_id)
    transcription = app.service.wait(job.id)
    return answer(form, app.service.get(job.id), transcription)


def read_options() -> TranscriptionForm:
    """Options from the query string and the form; the form's win, and of one name the last."""
    return parse_form(last_values(request.args), last_values(request.form))


def last_values(fields: MultiDict[str, str]) -> dict[str, str]:
    """The last value of each field: a checkbox follows the hidden field that stands in for it unchecked."""
    return {name: values[-1] for name, values in fields.lists()}


def answer(form: TranscriptionForm, job: Job, transcription: Transcription) -> Response:
    """The format that was asked for; else a page for browsers and JSON for programs."""
    if form.response_format is None and wants_html():
        response = make_response(render_template("transcript.html", job=job, transcription=transcription))
        set_facts(response, transcription)
    else:
        response = rendered(transcription, form.response_format or "json")
    response.vary.add("Accept")
    return response
