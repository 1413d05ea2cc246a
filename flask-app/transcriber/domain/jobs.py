"""A job: one submitted file, its status, and the transitions that are allowed."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
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
    #: The code of the error's class, where `code` is more exact than that (a GPU cause): it decides the status.
    kind: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Webhook:
    """Where to send a message when a job ends. The secret signs by the Standard Webhooks convention; empty: unsigned."""

    url: str
    secret: str = field(default="", repr=False)


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
    #: Higher runs earlier within its lane; -100 to 100.
    priority: int = 0
    #: A client waits for the answer on its connection: it goes, the job goes (POST /transcribe).
    is_awaited: bool = False
    webhook: Webhook | None = None
    #: The caller's Idempotency-Key, and a digest of what it was sent with.
    idempotency_key: str | None = None
    fingerprint: str | None = None
    #: Seconds of audio, known once it is decoded.
    duration: float | None = None
    #: How often an engine died with this job in it, by faults of its own and by SIGKILL from outside.
    engine_faults: int = 0
    engine_kills: int = 0
    #: The order of acceptance; the store gives it. 0: not stored yet.
    number: int = 0
    #: Whether the upload is still in the spool, so that the job can be retried.
    has_upload: bool = True
    #: What people call it instead of its file name; empty: nothing else.
    title: str = ""
    #: The job whose upload this one took over, to try it with other options.
    retry_of: str | None = None
    #: The id of the key that submitted it; None: it belongs to the admins.
    owner: str | None = None

    @property
    def name(self) -> str:
        """What to call it where people look."""
        return self.title or self.file_name

    def evolve(self, **changes: Any) -> Job:
        """A copy with these fields changed."""
        return replace(self, **changes)


@dataclass(frozen=True, kw_only=True, slots=True)
class SubmissionTerms:
    """How a job is to be treated, beside what is to be done with its file."""

    priority: int = 0
    webhook: Webhook | None = None
    idempotency_key: str | None = None
    #: A digest of what the key was sent with; another one under the same key is refused.
    fingerprint: str | None = None
    #: A client waits for the answer on its connection.
    is_awaited: bool = False
    title: str = ""
    retry_of: str | None = None
    owner: str | None = None


class DeliveryStatus(enum.StrEnum):
    """Where a webhook delivery stands."""

    PENDING = "pending"  #: to be sent, for the first time or again
    DELIVERED = "delivered"  #: the receiver answered 2xx
    GIVEN_UP = "given_up"  #: all tries failed, or the address is not allowed


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """One webhook message in the outbox. `id` is the webhook-id header, the same in every try."""

    id: str
    job_id: str
    url: str
    secret: str = field(repr=False)
    #: The body, JSON as it is signed and sent.
    payload: str
    status: DeliveryStatus
    tries: int = 0
    created_at: datetime
    next_try_at: datetime
    #: What the last try came to: the receiver's status, or why it could not be asked.
    last_status: int | None = None
    last_error: str | None = None
    delivered_at: datetime | None = None

    def evolve(self, **changes: Any) -> Delivery:
        """A copy with these fields changed."""
        return replace(self, **changes)


@dataclass(frozen=True, kw_only=True, slots=True)
class JobProgress:
    """How far a running job is. percent 0 to 100; seconds_left None: not known yet."""

    percent: float
    stage: str  #: fetching, decoding, transcribing
    seconds_left: float | None
    windows_done: int
    segments: int
    #: As soon as they are known: the language (code), and where the last window ran, by its own word (cuda, cpu).
    language: str | None = None
    device: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class QueuePlace:
    """Where a queued job stands: position 1 is next; an estimate of the wait in seconds."""

    position: int
    seconds: float | None
