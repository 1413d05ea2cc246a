"""GET /metrics for Prometheus, and the counting of every request. Needs the key like any other page."""

from __future__ import annotations

import time

from flask import Blueprint, Flask, Response, g, request

from ...observability.metrics import CONTENT_TYPE
from ..extensions import application
from ..openapi.operations import FIGURES, Operation, OperationAnswer

bp = Blueprint("metrics", __name__)

#: The route of a request that matched none: its path is the caller's text, and no label.
NO_ROUTE = "(no route)"


def init_app(app: Flask) -> None:
    """Count every answer, refusals and errors included."""
    app.after_request(count_request)


@bp.get("/metrics")
@Operation(
    "Metrics for Prometheus",
    tag="Health",
    roles=FIGURES,
    answers={200: OperationAnswer("Prometheus's text format, version 0.0.4.", {"text/plain": str})},
)
def show() -> Response:
    """Everything the service counts and measures, in Prometheus's text format."""
    return Response(application().metrics.render(), content_type=CONTENT_TYPE)


def count_request(response: Response) -> Response:
    """Count this answer, which is about to begin, in the metrics."""
    rule = request.url_rule
    application().metrics.observe_request(
        request.method,
        rule.rule if rule is not None else NO_ROUTE,
        response.status_code,
        time.monotonic() - g.started,
    )
    return response
