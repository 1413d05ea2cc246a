"""A job: one submitted file, its status, and the transitions that are allowed."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from .options import TranscriptionRequest


class JobStatus(enum.StrEnum):
    """Where a job stands."""

    QUEUED = "queued"  #: accepted and on disk, waiting for a runner
    RUNNING = "running"  #: a runner works on it
    SUCCEEDED = "succeeded"  #: its transcript is on disk
    FAILED = "failed"  #: it ended with an error that has a code
    CANCELLED = "cancelled"  #: somebody gave it up

    @property
    def is_final(self) -> bool:
        return self in (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED)


#: From each status to those that may follow it.
TRANSITIONS: dict[JobStatus, frozenset[JobStatus]] = {
    JobStatus.QUEUED: frozenset({JobStatus.RUNNING, JobStatus.CANCELLED, JobStatus.FAILED}),
    JobStatus.RUNNING: frozenset(
        {JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.QUEUED}
    ),
    JobStatus.SUCCEEDED: frozenset(),
    JobStatus.FAILED: frozenset({JobStatus.QUEUED}),
    JobStatus.CANCELLED: frozenset({JobStatus.QUEUED}),
}


def require_final(status: JobStatus) -> None:
    """Raises ValueError: a job ends in a final status only."""
    if not status.is_final:
        raise ValueError(f"{status.value} is not a final status")


@dataclass(frozen=True, kw_only=True, slots=True)
class JobError:
    """How a failed job failed: the same fields as the error body."""

    code: str
    message: str
    fix: str
    param: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One row of the store. Times are UTC with a zone; file_name is the caller's word, for show only."""

    id: str
    status: JobStatus
    request: TranscriptionRequest
    file_name: str
    size_bytes: int
    created_at: datetime
    started_at: datetime | None = None
    completed_at: datetime | None = None
    attempts: int = 0
    error: JobError | None = None
    request_id: str | None = None

    def evolve(self, **changes: Any) -> Job:
        """A copy with these fields changed."""
        return replace(self, **changes)
