"""The shapes of JSON answers, for /openapi.json. Tests hold every answer against them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from ...domain.jobs import DeliveryStatus, JobStatus
from ...domain.transcript import (
    FallbackReason,
    Notice,
    Receipt,
    Requested,
    Speaker,
    SpeakerTurn,
    Timings,
    TokenLogprob,
    Word,
)


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
    words: list[Word] = Field(description="empty unless word_timestamps or diarize was asked for")
    speaker: str | None = Field(None, description="the id of who says it; only where diarize was asked for")
    logprobs: list[TokenLogprob] = Field(
        default=[], description="only where an OpenAI client asked for include[]=logprobs"
    )
    language: str | None = Field(None, description="with multilingual: the language of this segment")
    channel: int | None = Field(None, description="with channels=split: the number of its channel, from 0")
    suspect: list[str] = Field(
        default=[],
        description="reasons to doubt it: repetition, compression, silence, guess, hurry, faint; docs/api.md has them",
    )


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
    media: dict[str, Any] = Field(
        description="container, codec, channels_used, gain_db, tracks[] and so on of the file"
    )
    speakers: list[Speaker] = Field(description="by first word; empty unless diarize was asked for")
    speaker_turns: list[SpeakerTurn] = Field(description="who speaks when, also at the same time")


class KeptError(BaseModel):
    """How a job failed."""

    code: str
    message: str
    param: str | None
    fix: str


class ProgressAnswer(BaseModel):
    """How far a running job is."""

    percent: float = Field(ge=0, le=100)
    stage: str = Field(description="fetching, decoding, transcribing")
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
    title: str = Field(description="what people call it instead; empty: nothing else")
    retry_of: str | None = Field(description="the job whose upload this one took over")
    url: str | None = Field(
        description="where the file was fetched from, without the query; null: it was uploaded"
    )
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


class ExcerptPartAnswer(BaseModel):
    """A stretch of an excerpt."""

    text: str
    is_match: bool = Field(description="it is what was searched")


class JobSummary(JobFields):
    """One job of a list."""

    excerpt: list[ExcerptPartAnswer] | None = Field(description="where the transcript has what was searched")


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
    speakers: list[Speaker] = Field([], description="as in the answer of POST /transcribe")
    speaker_turns: list[SpeakerTurn] = Field([], description="as in the answer of POST /transcribe")


class JobPageAnswer(BaseModel):
    """A page of jobs, the newest first."""

    jobs: list[JobSummary]
    next_before: int | None = Field(description="ask for the next page with before=…; null: there is none")
    counts: dict[JobStatus, int] = Field(description="how many jobs have each status, on all pages")


class SuspicionAnswer(BaseModel):
    """Why a segment deserves a second look."""

    code: str = Field(description="repetition, compression, silence, guess or hurry")
    value: float


class SubtitleFaultAnswer(BaseModel):
    """Why a segment is hard to read as a subtitle."""

    code: str = Field(description="long_line, many_lines, fast or overlap")
    value: float
    limit: float


class CheckAnswer(BaseModel):
    """What is to be said of one segment."""

    segment: int = Field(description="its id")
    suspicions: list[SuspicionAnswer]
    subtitle: list[SubtitleFaultAnswer]


class TranscriptAnswer(BaseModel):
    """A transcript as people left it."""

    job_id: str
    revision: int = Field(description="0: as the engine wrote it; the ETag has it too")
    is_edited: bool
    edited_at: datetime | None
    language: str
    duration: float | None = Field(description="seconds of audio")
    text: str
    segments: list[SegmentAnswer]
    speakers: list[Speaker] = Field(description="who speaks in them, with the names that people gave")
    checks: list[CheckAnswer] = Field(description="segments of which there is something to say")


class PieceAnswer(BaseModel):
    """A stretch of text that both have, or only one."""

    text: str
    is_different: bool


class ComparisonRowAnswer(BaseModel):
    """What both transcripts say at the same time."""

    start: float | None
    left: list[PieceAnswer]
    right: list[PieceAnswer]


class ComparisonAnswer(BaseModel):
    """Two transcripts side by side. The counts are words."""

    jobs: list[str] = Field(description="left and right")
    agreement: float = Field(ge=0, le=1, description="the share of words that both have")
    left_words: int
    right_words: int
    left_only: int
    right_only: int
    rows: list[ComparisonRowAnswer]


class OpenApiDocument(BaseModel):
    """This very document."""

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]
    components: dict[str, Any]
