"""Whether a client is still there while it waits for its answer: WSGI doesn't say, its socket does."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..domain.transcript import Transcription

if TYPE_CHECKING:
    from ..service.ports import JobService

#: How often a waiting client's socket is looked at, in seconds.
LOOK_SECONDS = 0.5

#: Looks at the socket between two looks at the store.
_LOOKS = 20


class ClientGoneError(Exception):
    """The client closed its connection before the answer."""


class ClientConnection:
    """The client of one request. Without gunicorn's socket it counts as there.

    A client that closes only its sending side counts as gone, as it does for most servers and proxies.
    Bytes that it has sent ahead (pipelining) hide the end that follows them: then it counts as there.
    """

    def __init__(self, environ: Mapping[str, Any]) -> None:
        self._socket: socket.socket | None = environ.get("gunicorn.socket")

    def is_gone(self) -> bool:
        """Look without waiting and without taking anything out of the socket."""
        sock = self._socket
        if sock is None:
            return False
        timeout = sock.gettimeout()
        try:
            # Under gevent MSG_DONTWAIT still waits; a timeout of nothing does not, with any kind of socket.
            sock.settimeout(0)
            return sock.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            _restore(sock, timeout)


def wait_for(service: JobService, job_id: str, presence: ClientConnection) -> Transcription:
    """The job's transcription. Raises the job's error, or ClientGoneError when the client has gone."""
    while True:
        # Asked anew now and then: the store decides about a job whose end could not be announced.
        outcome = service.outcome(job_id)
        for _ in range(_LOOKS):
            try:
                return outcome.result(LOOK_SECONDS)
            except TimeoutError:
                if presence.is_gone():
                    raise ClientGoneError from None


class ConnectedClients:
    """How many connections wait for each job: a repeated Idempotency-Key can bring a second one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: Counter[str] = Counter()

    @contextmanager
    def counted(self, job_id: str) -> Iterator[None]:
        """One more waiting client inside the `with` block."""
        with self._lock:
            self._waiting[job_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiting[job_id] -= 1
                if not self._waiting[job_id]:
                    del self._waiting[job_id]

    def is_last(self, job_id: str) -> bool:
        """Whether the connection that asks is the only one that waits for the job."""
        with self._lock:
            return self._waiting[job_id] <= 1


def _restore(sock: socket.socket, timeout: float | None) -> None:
    try:
        sock.settimeout(timeout)
    except OSError:  # closed on our side meanwhile: there is nothing to restore
        return
