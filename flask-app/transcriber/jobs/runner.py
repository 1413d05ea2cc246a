"""The runner: a bounded queue of job ids and the threads that work on them."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable

import structlog

from ..domain.errors import QueueFullError, ShuttingDownError

logger = structlog.get_logger(__name__)


class Runner:
    """Calls `run(job_id)` for every submitted id, `workers` at a time, oldest first."""

    def __init__(self, run: Callable[[str], None], *, workers: int, max_queue: int) -> None:
        self._run = run
        self._max_queue = max_queue
        self._waiting: collections.deque[str] = collections.deque()
        self._changed = threading.Condition()
        self._closing = False
        self._idle = workers
        self._threads = [
            threading.Thread(target=self._work, name=f"runner-{i}", daemon=True) for i in range(workers)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def check_room(self) -> None:
        """Raises QueueFullError, ShuttingDownError: so that an upload is refused before it is read."""
        with self._changed:
            self._refuse_if_full()

    def submit(self, job_id: str) -> None:
        """Queue one job. Raises QueueFullError, ShuttingDownError."""
        with self._changed:
            self._refuse_if_full()
            self._waiting.append(job_id)
            self._changed.notify()

    def withdraw(self, job_id: str) -> bool:
        """Take a job that still waits out of the queue; False if it is not there."""
        with self._changed:
            try:
                self._waiting.remove(job_id)
            except ValueError:
                return False
            return True

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        with self._changed:
            return len(self._waiting)

    def close(self, timeout: float) -> None:
        """Take no more jobs and give those that run up to `timeout` seconds."""
        with self._changed:
            self._closing = True
            self._waiting.clear()
            self._changed.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout / max(1, len(self._threads)))

    def _refuse_if_full(self) -> None:
        if self._closing:
            raise ShuttingDownError()
        if len(self._waiting) >= self._max_queue + self._idle:
            raise QueueFullError(f"{len(self._waiting)} jobs wait; no more than {self._max_queue} may.")

    def _work(self) -> None:
        while (job_id := self._next()) is not None:
            try:
                self._run(job_id)
            except Exception:  # noqa: BLE001  a thread's boundary: one job may not end the runner
                logger.exception("runner_job_failed", job_id=job_id)
            finally:
                with self._changed:
                    self._idle += 1

    def _next(self) -> str | None:
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            if self._closing:
                return None
            self._idle -= 1
            return self._waiting.popleft()
