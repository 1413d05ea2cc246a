"""The shapes of JSON answers, for /openapi.json. Tests hold every answer against them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from ..domain.jobs import DeliveryStatus, JobStatus
from ..domain.transcript import FallbackReason, Notice, Receipt, Requested, Timings, Word


class ErrorDetail(BaseModel):
    """What went wrong."""

    code: str = Field(description="what programs match on; docs/api.md lists them")
    message: str
    param: str | None = Field(description="the request field at fault")
    type: str = Field(description="OpenAI's word for the kind of error")
    fix: str = Field(description="what to do")


class ErrorAnswer(BaseModel):
    """The one body of every error."""

    error: ErrorDetail


class SegmentAnswer(BaseModel):
    """A decoded unit of text; times in seconds from the start of the file."""

    id: int
    seek: int
    start: float | None
    end: float | None
    text: str
    tokens: list[int]
    avg_logprob: float | None
    compression_ratio: float | None
    no_speech_prob: float | None
    temperature: float | None
    words: list[Word] = Field(description="empty unless word_timestamps was asked for")


class TranscriptionAnswer(BaseModel):
    """A finished transcription, with the evidence of where it was made."""

    job_id: str
    text: str
    language: str
    language_probability: float | None
    duration: float | None = Field(description="seconds of audio")
    segments: list[SegmentAnswer]
    model: str
    task: str
    gpu_used: bool = Field(description="true only if every window ran on the GPU")
    device: str
    compute_type: str
    requested: Requested
    fallback_reason: FallbackReason | None
    receipt: Receipt
    timings: Timings
    rtfx: float | None = Field(description="seconds of audio per second of work")
    warnings: list[Notice]
    media: dict[str, Any] = Field(description="container, codec, channels and so on of the file")


class KeptError(BaseModel):
    """How a job failed."""

    code: str
    message: str
    param: str | None
    fix: str


class ProgressAnswer(BaseModel):
    """How far a running job is."""

    percent: float = Field(ge=0, le=100)
    stage: str = Field(description="decoding, transcribing")
    seconds_left: float | None = Field(description="null: not known yet")
    windows_done: int
    segments: int
    language: str | None = Field(description="its code; null: not known yet")
    device: str | None = Field(
        description="where the last window ran, by its own word; null: none has run yet"
    )


class ResumableUploadAnswer(BaseModel):
    """How far an upload is that arrives in parts."""

    upload_id: str = Field(
        description="what POST /jobs takes as `upload`, and the id of the job it then becomes"
    )
    file_name: str
    offset: int = Field(ge=0, description="bytes that are here")
    length: int = Field(ge=0, description="bytes of the whole file")
    expires_at: datetime = Field(description="when it is removed if nothing more comes")


class DeliveryAnswer(BaseModel):
    """One webhook message and what became of it. The address is shown without its query."""

    id: str = Field(description="the webhook-id header, the same in every try")
    url: str
    status: DeliveryStatus
    tries: int
    created_at: datetime
    next_try_at: datetime | None = Field(description="null when there will be none")
    last_status: int | None
    last_error: str | None
    delivered_at: datetime | None


class JobFields(BaseModel):
    """What every mention of a job has."""

    job_id: str
    status: JobStatus
    file_name: str = Field(description="the sender's word, for show only")
    size_bytes: int
    priority: int
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    attempts: int
    error: KeptError | None
    duration: float | None = Field(description="seconds of audio, known once it is decoded")
    model: str
    task: str
    gpu_used: bool | None = Field(description="null until the job has succeeded")
    device: str | None
    compute_type: str | None
    links: dict[str, str]


class JobSummary(JobFields):
    """One job of a list."""


class JobAnswer(JobFields):
    """A job: how it stands, its segments so far, and all of its transcription once it has succeeded."""

    position: int | None = Field(description="1 is next, 0 is being worked on; null once it has ended")
    estimated_wait_seconds: float | None
    progress: ProgressAnswer | None = Field(description="null unless it is running")
    segments: list[SegmentAnswer] = Field(description="those that are there so far")
    deliveries: list[DeliveryAnswer]
    text: str | None
    language: str | None
    language_probability: float | None
    requested: Requested | None
    fallback_reason: FallbackReason | None
    receipt: Receipt | None
    timings: Timings | None
    rtfx: float | None
    warnings: list[Notice]
    media: dict[str, Any] | None


class JobPageAnswer(BaseModel):
    """A page of jobs, the newest first."""

    jobs: list[JobSummary]
    next_before: int | None = Field(description="ask for the next page with before=…; null: there is none")
    counts: dict[JobStatus, int] = Field(description="how many jobs have each status, on all pages")


class HealthAnswer(BaseModel):
    """The state, and what it rests on; without a key the status alone."""

    status: str


class DiagnosticsAnswer(BaseModel):
    """The verdict on this installation and everything it rests on."""

    verdict: str
    status: str


class OpenApiDocument(BaseModel):
    """This very document."""

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]
    components: dict[str, Any]
