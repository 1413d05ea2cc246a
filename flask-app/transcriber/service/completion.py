"""How a job ends: result on disk, then row and webhook message in one transaction, then those who wait for it are answered."""

from __future__ import annotations

import concurrent.futures
import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import structlog

from ..domain.answer import fallback_to_dict, rounded
from ..domain.errors import (
    InterruptedJobError,
    JobCancelledError,
    JobNotFoundError,
    ShuttingDownError,
    StorageFailedError,
    StorageFullError,
    TranscriberError,
)
from ..domain.errors.stored import kept
from ..domain.jobs import Delivery, Job, JobError, JobStatus
from ..domain.ports import Clock, JobStore, Outbox, TranscriptStore
from ..domain.transcript import Receipt, Transcription
from ..jobs.events import EventFeeds
from ..jobs.files.output import OutputFolder
from ..jobs.files.results import FileResultStore
from ..jobs.files.spool import Spool
from ..jobs.retention import Retention
from ..system.backoff import Backoff
from .node import Node

Outcome = concurrent.futures.Future[Transcription]


class JobWaiters:
    """One future for each job that somebody waits for; dropped once it is set."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waited_for: dict[str, Outcome] = {}

    def expect(self, job_id: str) -> Outcome:
        """The job's future result. Check the store after this call: the job may have ended before."""
        with self._lock:
            return self._waited_for.setdefault(job_id, concurrent.futures.Future())

    def expected(self) -> frozenset[str]:
        """The jobs that somebody waits for."""
        with self._lock:
            return frozenset(self._waited_for)

    def forget(self, job_id: str) -> None:
        """No result will come for this one."""
        with self._lock:
            self._waited_for.pop(job_id, None)

    def tell(self, job_id: str, outcome: Transcription | TranscriberError) -> None:
        """Set the job's result."""
        with self._lock:
            future = self._waited_for.pop(job_id, None)
        if future is None:
            return
        if isinstance(outcome, TranscriberError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    def tell_all(self, error: TranscriberError) -> None:
        """No job will end in this process any more."""
        with self._lock:
            job_ids = list(self._waited_for)
        for job_id in job_ids:
            self.tell(job_id, error)


logger = structlog.get_logger(__name__)

Answer = TypeVar("Answer")

#: Between two tries to write to a store that fails.
RETRIES = Backoff(0.2, 10.0)

#: What a disk that is full or broken raises.
STORAGE_ERRORS = (StorageFullError, StorageFailedError)

#: Makes the webhook message for a job that has ended; None if none was asked for.
MakeDelivery = Callable[[Job, Transcription | None, datetime], Delivery | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Storage:
    """Where jobs, uploads, results, finished files and webhook messages live. `native` runs what blocks on disks."""

    jobs: JobStore
    outbox: Outbox
    transcripts: TranscriptStore
    results: FileResultStore
    spool: Spool
    output: OutputFolder | None
    retention: Retention
    native: concurrent.futures.Executor
    #: Threads for what computes and waits for nothing: four long edits must not hold up an upload.
    computing: concurrent.futures.Executor
    #: Of a fleet; None: this process is all there is.
    node: Node | None = None

    def compute(self, work: Callable[..., Answer], *arguments: object) -> Answer:
        """The same on a thread that computes."""
        return self.computing.submit(work, *arguments).result()

    def run(self, work: Callable[..., Answer], *arguments: object) -> Answer:
        """Do this in a thread of the operating system, and wait for it."""
        return self.native.submit(work, *arguments).result()


@dataclass(frozen=True, kw_only=True, slots=True)
class Webhooks:
    """The service's side of webhooks: messages are made with the job's end, and the dispatcher is woken to send them."""

    make_delivery: MakeDelivery
    wake: Callable[[], None]


#: Called for every job that ended: with its transcription if it succeeded, else with the error.
JobEnded = Callable[[Job, Transcription | None, TranscriberError | None], None]


class JobCompletion:
    """Ends jobs, each exactly once. Safe to use from any thread."""

    def __init__(
        self, storage: Storage, feeds: EventFeeds, outcomes: JobWaiters, webhooks: Webhooks, clock: Clock
    ) -> None:
        self._storage = storage
        self._feeds = feeds
        self._waiters = outcomes
        self._webhooks = webhooks
        self._clock = clock
        self._closing = threading.Event()
        self.last_receipt: tuple[str, Receipt] | None = None
        self.on_job_ended: JobEnded = lambda job, transcription, error: None

    def stop(self) -> None:
        """Wait for no broken store any more."""
        self._closing.set()

    def persist(self, write: Callable[[], Answer]) -> Answer:
        """Write to the store until it takes it. Raises ShuttingDownError when the service stops before that."""
        for failures in itertools.count(1):
            try:
                return write()
            except STORAGE_ERRORS as error:
                logger.warning("store_write_failed", code=error.code, error=error.message)
            if self._closing.wait(RETRIES.after(failures)):
                break
        raise ShuttingDownError()

    def keep(self, job: Job, transcription: Transcription) -> None:
        """Put the result on disk, before anything says that it is there."""
        if self._storage.node is not None:
            self._storage.run(self._storage.node.keep_result, job, transcription)
        else:
            self._storage.run(self._storage.results.save, transcription)
        if self._storage.output is not None:
            self._storage.run(self._storage.output.write, transcription, job.file_name)

    def succeed(self, job: Job, transcription: Transcription) -> bool:
        """running → succeeded, once the result is kept; False if it was ended otherwise meanwhile."""
        ended = self._ended(job, JobStatus.SUCCEEDED, None)
        delivery = self._webhooks.make_delivery(ended, transcription, self._clock.now())
        if not self._finish(ended, delivery, transcription.text):
            return False
        self.last_receipt = (job.id, transcription.receipt)
        self._waiters.tell(job.id, transcription)
        self.on_job_ended(ended, transcription, None)
        self._feeds.end(job.id, "done", done_data(ended, transcription))
        self._webhooks.wake()
        self._drop_work(job.id)
        return True

    def fail(self, job: Job, error: TranscriberError) -> bool:
        """running → failed; the upload stays for another try."""
        return self._end_running(job, JobStatus.FAILED, error)

    def interrupt(self, job: Job) -> bool:
        """queued or running → cancelled, because its client can't be answered any more."""
        self._waiters.tell(job.id, ShuttingDownError())
        if job.status is JobStatus.QUEUED:
            claimed = self.persist(lambda: self._storage.jobs.claim(job.id, self._clock.now()))
            if claimed is None:
                return False
            job = claimed
        return self._end_running(job, JobStatus.CANCELLED, InterruptedJobError())

    def cancel_running(self, job: Job) -> bool:
        """running → cancelled, now; its files go when its work has stopped.

        Raises StorageFullError, StorageFailedError.
        """
        error = JobCancelledError()
        ended = self._ended(job, JobStatus.CANCELLED, error)
        if not self._write_end(ended, self._webhooks.make_delivery(ended, None, self._clock.now())):
            return False
        self._tell_failure(ended, error)
        self._storage.jobs.note_upload_removed(job.id)
        return True

    def cancel_queued(self, job: Job) -> bool:
        """queued → cancelled, with its files. Raises StorageFullError, StorageFailedError."""
        error = JobCancelledError()
        ended = self._ended(job, JobStatus.CANCELLED, error)
        now = self._clock.now()
        delivery = self._webhooks.make_delivery(ended, None, now)
        if not self._storage.jobs.cancel_queued(job.id, now, delivery=delivery):
            return False
        self._tell_failure(ended, error)
        self.drop_files(job.id)
        return True

    def drop_files(self, job_id: str) -> None:
        """Remove the upload and all work of a job that was given up. What can't be removed goes at the next start."""
        try:
            self._storage.jobs.note_upload_removed(job_id)
            self._storage.run(self._storage.spool.remove, job_id)
            self._storage.run(self._storage.results.remove, job_id)
        except STORAGE_ERRORS as error:
            logger.warning("files_not_removed", job_id=job_id, error=error.message)
        cancelled = kept(JobCancelledError())
        # For a feed that was opened while the job was being cancelled.
        self._feeds.end(job_id, "error", failure_data(job_id, JobStatus.CANCELLED, cancelled))

    def _end_running(self, job: Job, status: JobStatus, error: TranscriberError) -> bool:
        ended = self._ended(job, status, error)
        delivery = self._webhooks.make_delivery(ended, None, self._clock.now())
        if job.is_awaited:
            # The client is answered at once even if the store can't be written: it may send the file again.
            self._waiters.tell(job.id, error)
        if not self._finish(ended, delivery):
            return False
        self._tell_failure(ended, error)
        if status is JobStatus.CANCELLED:
            self.drop_files(job.id)
        else:
            self._drop_work(job.id)
        return True

    def _finish(self, ended: Job, delivery: Delivery | None, text: str | None = None) -> bool:
        """Write the end, however long the store takes; True also if an earlier try got through unnoticed."""
        if self.persist(lambda: self._write_end(ended, delivery, text)):
            return True
        try:
            stored = self.persist(lambda: self._storage.jobs.get(ended.id))
        except JobNotFoundError:
            return False
        return stored.status is ended.status and stored.attempts == ended.attempts

    def _write_end(self, ended: Job, delivery: Delivery | None, text: str | None = None) -> bool:
        now = ended.completed_at or self._clock.now()
        return self._storage.jobs.finish(
            ended.id, ended.attempts, ended.status, now, error=ended.error, delivery=delivery, text=text
        )

    def _ended(self, job: Job, status: JobStatus, error: TranscriberError | None) -> Job:
        stored = None if error is None else kept(error)
        return job.evolve(status=status, completed_at=self._clock.now(), error=stored)

    def _tell_failure(self, ended: Job, error: TranscriberError) -> None:
        self._waiters.tell(ended.id, error)
        self.on_job_ended(ended, None, error)
        self._feeds.end(ended.id, "error", failure_data(ended.id, ended.status, ended.error))
        self._webhooks.wake()

    def _drop_work(self, job_id: str) -> None:
        try:
            self._storage.run(self._storage.spool.drop_work, job_id)
        except STORAGE_ERRORS as error:
            logger.warning("files_not_removed", job_id=job_id, error=error.message)


def done_data(job: Job, transcription: Transcription) -> dict[str, Any]:
    """The last event of a job that succeeded: the facts, without the text."""
    return {
        "job_id": job.id,
        "status": job.status.value,
        "segments": len(transcription.segments),
        "language": transcription.language,
        "duration": rounded(transcription.duration, 3),
        "gpu_used": transcription.gpu_used,
        "device": transcription.device,
        "compute_type": transcription.compute_type,
        "fallback_reason": fallback_to_dict(transcription.fallback_reason),
        "rtfx": rounded(transcription.rtfx, 3),
    }


def failure_data(job_id: str, status: JobStatus, error: JobError | None) -> dict[str, Any]:
    """The last event of a job that failed or was cancelled."""
    shown = error or kept(JobCancelledError())
    return {
        "job_id": job_id,
        "status": status.value,
        "error": {"code": shown.code, "message": shown.message, "param": shown.param, "fix": shown.fix},
    }


def internal_error(job: Job) -> TranscriberError:
    """The end of a job by a fault that nobody foresaw."""
    return TranscriberError(
        "Something failed that the service did not foresee.",
        fix=f"Look for job {job.id} in the service's log, and report it with that part of the log.",
    )
