"""What the service asks of a node of a fleet, and the node of the service."""

from __future__ import annotations

from typing import Protocol

from ..domain.jobs import Job, JobProgress
from ..domain.transcript import Transcription
from ..jobs.active_job import CancellationToken, Progress, StopReason
from ..jobs.files.journal import Journal, JournalState
from ..jobs.queue import WorkQueue


class Node(WorkQueue, Protocol):
    """The queue of all nodes, and what is done of a job wherever it runs."""

    def open_journal(self, job: Job, cancellation: CancellationToken) -> Journal:
        """The job's files, and the journal that others can go on from. Raises UploadGoneError, JobCancelledError."""
        ...

    def keep_result(self, job: Job, transcription: Transcription) -> None:
        """Put the result of this attempt on disk. Blocks. Raises StorageFullError, StorageFailedError."""
        ...

    def progress(self, job_id: str) -> JobProgress | None:
        """How far a job is that runs anywhere."""
        ...

    def journaled(self, job_id: str) -> JournalState:
        """What is done of a job."""
        ...


class WorkPlace(Protocol):
    """Where jobs are worked on in this process."""

    def work_on(self, job: Job) -> None:
        """Work on a job that was claimed, until it has ended or is handed back."""
        ...

    def progress_of(self, job_id: str) -> Progress | None:
        """How far a job is that is worked on here."""
        ...

    def stop_work(self, job_id: str, reason: StopReason) -> bool:
        """Stop the work on this job; False if it is not worked on here."""
        ...
