"""A job as a row, and a row as a job: JSON columns are checked against the domain's types on the way back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from ..domain.errors import StorageFailedError
from ..domain.jobs import Job, JobError, JobStatus
from ..domain.options import TranscriptionRequest

Value = TypeVar("Value")


class JobRows:
    """Turns rows of the table jobs into Jobs and back."""

    def __init__(self) -> None:
        self._requests = TypeAdapter(TranscriptionRequest)
        self._errors = TypeAdapter(JobError)

    def from_job(self, job: Job) -> dict[str, Any]:
        """The row of a new job, without its number."""
        return {
            "id": job.id,
            "status": job.status.value,
            "request": asdict(job.request),
            "file_name": job.file_name,
            "size_bytes": job.size_bytes,
            "created_at": job.created_at,
            "started_at": job.started_at,
            "completed_at": job.completed_at,
            "attempts": job.attempts,
            "error": error_column(job.error),
            "request_id": job.request_id,
        }

    def to_job(self, row: Mapping[str, Any]) -> Job:
        """The job of a row. Raises StorageFailedError when a column holds what no version of us wrote."""
        return Job(
            id=row["id"],
            status=JobStatus(row["status"]),
            request=_read(self._requests, row["request"], row["id"]),
            file_name=row["file_name"],
            size_bytes=row["size_bytes"],
            created_at=row["created_at"],
            started_at=row["started_at"],
            completed_at=row["completed_at"],
            attempts=row["attempts"],
            error=None if row["error"] is None else _read(self._errors, row["error"], row["id"]),
            request_id=row["request_id"],
        )


def error_column(error: JobError | None) -> dict[str, Any] | None:
    """A job's error as its column."""
    return None if error is None else asdict(error)


def _read(adapter: TypeAdapter[Value], column: object, job_id: str) -> Value:
    # Strict JSON, not strict Python: a list then may become a tuple, and a text never a number.
    try:
        return adapter.validate_json(json.dumps(column), strict=True, extra="forbid")
    except ValidationError as error:
        raise StorageFailedError(
            f"The row of job {job_id} can't be read.",
            code="job_damaged",
            fix="Restore the job store from a backup, or delete this row.",
        ) from error
