"""How anyone stops a job at work, and why."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..domain.errors import JobCancelledError


class StopReason(enum.StrEnum):
    """Why a job at work is to stop."""

    CANCELLED = "cancelled"  #: somebody gave it up
    TIMED_OUT = "timed_out"  #: it took longer than is allowed
    HANDED_BACK = "handed_back"  #: the service stops; the job goes on later


class CancellationToken:
    """Pulled at most once: the first reason counts. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pulled = threading.Event()
        self._stops: list[Callable[[], None]] = []
        self.reason: StopReason | None = None

    @property
    def is_pulled(self) -> bool:
        return self._pulled.is_set()

    def pull(self, reason: StopReason) -> None:
        """Have the job stop: whoever works on it now is told by the caller's thread."""
        with self._lock:
            if self.reason is not None:
                return
            self.reason = reason
            stops = list(self._stops)
        self._pulled.set()
        for stop in stops:
            stop()

    def wait(self, seconds: float) -> None:
        """Let this much time pass. Raises JobCancelledError as soon as the job is cancelled."""
        if self._pulled.wait(seconds):
            raise JobCancelledError()

    def check(self) -> None:
        """Raises JobCancelledError when the job is cancelled."""
        if self.is_pulled:
            raise JobCancelledError()

    @contextmanager
    def tied(self, stop: Callable[[], None]) -> Iterator[None]:
        """While inside, cancelling calls `stop`. Raises JobCancelledError if the job is cancelled already."""
        with self._lock:
            self._stops.append(stop)
        try:
            self.check()
            yield
        finally:
            with self._lock:
                self._stops.remove(stop)
