"""/models: what is here and loaded, and loading, unloading and fetching it. The buttons of the diagnostics page."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, redirect, request, url_for
from werkzeug.wrappers import Response as Answered

from ...domain import errors as e
from ..extensions import application
from ..forms import parse_query
from ..negotiation import wants_html
from ..openapi.admin_answers import ModelAnswer, ModelDeviceQuery, ModelsAnswer
from ..openapi.operations import ADMINS, EVERYBODY, JSON, Operation, OperationAnswer

bp = Blueprint("models", __name__)

_TO_PAGE = OperationAnswer("To the page that shows it, for browsers.", headers=("Location",))


@bp.get("/models")
@Operation(
    "The models of this installation",
    tag="Models",
    roles=EVERYBODY,
    answers={
        200: OperationAnswer("Models that are here, and those that may be fetched.", {JSON: ModelsAnswer})
    },
)
def show_all() -> Response:
    """What is here, what of it is loaded where, what it takes of the memory, and when it was last used."""
    model_manager = application().models
    return jsonify({"models": model_manager.all(), "memory": model_manager.memory()})


@bp.get("/models/<path:model_id>")
@Operation(
    "One model",
    tag="Models",
    answers={200: OperationAnswer("It is here, or may be fetched.", {JSON: ModelAnswer})},
    raises=(e.ModelNotFoundError,),
)
def show(model_id: str) -> Response:
    """A model by its name, an alias of it, or its hub repository."""
    return jsonify(application().models.get(model_id))


@bp.post("/models/<path:model_id>/load")
@Operation(
    "Load a model",
    tag="Models",
    roles=ADMINS,
    query=ModelDeviceQuery,
    answers={200: OperationAnswer("It is loaded.", {JSON: ModelAnswer}), 303: _TO_PAGE},
    raises=(
        e.ModelNotFoundError,
        e.InvalidParameterError,
        e.WebNodeError,
        e.EngineStartError,
        e.ShuttingDownError,
    ),
)
def load(model_id: str) -> Answered:
    """Programs get the answer once it is loaded; one that is not used is unloaded again after WHISPER_MODEL_TTL."""
    running = application()
    device = running.device_for(parse_query(ModelDeviceQuery, request.args).device)
    if wants_html():
        running.models.begin_load(model_id, device)
        return _to_page()
    return jsonify(running.models.load(model_id, device))


@bp.post("/models/<path:model_id>/unload")
@Operation(
    "Unload a model",
    tag="Models",
    roles=ADMINS,
    query=ModelDeviceQuery,
    answers={
        200: OperationAnswer("It is not loaded any more, or was not.", {JSON: ModelAnswer}),
        303: _TO_PAGE,
    },
    raises=(e.ModelNotFoundError, e.InvalidParameterError, e.ModelBusyError),
)
def unload(model_id: str) -> Answered:
    """Its process ends, and its memory goes back to the system. No job is cut: one that runs refuses it."""
    device = parse_query(ModelDeviceQuery, request.args).device
    return _answer(application().models.unload(model_id, device))


@bp.post("/models/<path:model_id>/download")
@Operation(
    "Fetch a known model from the hub",
    tag="Models",
    roles=ADMINS,
    answers={
        200: OperationAnswer("It is here already.", {JSON: ModelAnswer}),
        202: OperationAnswer("It is being fetched; `download` shows the progress.", {JSON: ModelAnswer}),
        303: _TO_PAGE,
    },
    raises=(e.ModelNotFoundError, e.DownloadRefusedError),
)
def download(model_id: str) -> Answered:
    """In the background, going on where an earlier try ended. Only models of the catalogue, at their pinned revision."""
    model = application().models.download(model_id)
    response = _answer(model)
    if response.status_code == 200 and model["state"] == "downloading":
        response.status_code = 202
    return response


def _answer(model: dict[str, Any]) -> Answered:
    return _to_page() if wants_html() else jsonify(model)


def _to_page() -> Answered:
    return redirect(url_for("diagnostics.show", _anchor="models"), 303)
