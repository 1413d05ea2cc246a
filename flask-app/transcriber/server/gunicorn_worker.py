"""gunicorn's gevent worker, whose own refusals (a request that can't be parsed) have our error body and headers."""

from __future__ import annotations

import secrets
import socket
import time
from contextlib import closing, suppress
from typing import Any

import structlog
from gunicorn.http.errors import (
    InvalidResponseHeader,
    InvalidResponseHeaderName,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
)
from gunicorn.workers.ggevent import GeventWorker

from ..domain.errors import (
    BadRequestError,
    HeaderTooLargeError,
    TooManyConnectionsError,
    TranscriberError,
    UriTooLongError,
)
from .client_socket import ClientSocket
from .exit_reason import ExitReason
from .preflight import EXIT_START_FAILED, StartRefusedExit

logger = structlog.get_logger(__name__)

#: What is still read after a refusal: a connection closed over unread bytes is reset, and the answer lost.
LINGER_BYTES = 1024 * 1024
LINGER_SECONDS = 1.0


class TranscriberWorker(GeventWorker):  # type: ignore[misc]
    """Answers in the one shape also what never reaches the application, which knows how an answer looks."""

    #: Set by post_fork in gunicorn.conf.py.
    exit_reason: ExitReason

    def load_wsgi(self) -> None:
        """An application that refuses to start says why, and ends the master, too."""
        try:
            super().load_wsgi()
        except StartRefusedExit as refused:
            self.exit_reason.keep(refused.cause, refused.status)
            raise SystemExit(EXIT_START_FAILED) from refused

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve one connection, if there is room for it."""
        connections = self.wsgi.connections
        connection = connections.admit(client, addr)
        if connection is None:
            with suppress(OSError), closing(client):
                client.settimeout(LINGER_SECONDS)
                client.sendall(self.wsgi.refusal_bytes(TooManyConnectionsError(), secrets.token_hex(8)))
                client.shutdown(socket.SHUT_WR)
            return
        try:
            super().handle(listener, ClientSocket(client, connections, connection), addr)
        finally:
            connections.leave(connection)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer, log, and leave the closing to the caller."""
        request_id = secrets.token_hex(8)
        error = refusal_of(exc)
        # Only the kind of fault: gunicorn's words quote the request.
        if isinstance(error, (BadRequestError, UriTooLongError, HeaderTooLargeError)):
            logger.warning(
                "request_refused", code=error.code, cause=type(exc).__name__, request_id=request_id
            )
        else:
            logger.error("request_failed", request_id=request_id, exc_info=exc)
        with suppress(OSError):
            client.settimeout(LINGER_SECONDS)
            client.sendall(self.wsgi.refusal_bytes(error, request_id))
            linger(client)


def refusal_of(exc: BaseException) -> TranscriberError:
    """Our error for one of gunicorn's."""
    match exc:
        case InvalidResponseHeader() | InvalidResponseHeaderName():
            return TranscriberError()
        case LimitRequestLine():
            return UriTooLongError()
        case LimitRequestHeaders():
            return HeaderTooLargeError()
        case ParseException():
            return BadRequestError("The request is not well-formed HTTP.")
        case _:
            return TranscriberError()


def linger(client: Any) -> None:
    """Read and drop what the client still sends, for a moment."""
    left, deadline = LINGER_BYTES, time.monotonic() + LINGER_SECONDS
    client.shutdown(socket.SHUT_WR)
    while left > 0 and (remaining := deadline - time.monotonic()) > 0:
        client.settimeout(remaining)
        data = client.recv(65_536)
        if not data:
            return
        left -= len(data)
