"""The outermost part of the application: bodies have deadlines, and what is open to all reads only small ones.

It runs before Flask, so that a flood of bodies that never come costs little.
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Iterable
from typing import TYPE_CHECKING

from gunicorn.http.errors import ParseException
from werkzeug.wsgi import ClosingIterator

from ..domain.errors import BadRequestError, BodyTimeoutError, LimitError, TranscriberError
from ..server.client_socket import OPEN_BODY, BodyPace, ClientSocket
from .refusals import refusal

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: A key, an address to go to, a language: nothing else is sent to what is open to all.
OPEN_BODY_BYTES = 16 * 1024


class ConnectionGuard:
    """Wraps the whole application. Without gunicorn's worker, the sizes alone are watched."""

    def __init__(self, app: WSGIApplication, open_paths: frozenset[str]) -> None:
        """open_paths: those that take a body without a key."""
        self._app = app
        self._open_paths = open_paths

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        sock = client_socket(environ)
        if sock is not None:
            sock.begin_body(BodyPace(OPEN_BODY))
        try:
            if environ.get("PATH_INFO") in self._open_paths:
                read_open_body(environ)
        except TranscriberError as error:
            # What is still to come is not waited for: the connection closes.
            status, headers, body = refusal(error, secrets.token_hex(8))
            start_response(status, headers)
            close_after(start_response)
            return [body]
        answer = self._app(environ, start_response)
        return answer if sock is None else ClosingIterator(answer, [sock.end_request])


def client_socket(environ: WSGIEnvironment) -> ClientSocket | None:
    """The connection of this request, where our worker serves it."""
    sock = environ.get("gunicorn.socket")
    return sock if isinstance(sock, ClientSocket) else None


def read_open_body(environ: WSGIEnvironment) -> None:
    """Have the body in memory. Raises LimitError, BodyTimeoutError, BadRequestError."""
    length = environ.get("CONTENT_LENGTH") or "0"
    is_chunked = "HTTP_TRANSFER_ENCODING" in environ
    if not is_chunked and length == "0":
        return
    if not is_chunked and (not length.isdecimal() or int(length) > OPEN_BODY_BYTES):
        raise _too_large()
    wanted = OPEN_BODY_BYTES + 1 if is_chunked else int(length)
    try:
        body = environ["wsgi.input"].read(wanted)
    except BodyTimeoutError:
        raise
    except (OSError, ParseException) as error:
        raise BadRequestError("The body ended early.") from error
    if len(body) > OPEN_BODY_BYTES:
        raise _too_large()
    if not is_chunked and len(body) < wanted:
        raise BadRequestError("The body ended early.")
    environ["wsgi.input"] = io.BytesIO(body)
    environ["wsgi.input_terminated"] = True


def close_after(start_response: StartResponse) -> None:
    """Tell gunicorn, which takes no Connection header from an application, to close after this answer."""
    force_close = getattr(getattr(start_response, "__self__", None), "force_close", None)
    if force_close is not None:
        force_close()


def _too_large() -> LimitError:
    return LimitError(
        f"The body is larger than the {OPEN_BODY_BYTES:,} bytes that are allowed.", param="body"
    )
