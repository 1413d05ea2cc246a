"""Those who wait for a job's end in this process."""

from __future__ import annotations

import concurrent.futures
import threading

from ..domain.errors import TranscriberError
from ..domain.transcript import Transcription

Outcome = concurrent.futures.Future[Transcription]


class JobWaiters:
    """One future for each job that somebody waits for; gone once it is told."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waited_for: dict[str, Outcome] = {}

    def expect(self, job_id: str) -> Outcome:
        """What will be told of this job. Look at the store after this call: it may have ended before."""
        with self._lock:
            return self._waited_for.setdefault(job_id, concurrent.futures.Future())

    def forget(self, job_id: str) -> None:
        """Nobody will tell this one."""
        with self._lock:
            self._waited_for.pop(job_id, None)

    def tell(self, job_id: str, outcome: Transcription | TranscriberError) -> None:
        """The job has ended like this."""
        with self._lock:
            future = self._waited_for.pop(job_id, None)
        if future is None:
            return
        if isinstance(outcome, TranscriberError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    def tell_all(self, error: TranscriberError) -> None:
        """Nobody's job will end in this process."""
        with self._lock:
            job_ids = list(self._waited_for)
        for job_id in job_ids:
            self.tell(job_id, error)
