"""The job store in memory: for embedded use and tests. It passes the same contract as the one on disk."""

from __future__ import annotations

import threading
from datetime import datetime

from ..domain.errors import JobNotFoundError
from ..domain.jobs import Job, JobError, JobStatus, require_final


class MemoryJobStore:
    """JobStore that forgets everything with its process. Safe to call from any thread."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()

    def add(self, job: Job) -> None:
        """Store a new job. Raises ValueError for an id that is taken."""
        with self._lock:
            if job.id in self._jobs:
                raise ValueError(f"job {job.id} exists")
            self._jobs[job.id] = job

    def get(self, job_id: str) -> Job:
        """The job. Raises JobNotFoundError."""
        with self._lock:
            if job_id not in self._jobs:
                raise JobNotFoundError(f"There is no job {job_id[:80]}.")
            return self._jobs[job_id]

    def claim(self, job_id: str, now: datetime) -> Job | None:
        """queued → running with attempts + 1; None if it is not queued any more."""
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None or job.status is not JobStatus.QUEUED:
                return None
            claimed = job.evolve(status=JobStatus.RUNNING, attempts=job.attempts + 1, started_at=now)
            self._jobs[job_id] = claimed
            return claimed

    def finish(
        self, job_id: str, attempt: int, status: JobStatus, now: datetime, *, error: JobError | None = None
    ) -> bool:
        """running → a final status, if `attempt` is still the current one; else nothing and False."""
        require_final(status)
        with self._lock:
            job = self._running(job_id, attempt)
            if job is not None:
                self._jobs[job_id] = job.evolve(status=status, completed_at=now, error=error)
            return job is not None

    def requeue(self, job_id: str, attempt: int) -> bool:
        """running → queued, if `attempt` is still the current one; else nothing and False."""
        with self._lock:
            job = self._running(job_id, attempt)
            if job is not None:
                self._jobs[job_id] = job.evolve(status=JobStatus.QUEUED, started_at=None)
            return job is not None

    def cancel_queued(self, job_id: str, now: datetime) -> bool:
        """queued → cancelled; False if it is not queued any more."""
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None or job.status is not JobStatus.QUEUED:
                return False
            self._jobs[job_id] = job.evolve(status=JobStatus.CANCELLED, completed_at=now)
            return True

    def list_jobs(self, *, statuses: tuple[JobStatus, ...] = (), limit: int = 50) -> list[Job]:
        """Newest first; all statuses when none is given."""
        with self._lock:
            newest_first = list(reversed(self._jobs.values()))
        return [job for job in newest_first if not statuses or job.status in statuses][:limit]

    def close(self) -> None:
        """Nothing to close."""

    def _running(self, job_id: str, attempt: int) -> Job | None:
        job = self._jobs.get(job_id)
        is_owner = job is not None and job.status is JobStatus.RUNNING and job.attempts == attempt
        return job if is_owner else None
