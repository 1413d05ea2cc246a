"""Health for load balancers and people: alive, ready under the GPU policy, and the GPU itself."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, g, jsonify

from ... import __version__
from ..extensions import application
from ..openapi.admin_answers import HealthAnswer
from ..openapi.operations import EVERYBODY, JSON, Operation, OperationAnswer

bp = Blueprint("health", __name__)

_GOOD = OperationAnswer("Yes.", {JSON: HealthAnswer})
_BAD = OperationAnswer("No, or not yet; the body says why.", {JSON: HealthAnswer})


@bp.get("/health")
@Operation("Is the process there?", tag="Health", answers={200: _GOOD}, is_open=True)
def health() -> Response:
    """200 while the process serves at all. Touches neither engine nor disk."""
    return jsonify(_shown({"status": "ok", "version": __version__}))


@bp.get("/health/live")
@Operation("Is the process alive?", tag="Health", answers={200: _GOOD}, is_open=True)
def live() -> Response:
    """200: no reason to restart the process."""
    return jsonify({"status": "ok"})


@bp.get("/health/ready")
@Operation(
    "Would a file sent now be transcribed?", tag="Health", answers={200: _GOOD, 503: _BAD}, is_open=True
)
def ready() -> tuple[Response, int]:
    """200 when a file sent now would be transcribed under the GPU policy, else 503 with the stage and the fix."""
    is_ready, details = application().ready()
    return jsonify(_shown(details)), 200 if is_ready else 503


@bp.get("/health/gpu")
@Operation("Is the GPU proven?", tag="Health", answers={200: _GOOD, 503: _BAD}, roles=EVERYBODY)
def gpu() -> tuple[Response, int]:
    """200 when the GPU is proven, or the policy is off; else 503."""
    is_proven, details = application().gpu_health()
    return jsonify(details), 200 if is_proven else 503


def _shown(details: dict[str, Any]) -> dict[str, Any]:
    """Everything for those who may ask; the bare status for those without a key."""
    return details if g.authorised else {"status": details["status"]}
