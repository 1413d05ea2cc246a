"""Request ids, and one log line per request: no query strings, no text, no secrets."""

from __future__ import annotations

import re
import secrets
import time

import structlog
from flask import Flask, Response, g, request

logger = structlog.get_logger(__name__)

#: Inbound ids outside this shape are replaced, so that no log line or header carries a caller's bytes.
_SANE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{3,63}")


def init_app(app: Flask) -> None:
    """Number every request and log its end."""
    app.before_request(begin_request)
    app.after_request(finish_request)
    app.teardown_request(forget_request)


def begin_request() -> None:
    """Take the caller's request id, or make one, and bind it to every log line of this request."""
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if _SANE_ID.fullmatch(given) else secrets.token_hex(8)
    g.started = time.monotonic()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def finish_request(response: Response) -> Response:
    """Log the request by its route's pattern and hand the id back."""
    response.headers["X-Request-ID"] = g.request_id
    rule = request.url_rule
    logger.info(
        "request_finished",
        method=request.method,
        path=rule.rule if rule is not None else "(no route)",
        status=response.status_code,
        seconds=round(time.monotonic() - g.started, 3),
        request_id=g.request_id,
    )
    return response


def forget_request(error: BaseException | None) -> None:
    """Unbind the id: the thread serves others next."""
    structlog.contextvars.unbind_contextvars("request_id")
