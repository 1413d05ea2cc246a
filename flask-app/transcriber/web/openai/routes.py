"""POST /v1/audio/transcriptions and /v1/audio/translations, GET /v1/models: what OpenAI's clients speak."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import Any

import structlog
from flask import Blueprint, Response, jsonify, request

from ...domain import errors as e
from ...domain.transcript import Transcription
from ..auth.access import while_allowed
from ..client_disconnect import ClientConnection, ClientGoneError, wait_for
from ..errors import openai_answer
from ..extensions import application, resends
from ..openapi.operations import (
    EVENTS,
    JSON,
    RUN_ERRORS,
    SUBMISSION_ERRORS,
    TRANSCRIPT_TYPES,
    Operation,
    OperationAnswer,
    UploadBody,
)
from .answers import ModelListAnswer, ModelObject, SpeechAnswer
from .events import stream_lines
from .forms import SpeechForm, TranslationForm
from .models import ModelNames
from .receiving import Received, receive
from .render import answer, last_events
from .resends import WaitingRequest

logger = structlog.get_logger(__name__)

bp = Blueprint("openai", __name__, url_prefix="/v1")

_ANSWERS = {
    200: OperationAnswer(
        "The transcript in the format that was asked for; with `stream=true` OpenAI's typed events.",
        {JSON: SpeechAnswer, **dict.fromkeys(TRANSCRIPT_TYPES, str), EVENTS: str},
        has_facts=True,
    )
}


@bp.post("/audio/transcriptions")
@Operation(
    "Transcribe (OpenAI)",
    tag="OpenAI",
    upload=UploadBody(form=SpeechForm, field="file"),
    answers=_ANSWERS,
    raises=SUBMISSION_ERRORS + RUN_ERRORS,
)
def transcriptions() -> Response:
    """As OpenAI's, with the device facts in the headers and in JSON. A client that closes its connection and sends the
    same again within 60 s finds its job; after that the job is cancelled."""
    return _answered(receive(SpeechForm))


@bp.post("/audio/translations")
@Operation(
    "Translate into English (OpenAI)",
    tag="OpenAI",
    upload=UploadBody(form=TranslationForm, field="file"),
    answers=_ANSWERS,
    raises=SUBMISSION_ERRORS + RUN_ERRORS,
)
def translations() -> Response:
    """As transcriptions, with `task=translate`; refused for a model that can't translate."""
    return _answered(receive(TranslationForm))


@bp.get("/models")
@Operation(
    "List models (OpenAI)",
    tag="OpenAI",
    answers={
        200: OperationAnswer(
            "Models that are here, and the names that stand for one.", {JSON: ModelListAnswer}
        )
    },
)
def models() -> Response:
    """Models on this machine, then OpenAI's names and those of WHISPER_MODEL_ALIASES."""
    return jsonify({"object": "list", "data": _names().all(application().service.models())})


@bp.get("/models/<path:model_id>")
@Operation(
    "Retrieve a model (OpenAI)",
    tag="OpenAI",
    answers={200: OperationAnswer("It is here.", {JSON: ModelObject})},
    raises=(e.ModelNotFoundError,),
)
def model(model_id: str) -> Response:
    """A model by its name or by one that stands for it."""
    return jsonify(_names().one(model_id, application().service.models()))


def _answered(received: Received) -> Response:
    if received.form.stream:
        response = _streamed(received)
    else:
        response = _whole(received)
    if received.is_resend:
        response.headers["Idempotency-Replayed"] = "true"
    return response


def _whole(received: Received) -> Response:
    """Wait for the job; a client that goes away leaves it running for one that may come back."""
    service, connection = application().service, ClientConnection(request.environ)
    with ExitStack() as leave:
        waiting = leave.enter_context(_waiting(received, connection))
        try:
            transcription = wait_for(service, received.job.id, connection)
        except ClientGoneError:
            logger.info("client_gone", job_id=received.job.id)
            raise e.JobCancelledError("The client closed its connection before the answer.") from None
        response = answer(_with_notices(transcription, received), received.form)
        response.response = waiting.deliver(list(response.iter_encoded()))
        response.call_on_close(leave.pop_all().close)
    return response


def _streamed(received: Received) -> Response:
    """The job's events. It is waited for from now until the stream is closed, whether by its end or by its client."""
    lines = _lines(received)
    leave = ExitStack()
    waiting = leave.enter_context(_waiting(received, ClientConnection(request.environ)))
    response = Response(waiting.deliver(lines), content_type=f"{EVENTS}; charset=utf-8")
    response.call_on_close(leave.close)
    response.headers["X-Accel-Buffering"] = "no"  # nginx would hold the events back
    response.headers["X-Job-Id"] = received.job.id
    return response


def _waiting(received: Received, connection: ClientConnection) -> AbstractContextManager[WaitingRequest]:
    give_up = application().service.give_up
    return resends().waiting(received.fingerprint, received.job.id, connection, give_up)


def _lines(received: Received) -> Iterator[str]:
    service = application().service

    def finish() -> list[dict[str, Any]]:
        transcription = service.transcription(received.job.id)
        return last_events(_with_notices(transcription, received), received.form)

    return stream_lines(
        while_allowed(service.follow(received.job.id)),
        finish=finish,
        body_of=openai_answer,
        with_logprobs=received.form.wants_logprobs,
    )


def _with_notices(transcription: Transcription, received: Received) -> Transcription:
    notices = received.form.notices(transcription.model)
    return replace(transcription, warnings=(*notices, *transcription.warnings))


def _names() -> ModelNames:
    app = application()
    return ModelNames(app.default_model, app.settings.model_aliases)
