"""/keys: the named keys of a team, for those who may manage them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from flask import Blueprint, Response, jsonify, make_response, redirect, render_template, request, url_for
from pydantic import BaseModel, ConfigDict, Field

from ...domain import errors as e
from ...domain.keys import ApiKey, Role
from ..auth.access import principal
from ..bodies import read_form
from ..extensions import application
from ..forms import Whole, parse_query
from ..negotiation import wants_html
from ..openapi.operations import ADMINS, HTML, JSON, Operation, OperationAnswer

logger = structlog.get_logger(__name__)

bp = Blueprint("keys", __name__, url_prefix="/keys")


class KeyForm(BaseModel):
    """What POST /keys takes."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: str = Field("", max_length=64, description="1 to 64 letters, digits, spaces and . _ @ -")
    role: Role = Field(Role.USER, description="admin, user or metrics")
    expires_days: Whole | None = Field(None, ge=1, le=36500, description="a whole number from 1 to 36500")
    max_jobs: Whole = Field(0, ge=0, le=100_000, description="a whole number from 0; 0: no limit")


class KeyAnswer(BaseModel):
    """A key, without the key itself."""

    id: str
    name: str
    role: str
    state: str = Field(description="active, expired or revoked")
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    max_jobs: int = Field(description="jobs at work at once; 0: no limit")


class NewKeyAnswer(KeyAnswer):
    """A key that was made now."""

    key: str = Field(description="the key itself; it is shown this once")


class KeysAnswer(BaseModel):
    """Every key, the oldest first."""

    keys: list[KeyAnswer]


@bp.get("")
@Operation(
    "List keys",
    tag="Keys",
    roles=ADMINS,
    answers={200: OperationAnswer("The named keys, revoked ones too.", {JSON: KeysAnswer, HTML: str})},
    raises=(e.RoleNotAllowedError,),
)
def show_all() -> Response:
    """The key of WHISPER_API_KEY is none of them."""
    _require_manager()
    keys = [key_to_dict(key) for key in application().keys.all()]
    if wants_html():
        return make_response(render_template("keys.html", keys=keys, new=None))
    return jsonify({"keys": keys})


@bp.post("")
@Operation(
    "Make a key",
    tag="Keys",
    roles=ADMINS,
    form=KeyForm,
    answers={
        201: OperationAnswer("The key; it is shown this once.", {JSON: NewKeyAnswer}),
        200: OperationAnswer("For browsers: the page, with the key.", {HTML: str}),
    },
    # The first key switches authentication on, and the next request needs one.
    raises=(
        e.BadRequestError,
        e.UnauthorizedError,
        e.RoleNotAllowedError,
        e.InvalidParameterError,
        e.KeyExistsError,
    ),
)
def add() -> Response:
    """Any key switches authentication on, from this moment."""
    _require_manager()
    form = parse_query(KeyForm, read_form())
    days = form.expires_days
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    keys = application().keys
    key, secret = keys.add(form.name, form.role, expires_at=expires_at, max_jobs=form.max_jobs)
    logger.info("key_added_by", key_id=key.id, by=principal().name, address=request.remote_addr)
    made = key_to_dict(key) | {"key": secret}
    if wants_html():
        shown = [key_to_dict(one) for one in keys.all()]
        return make_response(render_template("keys.html", keys=shown, new=made))
    response = jsonify(made)
    response.status_code = 201
    return response


@bp.post("/<key_name>/revoke")
@Operation(
    "Revoke a key",
    tag="Keys",
    roles=ADMINS,
    answers={
        200: OperationAnswer("It opens nothing any more.", {JSON: KeyAnswer}),
        303: OperationAnswer("For browsers: the list.", headers=("Location",)),
    },
    raises=(e.UnauthorizedError, e.RoleNotAllowedError, e.KeyNotFoundError),
)
def revoke(key_name: str) -> Response:
    """Its browser sessions end with it; its jobs stay, and the admins have them."""
    _require_manager()
    key = application().keys.revoke(key_name)
    logger.info("key_revoked_by", key_id=key.id, by=principal().name, address=request.remote_addr)
    if wants_html():
        return make_response(redirect(url_for("keys.show_all"), 303))
    return jsonify(key_to_dict(key))


def key_to_dict(key: ApiKey) -> dict[str, Any]:
    """A key as the API shows it."""
    moments = {
        name: None if (at := getattr(key, name)) is None else at.isoformat()
        for name in ("created_at", "expires_at", "revoked_at", "last_used_at")
    }
    is_active = key.is_active(datetime.now(UTC))
    state = "revoked" if key.revoked_at else "active" if is_active else "expired"
    fixed = {"id": key.id, "name": key.name, "role": key.role.value, "state": state}
    return fixed | moments | {"max_jobs": key.max_jobs}


def _require_manager() -> None:
    """Raises RoleNotAllowedError: keys are not managed over a network without a key."""
    if not principal().manages_keys:
        raise e.RoleNotAllowedError(
            "Keys are managed with an admin's key, or from this machine.",
            fix="Make the first one on the server: python -m transcriber keys add NAME --role admin",
        )
