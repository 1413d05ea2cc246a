"""The doors of the domain: what the use cases need from the outside, as Protocols."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from .events import EngineEvent
from .jobs import Job, JobError, JobStatus
from .options import TranscriptionOptions
from .transcript import Notice, Transcription

#: The rate of all decoded audio, in samples a second; samples are int16, one channel.
SAMPLE_RATE = 16_000


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodedAudio:
    """PCM in the spool: int16, mono, 16 kHz, little-endian, without a header."""

    path: Path
    samples: int
    container: str
    codec: str
    channels: int
    sample_rate: int
    audio_streams: int
    stream_index: int
    notices: tuple[Notice, ...] = ()

    @property
    def duration(self) -> float:
        """Seconds of audio."""
        return self.samples / SAMPLE_RATE


class MediaDecoder(Protocol):
    """Turns an upload into PCM, in a sandbox."""

    def decode(
        self, upload: Path, pcm: Path, *, job_id: str, cancelled: Callable[[], bool] | None = None
    ) -> DecodedAudio:
        """Decode `upload` into the new file `pcm`. Raises MediaError, LimitError, JobCancelledError."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineInfo:
    """A running engine child, as it described itself when it became ready."""

    pid: int
    device: str
    device_index: int
    device_name: str | None
    device_uuid: str | None
    model: str
    compute_type: str
    requested_compute_type: str
    supported_compute_types: tuple[str, ...]
    started_at: datetime
    #: Seconds from start to ready, and those of the warm-up window in it.
    load_seconds: float
    warmup_seconds: float
    #: Device of the warm-up's encoder output; the proof that the engine computes there.
    warmup_device: str


class Engine(Protocol):
    """One engine child: one device, one model."""

    @property
    def info(self) -> EngineInfo: ...

    def transcribe(
        self, job_id: str, pcm: Path, samples: int, options: TranscriptionOptions
    ) -> Iterator[EngineEvent]:
        """Run one job; yields its events. Raises EngineCrashedError, EngineFailedError, JobCancelledError."""
        ...

    def cancel(self, job_id: str) -> None:
        """Ask the child to drop this job. Safe for jobs it does not know."""
        ...


class EnginePool(Protocol):
    """Keeps engine children alive and lends them."""

    def lend(self, device: str, model: str) -> AbstractContextManager[Engine]:
        """An engine for this device ('cuda' or 'cpu') and model, started if need be.

        Raises ModelNotFoundError, EngineStartError (its code names the cause).
        """
        ...

    def running(self) -> tuple[EngineInfo, ...]:
        """The children that are up now."""
        ...

    def discard(self, engine: Engine) -> None:
        """End this child; the next lend starts a fresh one."""
        ...

    def close(self) -> None: ...


class JobStore(Protocol):
    """The truth of every job. Every write names the attempt it belongs to."""

    def add(self, job: Job) -> None:
        """Store a new job; on return it is on disk."""
        ...

    def get(self, job_id: str) -> Job:
        """The job. Raises JobNotFoundError."""
        ...

    def claim(self, job_id: str, now: datetime) -> Job | None:
        """queued → running with attempts + 1; None if it is not queued any more."""
        ...

    def finish(
        self, job_id: str, attempt: int, status: JobStatus, now: datetime, *, error: JobError | None = None
    ) -> bool:
        """running → a final status, if `attempt` is still the current one; else nothing and False."""
        ...

    def requeue(self, job_id: str, attempt: int) -> bool:
        """running → queued, if `attempt` is still the current one; else nothing and False."""
        ...

    def cancel_queued(self, job_id: str, now: datetime) -> bool:
        """queued → cancelled; False if it is not queued any more."""
        ...

    def list_jobs(self, *, statuses: tuple[JobStatus, ...] = (), limit: int = 50) -> list[Job]:
        """Newest first; all statuses when none is given."""
        ...

    def close(self) -> None: ...


class ResultStore(Protocol):
    """Finished transcriptions, on disk, whole or not at all."""

    def save(self, transcription: Transcription) -> None: ...

    def find(self, job_id: str) -> Transcription | None: ...


class Clock(Protocol):
    """Time, so that tests can hold it."""

    def now(self) -> datetime:
        """UTC, with a zone."""
        ...

    def monotonic(self) -> float: ...
