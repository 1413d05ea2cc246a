"""Signing in with the key, for browsers: GET and POST /sign-in, POST /sign-out."""

from __future__ import annotations

import math
from typing import cast
from urllib.parse import urlsplit

import structlog
from flask import Blueprint, Response, g, make_response, redirect, render_template, request, url_for

from ...domain.errors import BadRequestError, TooManyTriesError, UnauthorizedError
from ..extensions import application, sessions, tries
from ..negotiation import wants_html
from ..openapi.operations import EVERYBODY, HTML, Operation, OperationAnswer
from ..uploads.receiver import UploadRequest, parse_form

logger = structlog.get_logger(__name__)

bp = Blueprint("sign_in", __name__)

#: The cookie of a session.
COOKIE = "transcriber_session"

_TO_NEXT = OperationAnswer("For browsers: where one wanted to go.", headers=("Location",))


@bp.get("/sign-in")
@Operation(
    "The sign-in page",
    tag="Pages",
    answers={
        200: OperationAnswer("A form for the key; works without a script.", {HTML: str}),
        303: OperationAnswer("No sign-in is needed, or it has succeeded.", headers=("Location",)),
    },
    is_open=True,
)
def show() -> Response:
    """`next` is the page to go to afterwards; `again`: the key was wrong; `wait`: there were too many tries."""
    if g.authorised:
        return _redirect(next_page(request.args.get("next", "")))
    wait = request.args.get("wait", "")
    page = render_template(
        "sign_in.html",
        next=next_page(request.args.get("next", "")),
        is_wrong="again" in request.args,
        wait_seconds=int(wait) if wait.isascii() and wait.isdigit() and len(wait) < 4 else 0,
    )
    return make_response(page)


@bp.post("/sign-in")
@Operation(
    "Sign in (for the page's form)",
    tag="Pages",
    answers={
        204: OperationAnswer("Signed in; the cookie opens everything.", headers=("Set-Cookie",)),
        303: _TO_NEXT,
    },
    raises=(UnauthorizedError, TooManyTriesError, BadRequestError),
    is_open=True,
)
def sign_in() -> Response:
    """Takes `key` and `next`. Wrong keys slow down the address they come from."""
    parse_form(cast(UploadRequest, request))
    goal = next_page(request.form.get("next", ""))
    keys = application().keys
    if not keys.is_needed:
        return _done(goal)
    found = keys.find(request.form.get("key", "").strip().encode())
    wait = tries().judge(request.remote_addr or "", is_right=found is not None)
    if wait:
        tries().hold_back(request.remote_addr or "")
        return _too_many(goal, math.ceil(wait))
    if found is None:
        logger.info("sign_in_refused", address=request.remote_addr)
        if wants_html():
            return _redirect(url_for("sign_in.show", next=goal, again=""))
        raise UnauthorizedError()
    logger.info("signed_in", name=found.name, key_id=found.owner, address=request.remote_addr)
    response = _done(goal)
    response.set_cookie(
        COOKIE,
        sessions().begin(found),
        max_age=sessions().seconds,
        path=cookie_path(),
        httponly=True,
        samesite="Lax",
        secure=is_https(),
    )
    return response


@bp.post("/sign-out")
@Operation(
    "Sign out (for the button of the pages)",
    tag="Pages",
    roles=EVERYBODY,
    answers={
        204: OperationAnswer("Signed out; the cookie opens nothing any more.", headers=("Set-Cookie",)),
        303: OperationAnswer("For browsers: the sign-in page.", headers=("Location",)),
    },
    raises=(BadRequestError,),
)
def sign_out() -> Response:
    """The session ends on this server, too."""
    if g.session is not None:
        sessions().end(g.session)
    response = _done(url_for("sign_in.show"))
    response.delete_cookie(COOKIE, path=cookie_path(), httponly=True, samesite="Lax", secure=is_https())
    return response


def to_sign_in() -> Response:
    """For a browser without a session: the sign-in page, and then back to the page it asked for."""
    return _redirect(url_for("sign_in.show", next=next_page(this_page())))


def this_page() -> str:
    """The address that the browser shows; empty where it can't be asked for again."""
    return request.script_root + request.full_path.rstrip("?") if request.method == "GET" else ""


def next_page(wanted: str) -> str:
    """An address of this service to go to: what was wanted, or the first page for everything else."""
    first = f"{request.script_root}/"
    try:
        parts = urlsplit(wanted)
    except ValueError:
        return first
    is_ours = (
        wanted.startswith(first) and not wanted.startswith("//") and not parts.netloc and not parts.scheme
    )
    is_plain = wanted.isprintable() and "\\" not in wanted and len(wanted) <= 1000
    goes_round = parts.path in (url_for("sign_in.show"), url_for("sign_in.sign_out"))
    return wanted if is_ours and is_plain and not goes_round else first


def cookie_path() -> str:
    """Where our cookies belong: to nothing else on a host that we share."""
    return request.script_root or "/"


def is_https() -> bool:
    """Whether the browser speaks https, to us or to a proxy before us: its own Origin says so."""
    return request.is_secure or request.headers.get("Origin", "").startswith("https://")


def _too_many(goal: str, wait: int) -> Response:
    if wants_html():
        return _redirect(url_for("sign_in.show", next=goal, wait=wait))
    raise TooManyTriesError(wait)


def _done(goal: str) -> Response:
    return _redirect(goal) if wants_html() else Response(status=204)


def _redirect(goal: str) -> Response:
    response = make_response(redirect(goal, 303))
    response.vary.add("Accept")
    return response
