"""GET /openapi.json, and GET /docs: the same as a page to read and try, with nothing loaded from elsewhere."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, g, jsonify, render_template, request

from ..extensions import application
from .answers import OpenApiDocument
from .document import make_document
from .operations import JSON, Operation, OperationAnswer, page

bp = Blueprint("docs", __name__)


@bp.get("/openapi.json")
@Operation(
    "The description of this API",
    tag="About",
    answers={200: OperationAnswer("An OpenAPI 3.1 document.", {JSON: OpenApiDocument})},
)
def openapi() -> Response:
    """Written from the routes and the models that validate their input."""
    document = make_document(current_app, needs_key=application().keys.is_needed)
    return jsonify(document | {"servers": [{"url": request.script_root or "/"}]})


@bp.get("/docs")
@Operation("The description as a page", tag="About", answers=page("Swagger UI over /openapi.json."))
def show() -> str:
    """Requests that it sends are real ones."""
    # Swagger UI's style sheet carries its icons as data: addresses.
    g.csp_images = "'self' data:"
    return render_template("docs.html")
