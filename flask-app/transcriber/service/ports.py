"""What the web asks of the service. `Service` does it; the fakes of the tests do, too, and mypy holds both to this."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Protocol

from ..domain.feed import FeedEvent
from ..domain.jobs import Job, JobStatus, SubmissionTerms
from ..domain.options import TranscriptionRequest
from ..domain.ports import JobPage
from ..domain.transcript import DeviceFacts, Transcription
from ..jobs.files.resumable import ResumableUploads
from ..models.finder import LocalModel
from .job_queries import JobView
from .submission import Upload
from .transcript_editing import TranscriptEditing


class Outcome(Protocol):
    """The outcome of a job."""

    def result(self, timeout: float | None = None) -> Transcription:
        """Wait for it. Raises the job's error, or TimeoutError."""
        ...


class JobService(Protocol):
    """The use cases; safe to call from any thread."""

    #: Uploads that arrive in parts.
    resumable: ResumableUploads
    #: Finished transcripts, for those who edit, compare and search them.
    transcripts: TranscriptEditing

    # Taking jobs in

    def begin_upload(self, *, expected_bytes: int = 0, owner: str | None = None) -> Upload:
        """Reserve a place for one file. Raises QueueFullError, StorageFullError, ShuttingDownError."""
        ...

    def check_queue(self, owner: str | None) -> None:
        """Raises QueueFullError, ShuttingDownError when no job of this owner is taken now."""
        ...

    def check_room(self) -> None:
        """For an upload on its way: raises StorageFullError when the disk's reserve is reached."""
        ...

    def add_reference(self, upload: Upload, number: int, recording: bytes) -> None:
        """Put a recording of a known speaker beside an upload. Raises StorageFullError, StorageFailedError."""
        ...

    def abandon_upload(self, upload: Upload) -> None:
        """Remove a file whose request failed before it became a job."""
        ...

    def submit(
        self,
        upload: Upload,
        request: TranscriptionRequest,
        *,
        file_name: str,
        request_id: str,
        terms: SubmissionTerms = ...,
    ) -> Job:
        """Make a job of a received file; on return it is on disk.

        With an idempotency key that is known, the job that has it; the upload is removed then.
        Raises ModelNotFoundError, InvalidParameterError (a task or language the model can't do, a webhook
        that can't be delivered to), GpuRequiredError, QueueFullError, IdempotencyConflictError,
        StorageFullError, StorageFailedError, ShuttingDownError.
        """
        ...

    def find_submitted(self, idempotency_key: str, fingerprint: str | None) -> Job | None:
        """The job that was submitted with this key. Raises IdempotencyConflictError."""
        ...

    def retry(self, job_id: str) -> Job:
        """failed → queued. Raises JobNotFoundError, JobNotFailedError, UploadGoneError, QueueFullError."""
        ...

    def retry_with(self, job_id: str, request: TranscriptionRequest, *, request_id: str) -> Job:
        """A new job over the upload of one that has ended.

        Raises JobNotFoundError, JobNotFinishedError, UploadGoneError, and what submit raises.
        """
        ...

    # Looking at jobs

    def find_media(self, job_id: str) -> Path | None:
        """The job's upload while it is kept. Raises JobNotFoundError."""
        ...

    def outcome(self, job_id: str) -> Outcome:
        """The job's outcome: its transcription, or its error, once it has ended. Raises JobNotFoundError."""
        ...

    def get(self, job_id: str) -> Job:
        """The job. Raises JobNotFoundError."""
        ...

    def find(self, job_id: str) -> Job | None:
        """The job, if there still is one."""
        ...

    def view(self, job_id: str) -> JobView:
        """The job with its progress or place and its segments so far. Raises JobNotFoundError."""
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
        """Jobs numbered below `before`, newest first; with `search` those that have it in their name or text."""
        ...

    def rename(self, job_id: str, title: str) -> Job:
        """Give the job another name; empty: its file's again. Raises JobNotFoundError."""
        ...

    def counts(self, *, owner: str | None = None) -> dict[JobStatus, int]:
        """How many jobs have each status; with `owner` of its own alone."""
        ...

    def follow(self, job_id: str, *, after: int = 0) -> Iterator[FeedEvent | None]:
        """The job's events numbered above `after`, and its progress; None when there is nothing new for 10 s.

        Ends after the last event; without one when the service stops. Raises JobNotFoundError at once.
        """
        ...

    def transcription(self, job_id: str) -> Transcription:
        """The engine's own answer, never edited. Raises JobNotFoundError, JobNotFinishedError, or the job's error."""
        ...

    def devices(self, job_ids: Collection[str]) -> dict[str, DeviceFacts]:
        """Where finished jobs ran, of those that have an answer."""
        ...

    def models(self) -> tuple[LocalModel, ...]:
        """Models on this machine."""
        ...

    # Ending jobs

    def cancel(self, job_id: str) -> Job:
        """Give a job up, waiting or running. Raises JobNotFoundError, JobFinishedError."""
        ...

    def give_up(self, job_id: str) -> None:
        """Cancel a job whose client has gone, unless it has ended."""
        ...

    def purge(self, job_id: str) -> None:
        """Delete a job that has ended, with all its files. Raises JobNotFoundError, JobNotFinishedError."""
        ...
