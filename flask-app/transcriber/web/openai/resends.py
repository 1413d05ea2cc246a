"""Requests that come again after a time-out: the second finds the first one's job instead of starting another.

OpenAI's SDKs send a request again when its answer takes too long, as do proxies, without a key that would name it. So
requests are known by who sent them and by all that they carry. While nobody waits for a job, it goes on for a while;
it is cancelled if nobody has come back by then. An answer that was delivered whole ends the matter: the same request
after it is a new one, even where its client closed the connection at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

#: How long a job goes on for a client that may come back, in seconds.
WINDOW_SECONDS = 60.0

Piece = TypeVar("Piece", str, bytes)


class WaitingClient(Protocol):
    """The client of one request."""

    def is_gone(self) -> bool: ...


class Alarm(Protocol):
    """A call that is due later, and can be called off."""

    def start(self) -> None: ...

    def cancel(self) -> None: ...


def make_timer(seconds: float, call: Callable[[], None]) -> Alarm:
    """A timer of the standard library; it keeps no process alive."""
    timer = threading.Timer(seconds, call)
    timer.daemon = True
    return timer


@dataclass(slots=True, eq=False)
class WaitingRequest:
    """One request that waits for its answer."""

    connection: WaitingClient
    is_answered: bool = False

    def deliver(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """The answer's pieces, while the client is there; empty ones only ask for that.

        It is answered once the server has taken the last piece: a client that closes its connection then has all.
        """
        for piece in pieces:
            if self.connection.is_gone():
                return
            if piece:
                yield piece
        self.is_answered = True

    def is_lost(self) -> bool:
        return not self.is_answered and self.connection.is_gone()


@dataclass(slots=True, eq=False)
class _Sent:
    """One job, and the requests that wait for it."""

    job_id: str
    waiting: list[WaitingRequest] = field(default_factory=list)
    #: One of them had its answer.
    is_answered: bool = False
    alarm: Alarm | None = None

    def is_lost(self) -> bool:
        return not self.is_answered and all(one.is_lost() for one in self.waiting)


class Resends:
    """The jobs of requests that may come again, by fingerprint. Safe to call from any thread."""

    def __init__(
        self,
        *,
        window_seconds: float = WINDOW_SECONDS,
        make_alarm: Callable[[float, Callable[[], None]], Alarm] = make_timer,
    ) -> None:
        self._window_seconds = window_seconds
        self._make_alarm = make_alarm
        self._lock = threading.Lock()
        self._sent: dict[str, _Sent] = {}

    def find(self, fingerprint: str, *, is_resend: bool) -> str | None:
        """The job of an earlier request that carried the same, where this one comes in its place.

        `is_resend`: the client says so itself. Else the earlier one's connection has to be closed before its answer was
        delivered: two that wait at the same time are two requests, and so are two in turn.
        """
        with self._lock:
            sent = self._sent.get(fingerprint)
            if sent is None or not (is_resend or sent.is_lost()):
                return None
            return sent.job_id

    @contextmanager
    def waiting(
        self, fingerprint: str, job_id: str, connection: WaitingClient, give_up: Callable[[str], None]
    ) -> Iterator[WaitingRequest]:
        """While the body of the `with` runs, this connection waits for the job.

        Once nobody has waited for the window's length, the job is forgotten, and `give_up` is called with its id.
        """
        one = WaitingRequest(connection)
        sent = self._join(fingerprint, job_id, one)
        try:
            yield one
        finally:
            self._leave(fingerprint, sent, one, give_up)

    def _join(self, fingerprint: str, job_id: str, one: WaitingRequest) -> _Sent:
        with self._lock:
            sent = self._sent.get(fingerprint)
            if sent is None or sent.job_id != job_id:
                sent = self._sent[fingerprint] = _Sent(job_id)
            if sent.alarm is not None:
                sent.alarm.cancel()
                sent.alarm = None
            sent.waiting.append(one)
            return sent

    def _leave(
        self, fingerprint: str, sent: _Sent, one: WaitingRequest, give_up: Callable[[str], None]
    ) -> None:
        with self._lock:
            sent.waiting.remove(one)
            sent.is_answered = sent.is_answered or one.is_answered
            if sent.waiting:
                return
            sent.alarm = self._make_alarm(
                self._window_seconds, lambda: self._expire(fingerprint, sent, give_up)
            )
            sent.alarm.start()

    def _expire(self, fingerprint: str, sent: _Sent, give_up: Callable[[str], None]) -> None:
        with self._lock:
            if sent.waiting:
                return
            if self._sent.get(fingerprint) is sent:
                del self._sent[fingerprint]
        give_up(sent.job_id)
