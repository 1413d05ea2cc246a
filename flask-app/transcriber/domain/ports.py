"""The doors of the domain: what the use cases need from the outside, as Protocols."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from .edits import Edit
from .errors import TranscriberError
from .events import EngineEvent, Resumption
from .jobs import Delivery, Job, JobError, JobStatus
from .keys import ApiKey
from .options import MIX, AudioSelection, TranscriptionOptions
from .selftest import SelfTestReport
from .speakers import Diarization
from .transcript import Notice, Transcription

#: The rate of all decoded audio, in samples a second; samples are int16, one channel.
SAMPLE_RATE = 16_000
SAMPLE_BYTES = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class AudioTrack:
    """An audio track of a file. language: by the file, as 'en' or 'eng', may be empty; marks: default, comment, …"""

    codec: str
    channels: int
    sample_rate: int
    language: str = ""
    marks: tuple[str, ...] = ()
    is_used: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodedAudio:
    """PCM in the spool: int16, 16 kHz, little-endian, without a header; mono, or channels that take turns.

    samples: of each channel. channels_used: mix, left, right or split. gain_db: by which quiet sound was raised.
    """

    path: Path
    samples: int
    container: str
    codec: str
    channels: int
    sample_rate: int
    audio_streams: int
    stream_index: int
    notices: tuple[Notice, ...] = ()
    #: How loud each part of it is, one byte a part, in base64: what pages draw.
    peaks: str = ""
    pcm_channels: int = 1
    channels_used: str = "mix"
    gain_db: float = 0.0
    tracks: tuple[AudioTrack, ...] = ()

    @property
    def pcm_bytes(self) -> int:
        """The size of the file."""
        return self.samples * self.pcm_channels * SAMPLE_BYTES

    @property
    def duration(self) -> float:
        """Seconds of audio."""
        return self.samples / SAMPLE_RATE


class MediaDecoder(Protocol):
    """Turns an upload into PCM, in a sandbox."""

    def decode(
        self,
        upload: Path,
        pcm: Path,
        *,
        job_id: str,
        cancelled: Callable[[], bool] | None = None,
        selection: AudioSelection = MIX,
    ) -> DecodedAudio:
        """Decode what is selected of `upload` into the new file `pcm`.

        Raises MediaError, LimitError, JobCancelledError.
        """
        ...

    def close(self) -> None: ...


#: Receives the bytes fetched so far and, where known, in all. Raises to stop.
FetchProgress = Callable[[int, int | None], None]


class Fetcher(Protocol):
    """Fetches media files from URLs."""

    def check(self, url: str) -> None:
        """Raises InvalidParameterError, UrlNotAllowedError for a URL that can never be fetched."""
        ...

    def fetch(self, url: str, write: Callable[[bytes], object], progress: FetchProgress) -> None:
        """Give the file's bytes to `write`. Raises SourceError, UploadTooLargeError, and what the two raise."""
        ...


class Diarizer(Protocol):
    """Tells the speakers of a recording apart, in a child of its own."""

    def diarize(
        self,
        pcm: Path,
        samples: int,
        *,
        minimum: int | None = None,
        maximum: int | None = None,
        references: Sequence[DecodedAudio] = (),
        cancelled: Callable[[], bool] = ...,
        progress: Callable[[float], None] = ...,
    ) -> Diarization:
        """Who speaks when; minimum, maximum: how many speakers there are, where that is known.

        references: voices to look for among them, one each.

        Raises DiarizationError, JobCancelledError, ShuttingDownError.
        """
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
    #: Seconds from start to ready, and those of one warm pass of the self-test in it.
    load_seconds: float
    warmup_seconds: float
    #: Device of the self-test's encoder output; the proof that the engine computes there.
    warmup_device: str
    #: The newest self-test that it passed, and when.
    selftest: SelfTestReport | None = None
    proven_at: datetime | None = None


class Engine(Protocol):
    """One engine child: one device, one model."""

    @property
    def info(self) -> EngineInfo: ...

    @property
    def busy(self) -> int:
        """Jobs that are in it now."""
        ...

    def transcribe(
        self,
        job_id: str,
        pcm: Path,
        samples: int,
        options: TranscriptionOptions,
        *,
        pcm_channels: int = 1,
        lane: str = "long",
        resumption: Resumption | None = None,
    ) -> Iterator[EngineEvent]:
        """Run one job, or the rest of it; yields its events, of a resumed job only the new ones.

        pcm_channels: that take turns in the file, each of which is transcribed on its own. lane 'short': its windows do not wait for batches of the 'long' lane; 'live': and lead.
        Raises EngineCrashedError (is_fault: it died by its own fault), EngineFailedError, JobCancelledError.
        """
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

    def discard(self, engine: Engine, error: TranscriberError | None = None, *, blocks: bool = True) -> None:
        """End this child; the next lend starts a fresh one."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ExcerptPart:
    """A stretch of an excerpt that is, or is not, what was looked for."""

    text: str
    is_match: bool


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Where a transcript has what was looked for."""

    parts: tuple[ExcerptPart, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class JobPage:
    """Some jobs, newest first, and the `before` that asks for the next page; None: there is no more.

    excerpts: by job id, where the text of a transcript was searched and has it.
    """

    jobs: tuple[Job, ...]
    next_before: int | None
    excerpts: Mapping[str, Excerpt] = field(default_factory=dict)


class JobStore(Protocol):
    """The truth of every job. Every write names the attempt it belongs to."""

    def add(self, job: Job) -> Job:
        """Store a new job; on return it is on disk, and has its number.

        An idempotency key that is taken gives back the job that has it, and stores nothing.
        """
        ...

    def get(self, job_id: str) -> Job:
        """The job. Raises JobNotFoundError."""
        ...

    def find_by_key(self, idempotency_key: str) -> Job | None:
        """The job that was submitted with this key."""
        ...

    def claim(self, job_id: str, now: datetime) -> Job | None:
        """queued → running with attempts + 1; None if it is not queued any more."""
        ...

    def finish(
        self,
        job_id: str,
        attempt: int,
        status: JobStatus,
        now: datetime,
        *,
        error: JobError | None = None,
        delivery: Delivery | None = None,
        text: str | None = None,
    ) -> bool:
        """running → a final status, if `attempt` is still the current one; else nothing and False.

        The delivery enters the outbox, and the transcript's text the index, in the same transaction or not at all.
        """
        ...

    def requeue(self, job_id: str, attempt: int) -> bool:
        """running → queued, if `attempt` is still the current one; else nothing and False."""
        ...

    def cancel_queued(self, job_id: str, now: datetime, *, delivery: Delivery | None = None) -> bool:
        """queued → cancelled; False if it is not queued any more."""
        ...

    def retry(self, job_id: str) -> Job | None:
        """failed → queued with its error, faults and kills wiped; nobody waits for it on a connection any more.

        None if it has not failed, or its upload is gone.
        """
        ...

    def note(
        self,
        job_id: str,
        attempt: int,
        *,
        duration: float | None = None,
        size_bytes: int | None = None,
        engine_faults: int | None = None,
        engine_kills: int | None = None,
    ) -> bool:
        """Keep what became known of a running job; False if `attempt` is not the current one."""
        ...

    def note_upload_removed(self, job_id: str, *, attempt: int | None = None) -> bool:
        """Give up the upload of a job that has ended, before its file goes: it can't be retried any more.

        False, and nothing, for a job that waits or runs (it may just have been retried), that had none left,
        or whose last attempt is not `attempt` (None: any).
        """
        ...

    def list_jobs(self, *, statuses: tuple[JobStatus, ...] = (), limit: int = 50) -> list[Job]:
        """Newest first; all statuses when none is given."""
        ...

    def page(
        self,
        *,
        statuses: tuple[JobStatus, ...] = (),
        before: int | None = None,
        limit: int = 50,
        search: str = "",
        owner: str | None = None,
    ) -> JobPage:
        """Jobs numbered below `before`, newest first; with `search` those whose transcript has all of its words,
        or whose name contains it; with `owner` its own alone."""
        ...

    def rename(self, job_id: str, title: str) -> Job:
        """Give the job another name. Raises JobNotFoundError."""
        ...

    def counts(self, *, owner: str | None = None) -> dict[JobStatus, int]:
        """How many jobs have each status; with `owner` of its own alone."""
        ...

    def purge(self, job_id: str, *, attempt: int | None = None) -> bool:
        """Delete a job that has ended, with its deliveries; False if there is no such job.

        `attempt` fences it as in note_upload_removed.
        """
        ...

    def ended_before(
        self,
        moment: datetime,
        limit: int = 100,
        *,
        status: JobStatus | None = None,
        has_upload: bool | None = None,
    ) -> list[Job]:
        """Jobs that ended earlier than this, oldest first: all of them, or those of this kind."""
        ...

    def ids(self, *, statuses: tuple[JobStatus, ...] = (), has_upload: bool | None = None) -> frozenset[str]:
        """The ids of all jobs, or of those of this kind: to find the owners of files."""
        ...

    def close(self) -> None: ...


class KeyStore(Protocol):
    """The table of keys. The job store's own database, which another process may change at any time."""

    def add(self, key: ApiKey) -> bool:
        """Keep a new key; False, and nothing, where an active key has its name."""
        ...

    def list_keys(self) -> list[ApiKey]:
        """All keys, revoked ones too, oldest first."""
        ...

    def revoke(self, name: str, now: datetime) -> ApiKey | None:
        """Revoke the key of this name; None where no active one has it."""
        ...

    def note_use(self, key_id: str, now: datetime) -> None:
        """Keep when the key was last used."""
        ...


class Outbox(Protocol):
    """Webhook messages that wait to be delivered; it survives restarts. The job store's own file."""

    def due(self, now: datetime, limit: int = 20) -> list[Delivery]:
        """Pending deliveries whose time has come, oldest first."""
        ...

    def next_due_at(self) -> datetime | None:
        """When the next pending delivery is due."""
        ...

    def record(self, delivery: Delivery) -> None:
        """Keep the outcome of one try."""
        ...

    def of_job(self, job_id: str) -> list[Delivery]:
        """A job's deliveries, oldest first, for show."""
        ...


class TranscriptStore(Protocol):
    """What people made of transcripts, and the index over their text. The job store's own file."""

    def find_edit(self, job_id: str) -> Edit:
        """The present revision; 0 for a transcript that was never edited."""
        ...

    def save_edit(self, job_id: str, edit: Edit, text: str) -> bool:
        """Keep `edit` if its revision follows the present one, and index its text, in one transaction.

        False, and nothing, if somebody else was first, or the job has not succeeded.
        """
        ...

    def unindexed(self, limit: int = 50) -> list[str]:
        """The ids of jobs that succeeded and whose text is not in the index: those of earlier versions."""
        ...

    def index(self, job_id: str, text: str) -> None:
        """Put the text of a job into the index, unless it is there; fine when the job is gone."""
        ...


class ResultStore(Protocol):
    """Finished transcriptions on disk, each written whole or not at all."""

    def save(self, transcription: Transcription) -> None: ...

    def find(self, job_id: str) -> Transcription | None: ...

    def remove(self, job_id: str) -> None:
        """Delete it; fine when it is not there."""
        ...


class Clock(Protocol):
    """Time, so that tests can hold it."""

    def now(self) -> datetime:
        """UTC, with a zone."""
        ...

    def monotonic(self) -> float: ...

    def age(self, moment: datetime) -> float:
        """Seconds since a moment that `now` gave, however the clock was set meanwhile; never negative."""
        ...

    def before(self, ago: timedelta) -> datetime:
        """Whatever was written down by `now` before this moment is older than that, however the clock was set."""
        ...
