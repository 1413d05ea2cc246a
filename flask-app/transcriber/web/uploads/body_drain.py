"""What happens to a request body that is broken, or was refused before it was read to its end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from gunicorn.http.errors import ParseException
from werkzeug.wsgi import ClosingIterator

from ...domain.errors import BodyTimeoutError
from ..connection_guard import close_after
from ..cooperative_yield import TURN_BYTES, let_others_run

if TYPE_CHECKING:
    from _typeshed.wsgi import InputStream, StartResponse, WSGIApplication, WSGIEnvironment

#: What is still read and thrown away after a refusal, so that the client, who is busy sending, gets to
#: see the answer. A connection closed over unread bytes is reset, and the answer is lost with it.
DRAIN_BYTES = 256 * 1024 * 1024
DRAIN_SECONDS = 3.0


class CheckedInput:
    """A body whose broken transfer coding is an OSError, as a lost connection is: Werkzeug knows those alone."""

    def __init__(self, stream: InputStream) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        """Raises OSError."""
        try:
            return self._stream.read(size)
        except ParseException as error:
            raise OSError("the body's transfer coding is broken") from error


class BodyDrain:
    """Refuses with a closed connection where a body came with the request, and drains a little of it.

    Left alone, gunicorn keeps the connection and reads the rest of the body without an end.
    """

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not _has_body(environ):
            return self._app(environ, start_response)
        environ["wsgi.input"] = CheckedInput(environ["wsgi.input"])
        refused = False

        def start(status: str, headers: list[tuple[str, str]], *args: Any) -> Callable[[bytes], object]:
            nonlocal refused
            refused = status[:1] in "45"
            if refused:
                headers = [*headers, ("Connection", "close")]
                close_after(start_response)
            return start_response(status, headers, *args)

        def drain_if_refused() -> None:
            if refused:
                drain(environ)

        return ClosingIterator(self._app(environ, start), [drain_if_refused])


def drain(environ: WSGIEnvironment) -> None:
    """Read and drop what still comes, up to the budget. Only on a server that closes afterwards."""
    sock = environ.get("gunicorn.socket")
    if sock is None:
        return
    deadline = time.monotonic() + DRAIN_SECONDS
    left = DRAIN_BYTES
    with contextlib.suppress(OSError, BodyTimeoutError):
        while left > 0 and (remaining := deadline - time.monotonic()) > 0:
            sock.settimeout(remaining)
            data = environ["wsgi.input"].read(TURN_BYTES)
            if not data:
                return
            left -= len(data)
            let_others_run()


def _has_body(environ: WSGIEnvironment) -> bool:
    return environ.get("CONTENT_LENGTH", "0") not in ("", "0") or "HTTP_TRANSFER_ENCODING" in environ
