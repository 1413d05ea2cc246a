"""Jobs as the API shows them. Times are ISO 8601 in UTC."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import Response, jsonify, url_for

from ...domain.answer import rounded, segment_to_dict, transcription_to_dict
from ...domain.jobs import Delivery, DeliveryStatus, Job, JobProgress, JobStatus
from ...domain.ports import Excerpt
from ...domain.transcript import DeviceFacts, Transcription
from ...formats.table import DOWNLOADS
from ..computing import json_answer

if TYPE_CHECKING:
    from ...service.job_queries import JobView

Json = dict[str, Any]

#: The fields of an answer before there is one. gpu_used is null, never false: nothing is known yet.
_NO_ANSWER = MappingProxyType(
    dict.fromkeys(
        (
            "text",
            "language",
            "language_probability",
            "requested",
            "fallback_reason",
            "receipt",
            "timings",
            "rtfx",
            "media",
        )
    )
)


def job_to_dict(view: JobView, transcription: Transcription | None) -> Json:
    """The whole job; all fields of the transcription's answer stand beside its own."""
    job = view.job
    standing = _place_to_dict(view) | {
        "progress": progress_to_dict(view.progress),
        "segments": [segment_to_dict(segment) for segment in view.segments],
        "deliveries": [delivery_to_dict(delivery) for delivery in view.deliveries],
    }
    answer = dict(_NO_ANSWER) | {"warnings": []}
    if transcription is not None:
        answer = transcription_to_dict(transcription)
    return _job_fields(job, None) | standing | answer | {"links": links_of(job)}


def job_answer(view: JobView, transcription: Transcription | None) -> Response:
    """The same as JSON; of a long transcript it is made on a computing thread, but for the links."""
    own = job_to_dict(view, None)
    if transcription is None:
        return jsonify(own)
    return json_answer(lambda: own | transcription_to_dict(transcription), of=transcription)


def summary_to_dict(job: Job, facts: DeviceFacts | None, excerpt: Excerpt | None = None) -> Json:
    """The job without its text, for lists; with the place where the text has what was searched."""
    parts = None if excerpt is None else [asdict(part) for part in excerpt.parts]
    return _job_fields(job, facts) | {"excerpt": parts, "links": links_of(job)}


def progress_to_dict(progress: JobProgress | None) -> Json | None:
    """How far it is, as events and answers show it."""
    if progress is None:
        return None
    shown = asdict(progress)
    return shown | {"percent": rounded(progress.percent, 1), "seconds_left": _seconds(progress.seconds_left)}


def delivery_to_dict(delivery: Delivery) -> Json:
    """One webhook message without its body and secret; the next try only where there will be one."""
    is_pending = delivery.status is DeliveryStatus.PENDING
    return {
        "id": delivery.id,
        "url": shown_url(delivery.url),
        "status": delivery.status.value,
        "tries": delivery.tries,
        "created_at": _iso(delivery.created_at),
        "next_try_at": _iso(delivery.next_try_at) if is_pending else None,
        "last_status": delivery.last_status,
        "last_error": delivery.last_error,
        "delivered_at": _iso(delivery.delivered_at),
    }


def shown_url(url: str) -> str:
    """The receiver's address without its query, where people keep tokens."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def links_of(job: Job) -> dict[str, str]:
    """Addresses that are good for something in the job's present state."""
    own = {"self": url_for("jobs.show", job_id=job.id)}
    if job.status is JobStatus.SUCCEEDED:
        own |= {"transcript": url_for("editing.show", job_id=job.id)}
        own |= {"media": url_for("media.show", job_id=job.id)} if job.has_upload else {}
        return own | {e: url_for("jobs.download", job_id=job.id, ending=e) for e in DOWNLOADS}
    return own | {"stream": url_for("stream.follow", job_id=job.id)}


def _place_to_dict(view: JobView) -> Json:
    """Always numbers before the end: a job that has just been taken out of the queue waits no longer."""
    if view.job.status.is_final:
        return {"position": None, "estimated_wait_seconds": None}
    if view.place is None:
        return {"position": 0, "estimated_wait_seconds": 0.0}
    return {
        "position": view.place.position,
        "estimated_wait_seconds": _seconds(view.place.seconds),
    }


def _job_fields(job: Job, facts: DeviceFacts | None) -> Json:
    return {
        "job_id": job.id,
        "status": job.status.value,
        "file_name": job.file_name,
        "title": job.title,
        "retry_of": job.retry_of,
        "url": None if job.request.url is None else shown_url(job.request.url),
        "size_bytes": job.size_bytes,
        "priority": job.priority,
        "created_at": _iso(job.created_at),
        "started_at": _iso(job.started_at),
        "completed_at": _iso(job.completed_at),
        "attempts": job.attempts,
        "error": _error_of(job),
        "duration": None if job.duration is None else rounded(job.duration, 3),
        "model": job.request.model,
        "task": job.request.options.task,
        "gpu_used": None if facts is None else facts.gpu_used,
        "device": None if facts is None else facts.device,
        "compute_type": None if facts is None else facts.compute_type,
    }


def _error_of(job: Job) -> Json | None:
    error = job.error
    if error is None:
        return None
    return {"code": error.code, "message": error.message, "param": error.param, "fix": error.fix}


def _seconds(seconds: float | None) -> float | None:
    return None if seconds is None else rounded(seconds, 1)


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
