"""Every statement of the job store, by name."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Insert, Select, Update, insert, select, update

from ..domain.jobs import JobError, JobStatus
from .rows import error_column
from .schema import jobs


def insert_job(row: dict[str, Any]) -> Insert:
    """A new row; its number comes from the database."""
    return insert(jobs).values(**row)


def select_job(job_id: str) -> Select[Any]:
    """One job."""
    return select(jobs).where(jobs.c.id == job_id)


def select_jobs(statuses: Collection[JobStatus], limit: int) -> Select[Any]:
    """The newest jobs first; all statuses when none is given."""
    query = select(jobs).order_by(jobs.c.number.desc()).limit(limit)
    return query.where(jobs.c.status.in_([status.value for status in statuses])) if statuses else query


def claim_job(job_id: str, now: datetime) -> Update:
    """queued → running, one attempt more; gives the row back, or nothing."""
    return (
        update(jobs)
        .where(jobs.c.id == job_id, jobs.c.status == JobStatus.QUEUED.value)
        .values(status=JobStatus.RUNNING.value, attempts=jobs.c.attempts + 1, started_at=now)
        .returning(jobs)
    )


def finish_job(job_id: str, attempt: int, status: JobStatus, now: datetime, error: JobError | None) -> Update:
    """running → a final status, for the attempt that owns the job."""
    return _of_attempt(job_id, attempt).values(
        status=status.value, completed_at=now, error=error_column(error)
    )


def requeue_job(job_id: str, attempt: int) -> Update:
    """running → queued, for the attempt that owns the job."""
    return _of_attempt(job_id, attempt).values(status=JobStatus.QUEUED.value, started_at=None)


def cancel_queued_job(job_id: str, now: datetime) -> Update:
    """queued → cancelled."""
    return (
        update(jobs)
        .where(jobs.c.id == job_id, jobs.c.status == JobStatus.QUEUED.value)
        .values(status=JobStatus.CANCELLED.value, completed_at=now)
    )


def _of_attempt(job_id: str, attempt: int) -> Update:
    return update(jobs).where(
        jobs.c.id == job_id, jobs.c.attempts == attempt, jobs.c.status == JobStatus.RUNNING.value
    )
