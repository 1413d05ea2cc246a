"""The message that says how a job ended. It carries no transcript text."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from ..domain.answer import fallback_to_dict, rounded
from ..domain.jobs import Delivery, DeliveryStatus, Job, JobError, JobStatus, require_final
from ..domain.transcript import Transcription


def make_delivery(
    job: Job, transcription: Transcription | None, now: datetime, new_id: Callable[[], str]
) -> Delivery | None:
    """The delivery for a job that has ended; None without a webhook.

    `job` has its final status, completed_at and error already. Raises ValueError for one that has not ended.
    """
    if job.webhook is None:
        return None
    require_final(job.status)
    return Delivery(
        id=new_id(),
        job_id=job.id,
        url=job.webhook.url,
        secret=job.webhook.secret,
        payload=json.dumps(_message(job, transcription, now), separators=(",", ":"), allow_nan=False),
        status=DeliveryStatus.PENDING,
        created_at=now,
        next_try_at=now,
    )


def _message(job: Job, transcription: Transcription | None, now: datetime) -> dict[str, Any]:
    return {
        "type": f"job.{job.status.value}",
        "timestamp": now.isoformat(),
        "data": _job_facts(job) | _transcription_facts(job, transcription),
    }


def _job_facts(job: Job) -> dict[str, Any]:
    has_transcript = job.status is JobStatus.SUCCEEDED
    return {
        "job_id": job.id,
        "status": job.status.value,
        "created_at": job.created_at.isoformat(),
        "started_at": _moment(job.started_at),
        "completed_at": _moment(job.completed_at),
        "file_name": job.file_name,
        "error": _error(job.error),
        "transcript_url": f"/jobs/{job.id}/transcript.json" if has_transcript else None,
    }


def _transcription_facts(job: Job, transcription: Transcription | None) -> dict[str, Any]:
    """Where and how it was transcribed; null where that is not known, as for a job that failed."""
    t = transcription
    duration = t.duration if t else job.duration
    return {
        "duration": None if duration is None else rounded(duration, 3),
        "model": t.model if t else job.request.model,
        "gpu_used": t.gpu_used if t else None,
        "device": t.device if t else None,
        "compute_type": t.compute_type if t else None,
        "fallback_reason": fallback_to_dict(t.fallback_reason) if t else None,
        "language": t.language if t else None,
    }


def _error(error: JobError | None) -> dict[str, Any] | None:
    """The fields of the API's error body."""
    if error is None:
        return None
    return {"code": error.code, "message": error.message, "param": error.param, "fix": error.fix}


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
