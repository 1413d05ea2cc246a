"""A client's socket under gunicorn: a body has its deadline at every byte, and so has an answer that is not read."""

from __future__ import annotations

import errno
import math
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..domain.errors import BodyTimeoutError
from .connections import Connection, Connections

#: After this many seconds without a byte taken, an answer is given up.
UNREAD_SECONDS = 60.0

#: So much of an answer is offered to the kernel at once: progress is seen after that.
PIECE_BYTES = 256 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class BodyRule:
    """How slowly a body may come. silence: seconds without a byte. grace: seconds until the rate counts.

    least_rate: bytes a second, over the whole of it; 0: the grace is all the time there is.
    """

    silence: float
    grace: float
    least_rate: float


#: Before a key was shown: sign-in forms and the like, a few kB at once.
OPEN_BODY = BodyRule(silence=5.0, grace=10.0, least_rate=0.0)

#: With a right key: a phone in a tunnel pauses, and 1 kB/s is slower than any line that still works.
TRUSTED_BODY = BodyRule(silence=30.0, grace=30.0, least_rate=1000.0)


class BodyPace:
    """One body under a rule."""

    def __init__(self, rule: BodyRule, now: Callable[[], float] = time.monotonic) -> None:
        self.rule = rule
        self._now = now
        self._begun = self._last = now()
        self._received = 0

    def left(self) -> float:
        """Seconds within which the next byte has to come; 0 or less: it is late."""
        rule, now = self.rule, self._now()
        earned = self._received / rule.least_rate if rule.least_rate else 0.0
        return min(rule.silence - (now - self._last), rule.grace + earned - (now - self._begun))

    def note(self, count: int) -> None:
        """So many bytes have come."""
        self._received += count
        self._last = self._now()


class ClientSocket:
    """Stands for the socket; what is not here is the socket's own."""

    def __init__(self, sock: Any, connections: Connections, connection: Connection) -> None:
        self._sock = sock
        self._connections = connections
        self._connection = connection
        self._pace: BodyPace | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def begin_body(self, pace: BodyPace) -> None:
        """From here on, what is read is a body."""
        self._pace = pace

    def trust(self) -> None:
        """The request has shown a right key: its connection stays, and its body may take its time."""
        self._connections.hold(self._connection)
        if self._pace is not None:
            self._pace.rule = TRUSTED_BODY

    def upgrade(self) -> None:
        """From here on it is a WebSocket, which has a pace of its own."""
        self._pace = None

    def end_request(self) -> None:
        """The request is answered; the connection waits for the next one."""
        self._pace = None
        self._connections.rest(self._connection)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Raises BodyTimeoutError for a body that comes too slowly."""
        pace = self._pace
        if pace is None or flags:
            data: bytes = self._sock.recv(size, flags)
            return data
        left, timeout = pace.left(), self._sock.gettimeout()
        if left <= 0:
            raise BodyTimeoutError()
        try:
            self._sock.settimeout(min(left, math.inf if timeout is None else timeout))
            data = self._sock.recv(size)
        except TimeoutError:
            if timeout is not None and timeout <= left:
                raise
            raise BodyTimeoutError() from None
        finally:
            self._sock.settimeout(timeout)
        pace.note(len(data))
        return data

    def sendall(self, data: bytes, flags: int = 0) -> None:
        """Raises TimeoutError when the client takes nothing for a minute, though the whole may take any time."""
        timeout = self._sock.gettimeout()
        view = memoryview(data)
        try:
            self._sock.settimeout(UNREAD_SECONDS if timeout is None else timeout)
            while view:
                view = view[self._sock.send(view[:PIECE_BYTES], flags) :]
        except TimeoutError:
            self._sock.shutdown(socket.SHUT_RDWR)
            raise BrokenPipeError(errno.EPIPE, "the client does not read its answer") from None
        finally:
            self._sock.settimeout(timeout)
