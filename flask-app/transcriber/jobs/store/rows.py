"""Jobs and deliveries as rows, and back: JSON columns are checked against the domain's types on the way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from ...domain.errors import StorageFailedError
from ...domain.jobs import Delivery, DeliveryStatus, Job, JobError, JobStatus, Webhook
from ...domain.options import TranscriptionRequest

Value = TypeVar("Value")


class JobRows:
    """Turns rows of the table jobs into Jobs and back."""

    def __init__(self) -> None:
        self._requests = TypeAdapter(TranscriptionRequest)
        self._errors = TypeAdapter(JobError)
        self._webhooks = TypeAdapter(Webhook)

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
            "priority": job.priority,
            "is_awaited": job.is_awaited,
            "webhook": None if job.webhook is None else asdict(job.webhook),
            "idempotency_key": job.idempotency_key,
            "fingerprint": job.fingerprint,
            "duration": job.duration,
            "engine_faults": job.engine_faults,
            "engine_kills": job.engine_kills,
            "has_upload": job.has_upload,
            "title": job.title,
            "retry_of": job.retry_of,
            "owner": job.owner,
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
            priority=row["priority"],
            is_awaited=row["is_awaited"],
            webhook=None if row["webhook"] is None else _read(self._webhooks, row["webhook"], row["id"]),
            idempotency_key=row["idempotency_key"],
            fingerprint=row["fingerprint"],
            duration=row["duration"],
            engine_faults=row["engine_faults"],
            engine_kills=row["engine_kills"],
            number=row["number"],
            has_upload=row["has_upload"],
            title=row["title"],
            retry_of=row["retry_of"],
            owner=row["owner"],
        )


def from_delivery(delivery: Delivery) -> dict[str, Any]:
    """The row of a delivery, without its number."""
    return asdict(delivery) | {"status": delivery.status.value}


def to_delivery(row: Mapping[str, Any]) -> Delivery:
    """The delivery of a row."""
    values = {name: value for name, value in row.items() if name != "number"}
    return Delivery(**values | {"status": DeliveryStatus(row["status"])})


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
