"""The token that a signed-in browser's changing requests must carry, so that no other site can make it send them.

A key in a header needs no token: browsers do not send one by themselves.
"""

from __future__ import annotations

import hmac
from typing import cast

from flask import Flask, g, request
from markupsafe import Markup

from ...domain.errors import CsrfTokenError
from ..uploads.receiver import UploadRequest, parse_form

#: The form field and the header that carry it.
FIELD = "csrf_token"
HEADER = "X-CSRF-Token"

#: Routes that read their form themselves, since a file comes with it, and then call check_form_token.
READ_LATER = frozenset({"api.transcribe", "jobs.submit"})

_FORM = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"


def init_app(app: Flask) -> None:
    """Templates write the token with csrf_field() in each form and csrf_token in the head."""
    app.context_processor(lambda: {"csrf_field": field, "csrf_token": token()})


def token() -> str:
    """The session's token; empty without a session."""
    session = g.get("session")
    return session.token if session is not None else ""


def field() -> Markup:
    """The hidden field of a form; nothing without a session."""
    if not token():
        return Markup("")
    return Markup('<input type="hidden" name="{}" value="{}">').format(FIELD, token())


def check_request() -> None:
    """Raises CsrfTokenError for a changing request that a cookie alone allows. Call it for those only."""
    given = request.headers.get(HEADER)
    if given is None and request.mimetype == _MULTIPART and request.endpoint in READ_LATER:
        g.csrf_is_due = True
        return
    if given is None and request.mimetype == _FORM:
        parse_form(cast(UploadRequest, request))
        given = request.form.get(FIELD)
    _compare(given)


def check_form_token() -> None:
    """For routes of READ_LATER, once their form is read. Raises CsrfTokenError."""
    if g.get("csrf_is_due"):
        _compare(request.form.get(FIELD))


def _compare(given: str | None) -> None:
    if not hmac.compare_digest((given or "").encode(), token().encode()):
        raise CsrfTokenError()
