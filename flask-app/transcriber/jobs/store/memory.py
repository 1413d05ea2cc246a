"""The job store in memory: for embedded use and tests. It passes the same contract as the one on disk."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from ...domain.errors import JobNotFoundError
from ...domain.jobs import Delivery, Job, JobError, JobStatus, require_final
from ...domain.ports import JobPage
from .full_text import find_in, parse_query
from .memory_keys import MemoryKeys
from .memory_outbox import MemoryOutbox
from .memory_transcripts import MemoryTranscripts
from .pages import page_of


class MemoryJobStore:
    """JobStore that forgets everything with its process. Safe to call from any thread."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._last_number = 0
        self._lock = threading.Lock()
        #: The webhook messages of these jobs.
        self.outbox = MemoryOutbox()
        #: Who may ask.
        self.keys = MemoryKeys()
        #: What people made of their transcripts, and the text of all.
        self.transcripts = MemoryTranscripts(
            lambda: [job.id for job in self._newest(lambda job: job.status is JobStatus.SUCCEEDED)]
        )

    def add(self, job: Job) -> Job:
        """Store a new job, with a number; or give back the job that has its idempotency key.

        Raises ValueError for an id that is taken.
        """
        with self._lock:
            earlier = self._by_key(job.idempotency_key)
            if earlier is not None:
                return earlier
            if job.id in self._jobs:
                raise ValueError(f"job {job.id} exists")
            self._last_number += 1
            self._jobs[job.id] = job.evolve(number=self._last_number)
            return self._jobs[job.id]

    def get(self, job_id: str) -> Job:
        """The job. Raises JobNotFoundError."""
        with self._lock:
            if job_id not in self._jobs:
                raise JobNotFoundError(f"There is no job {job_id[:80]}.")
            return self._jobs[job_id]

    def find_by_key(self, idempotency_key: str) -> Job | None:
        """The job that was submitted with this key."""
        with self._lock:
            return self._by_key(idempotency_key)

    def claim(self, job_id: str, now: datetime) -> Job | None:
        """queued → running with attempts + 1; None if it is not queued any more."""
        with self._lock:
            job = self._of_status(job_id, JobStatus.QUEUED)
            return job and self._keep(
                job, status=JobStatus.RUNNING, attempts=job.attempts + 1, started_at=now
            )

    def finish(
        self,
        job_id: str,
        attempt: int,
        status: JobStatus,
        now: datetime,
        *,
        error: JobError | None = None,
        delivery: Delivery | None = None,
        text: str | None = None,
    ) -> bool:
        """running → a final status, if `attempt` is still the current one; else nothing and False."""
        require_final(status)
        with self._lock:
            job = self._running(job_id, attempt)
            if job is not None and status is JobStatus.SUCCEEDED and text is not None:
                self.transcripts.put(job_id, text)
            return job is not None and self._end(job, status, now, error, delivery)

    def requeue(self, job_id: str, attempt: int) -> bool:
        """running → queued, if `attempt` is still the current one; else nothing and False."""
        with self._lock:
            job = self._running(job_id, attempt)
            if job is not None:
                self._keep(job, status=JobStatus.QUEUED, started_at=None)
            return job is not None

    def cancel_queued(self, job_id: str, now: datetime, *, delivery: Delivery | None = None) -> bool:
        """queued → cancelled; False if it is not queued any more."""
        with self._lock:
            job = self._of_status(job_id, JobStatus.QUEUED)
            return job is not None and self._end(job, JobStatus.CANCELLED, now, None, delivery)

    def retry(self, job_id: str) -> Job | None:
        """failed → queued with its error, faults and kills wiped; None if it has not failed, or has no upload."""
        with self._lock:
            job = self._of_status(job_id, JobStatus.FAILED)
            if job is None or not job.has_upload:
                return None
            return self._keep(
                job,
                status=JobStatus.QUEUED,
                started_at=None,
                completed_at=None,
                error=None,
                engine_faults=0,
                engine_kills=0,
                is_awaited=False,
            )

    def note(
        self,
        job_id: str,
        attempt: int,
        *,
        duration: float | None = None,
        size_bytes: int | None = None,
        engine_faults: int | None = None,
        engine_kills: int | None = None,
    ) -> bool:
        """Keep what became known of a running job; False if `attempt` is not the current one."""
        values = {
            "duration": duration,
            "size_bytes": size_bytes,
            "engine_faults": engine_faults,
            "engine_kills": engine_kills,
        }
        with self._lock:
            job = self._running(job_id, attempt)
            if job is not None:
                self._keep(job, **{name: value for name, value in values.items() if value is not None})
            return job is not None

    def note_upload_removed(self, job_id: str, *, attempt: int | None = None) -> bool:
        """Give up the upload of a job that has ended; False for any other, and where there is none."""
        with self._lock:
            job = self._ended(job_id, attempt)
            if job is None or not job.has_upload:
                return False
            self._keep(job, has_upload=False)
            return True

    def list_jobs(self, *, statuses: tuple[JobStatus, ...] = (), limit: int = 50) -> list[Job]:
        """Newest first; all statuses when none is given."""
        return self._newest(lambda job: not statuses or job.status in statuses)[:limit]

    def page(
        self,
        *,
        statuses: tuple[JobStatus, ...] = (),
        before: int | None = None,
        limit: int = 50,
        search: str = "",
        owner: str | None = None,
    ) -> JobPage:
        """Jobs numbered below `before`, newest first; with `search` those that have it in their name or text."""
        jobs = self._newest(
            lambda job: (
                (not statuses or job.status in statuses)
                and (before is None or job.number < before)
                and owner in (None, job.owner)
            )
        )
        if not search:
            return page_of(jobs, limit)
        query = parse_query(search)
        hits = {job.id: query and find_in(self.transcripts.text_of(job.id), query) for job in jobs}
        page = page_of(
            [job for job in jobs if hits[job.id] or search.casefold() in job.name.casefold()], limit
        )
        return replace(page, excerpts={job.id: hit for job in page.jobs if (hit := hits[job.id])})

    def rename(self, job_id: str, title: str) -> Job:
        """Give the job another name. Raises JobNotFoundError."""
        with self._lock:
            if job_id not in self._jobs:
                raise JobNotFoundError(f"There is no job {job_id[:80]}.")
            return self._keep(self._jobs[job_id], title=title)

    def counts(self, *, owner: str | None = None) -> dict[JobStatus, int]:
        """How many jobs have each status."""
        found = Counter(job.status for job in self._newest(lambda job: owner in (None, job.owner)))
        return {status: found[status] for status in JobStatus}

    def purge(self, job_id: str, *, attempt: int | None = None) -> bool:
        """Delete a job that has ended, with its deliveries; False if there is no such job."""
        with self._lock:
            if self._ended(job_id, attempt) is None:
                return False
            del self._jobs[job_id]
            self.outbox.drop(job_id)
            self.transcripts.drop(job_id)
            return True

    def ended_before(
        self,
        moment: datetime,
        limit: int = 100,
        *,
        status: JobStatus | None = None,
        has_upload: bool | None = None,
    ) -> list[Job]:
        """Jobs that ended earlier than this, oldest first: all of them, or those of this kind."""
        ended = [
            (job.completed_at, job.number, job)
            for job in self._newest(lambda job: status in (None, job.status))
            if job.completed_at is not None and job.completed_at < moment
        ]
        return [job for _, _, job in sorted(ended) if has_upload in (None, job.has_upload)][:limit]

    def ids(self, *, statuses: tuple[JobStatus, ...] = (), has_upload: bool | None = None) -> frozenset[str]:
        """The ids of all jobs, or of those of this kind."""
        jobs = self._newest(lambda job: not statuses or job.status in statuses)
        return frozenset(job.id for job in jobs if has_upload in (None, job.has_upload))

    def close(self) -> None:
        """Nothing to close."""

    def _newest(self, is_wanted: Callable[[Job], bool]) -> list[Job]:
        with self._lock:
            newest_first = list(reversed(self._jobs.values()))
        return [job for job in newest_first if is_wanted(job)]

    # From here on: the caller holds the lock.

    def _end(
        self,
        job: Job,
        status: JobStatus,
        now: datetime,
        error: JobError | None,
        delivery: Delivery | None,
    ) -> bool:
        if delivery is not None:
            self.outbox.put(delivery)
        self._keep(job, status=status, completed_at=now, error=error)
        return True

    def _keep(self, job: Job, **changes: Any) -> Job:
        changed = job.evolve(**changes)
        self._jobs[job.id] = changed
        return changed

    def _by_key(self, idempotency_key: str | None) -> Job | None:
        if idempotency_key is None:
            return None
        found = (job for job in self._jobs.values() if job.idempotency_key == idempotency_key)
        return next(found, None)

    def _of_status(self, job_id: str, status: JobStatus) -> Job | None:
        job = self._jobs.get(job_id)
        return job if job is not None and job.status is status else None

    def _ended(self, job_id: str, attempt: int | None) -> Job | None:
        job = self._jobs.get(job_id)
        is_wanted = job is not None and job.status.is_final and attempt in (None, job.attempts)
        return job if is_wanted else None

    def _running(self, job_id: str, attempt: int) -> Job | None:
        job = self._of_status(job_id, JobStatus.RUNNING)
        return job if job is not None and job.attempts == attempt else None
