"""The use cases: submit, run, wait, cancel, get, follow. Everything that enters the service passes here."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from pathlib import Path

import structlog

from ..domain.errors import (
    JobFinishedError,
    JobNotFinishedError,
    JobNotFoundError,
    ShuttingDownError,
    TranscriberError,
)
from ..domain.feed import FeedEvent
from ..domain.jobs import Delivery, Job, JobStatus, SubmissionTerms
from ..domain.options import TranscriptionRequest
from ..domain.ports import Clock, JobPage
from ..domain.transcript import DeviceFacts, Receipt, Transcription
from ..jobs.active_job import StopReason
from ..jobs.estimates import Estimates
from ..jobs.events import EventFeeds
from ..jobs.files.resumable import ResumableUploads
from ..jobs.limits import JobLimits
from ..jobs.retention import purge_job
from ..jobs.speeds import Speeds
from ..models.finder import LocalModel
from .completion import JobCompletion, JobEnded, JobWaiters, Outcome, Storage, Webhooks
from .execution import JobExecution
from .job_queries import JobQueries, JobView
from .submission import Checks, Submission, Upload, refuse_unfit
from .transcript_editing import TranscriptEditing
from .transcription import Transcriber

__all__ = ["Checks", "JobView", "JobLimits", "Service", "Storage", "Upload", "Webhooks", "refuse_unfit"]

logger = structlog.get_logger(__name__)

#: How often running jobs are looked at for their time limit, in seconds.
TICK_SECONDS = 1.0

#: Tries to cancel a job that changes its status all the time.
_CANCEL_TRIES = 5


class Service:
    """The use cases over the ports; safe to call from any thread."""

    def __init__(
        self,
        *,
        storage: Storage,
        checks: Checks,
        transcriber: Transcriber,
        webhooks: Webhooks,
        speeds: Speeds,
        limits: JobLimits,
        clock: Clock,
    ) -> None:
        self._storage = storage
        self._checks = checks
        self._feeds = EventFeeds(heartbeat=limits.heartbeat_seconds, pace=limits.pace_seconds)
        self._waiters = JobWaiters()
        self._completion = JobCompletion(storage, self._feeds, self._waiters, webhooks, clock)
        self._execution = JobExecution(
            storage=storage,
            transcriber=transcriber,
            feeds=self._feeds,
            completion=self._completion,
            speeds=speeds,
            limits=limits,
            clock=clock,
        )
        self._runner = self._execution.runner
        estimates = Estimates(
            runner=self._runner,
            at_work=self._execution.at_work,
            device_of=lambda request: transcriber.decide(request).device,
            engines=transcriber.engines,
            speeds=speeds,
            limits=limits,
        )
        self._submission = Submission(
            storage=storage, checks=checks, runner=self._runner, estimates=estimates, clock=clock
        )
        #: Uploads that arrive in parts.
        self.resumable = ResumableUploads(
            spool=storage.spool,
            native=storage.native,
            keep=storage.retention.keep_unfinished,
            begin=lambda size_bytes, owner: self._submission.begin_upload(size_bytes, owner).job_id,
            is_job=self._submission.is_job,
            clock=clock,
        )
        self._queries = JobQueries(storage, self._feeds, self._execution, estimates)
        #: Finished transcripts, for those who edit, compare and search them.
        self.transcripts = TranscriptEditing(storage, self._queries.transcription, clock)
        self._stopped = threading.Event()

    def observe_jobs(self, on_job_ended: JobEnded) -> None:
        """Tell this observer of every job that ends, once its end is on disk. It may not raise, and returns at once."""
        self._completion.on_job_ended = on_job_ended

    def start(self) -> None:
        """Take up what an earlier process left, then take work."""
        left = self._storage.jobs.list_jobs(statuses=(JobStatus.QUEUED, JobStatus.RUNNING), limit=1_000_000)
        for job in sorted(left, key=lambda job: job.number):
            self._take_up(job)
        self.resumable.settle_all()
        self._storage.retention.sweep_orphans()
        self._runner.start()
        threading.Thread(target=self._tick, name="service-tick", daemon=True).start()
        threading.Thread(target=self._index_old, name="index-old", daemon=True).start()

    # Taking jobs in

    def begin_upload(self, *, expected_bytes: int = 0, owner: str | None = None) -> Upload:
        """Reserve a place for one file. Raises QueueFullError, StorageFullError, ShuttingDownError."""
        return self._submission.begin_upload(expected_bytes, owner)

    def check_queue(self, owner: str | None) -> None:
        """Raises QueueFullError, ShuttingDownError when no job of this owner is taken now."""
        self._runner.check_room(owner)

    def check_room(self) -> None:
        """For an upload on its way: raises StorageFullError when the disk's reserve is reached."""
        self._submission.check_room()

    def abandon_upload(self, upload: Upload) -> None:
        """Remove a file whose request failed before it became a job."""
        self._submission.abandon_upload(upload)

    def submit(
        self,
        upload: Upload,
        request: TranscriptionRequest,
        *,
        file_name: str,
        request_id: str,
        terms: SubmissionTerms | None = None,
    ) -> Job:
        """Make a job of a received file; on return it is on disk.

        With an idempotency key that is known, the job that has it; the upload is removed then.
        Raises ModelNotFoundError, InvalidParameterError (a task or language the model can't do, a webhook
        that can't be delivered to), GpuRequiredError, QueueFullError, IdempotencyConflictError,
        StorageFullError, StorageFailedError, ShuttingDownError.
        """
        return self._submission.submit(
            upload, request, file_name=file_name, request_id=request_id, terms=terms or SubmissionTerms()
        )

    def find_submitted(self, idempotency_key: str, fingerprint: str | None) -> Job | None:
        """The job that was submitted with this key. Raises IdempotencyConflictError."""
        return self._submission.find_submitted(idempotency_key, fingerprint)

    def check(self, request: TranscriptionRequest) -> TranscriptionRequest:
        """Refuse what can be refused before any work (see submit); the request with the model's own name."""
        return self._submission.check(request)

    def retry(self, job_id: str) -> Job:
        """failed → queued. Raises JobNotFoundError, JobNotFailedError, UploadGoneError, QueueFullError."""
        return self._submission.retry(job_id)

    def retry_with(self, job_id: str, request: TranscriptionRequest, *, request_id: str) -> Job:
        """A new job over the upload of one that has ended.

        Raises JobNotFoundError, JobNotFinishedError, UploadGoneError, and what submit raises.
        """
        return self._submission.retry_with(job_id, request, request_id)

    def find_media(self, job_id: str) -> Path | None:
        """The job's upload while it is kept. Raises JobNotFoundError."""
        path = self._storage.spool.upload_path(job_id)
        return path if self.get(job_id).has_upload and path.is_file() else None

    # Looking at jobs

    def outcome(self, job_id: str) -> Outcome:
        """What becomes of the job: its transcription, or its error, once it has ended. Raises JobNotFoundError."""
        self.get(job_id)
        outcome = self._waiters.expect(job_id)
        if self._stopped.is_set():
            self._waiters.tell(job_id, ShuttingDownError())
        elif self.get(job_id).status.is_final:
            # It had ended before anybody waited, or its end is just being told.
            self._waiters.tell(job_id, self._stored_outcome(job_id))
        return outcome

    def get(self, job_id: str) -> Job:
        """The job. Raises JobNotFoundError."""
        return self._storage.jobs.get(job_id)

    def find(self, job_id: str) -> Job | None:
        """The job, if there still is one."""
        try:
            return self.get(job_id)
        except JobNotFoundError:
            return None

    def view(self, job_id: str) -> JobView:
        """The job with its progress or place and its segments so far. Raises JobNotFoundError."""
        return self._queries.view(job_id)

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
        return self._storage.jobs.page(
            statuses=statuses, before=before, limit=limit, search=search, owner=owner
        )

    def rename(self, job_id: str, title: str) -> Job:
        """Give the job another name; empty: its file's again. Raises JobNotFoundError."""
        return self._storage.jobs.rename(job_id, title)

    def counts(self, *, owner: str | None = None) -> dict[JobStatus, int]:
        """How many jobs have each status; with `owner` of its own alone."""
        return self._storage.jobs.counts(owner=owner)

    def follow(self, job_id: str, *, after: int = 0) -> Iterator[FeedEvent | None]:
        """The job's events numbered above `after`, and its progress; None when there is nothing new for 10 s.

        Ends after the last event; without one when the service stops. Raises JobNotFoundError.
        """
        return self._queries.follow(job_id, after)

    def transcription(self, job_id: str) -> Transcription:
        """The engine's own answer, never edited. Raises JobNotFoundError, JobNotFinishedError, or the job's error."""
        return self._queries.transcription(job_id)

    def devices(self, job_ids: Collection[str]) -> dict[str, DeviceFacts]:
        """Where finished jobs ran, of those that have an answer."""
        return self._queries.devices(job_ids)

    def deliveries(self, job_id: str) -> tuple[Delivery, ...]:
        """The job's webhook deliveries, oldest first."""
        return tuple(self._storage.outbox.of_job(job_id))

    # Ending jobs

    def cancel(self, job_id: str) -> Job:
        """Give a job up, waiting or running. Raises JobNotFoundError, JobFinishedError."""
        for _ in range(_CANCEL_TRIES):
            job = self.get(job_id)
            if job.status.is_final:
                raise JobFinishedError(f"Job {job_id} is {job.status.value} already.")
            if self._cancel_as(job):
                logger.info("job_cancelled", job_id=job_id, was=job.status.value)
                return self.get(job_id)
        raise JobFinishedError(f"Job {job_id} changes too quickly to be cancelled.")

    def give_up(self, job_id: str) -> None:
        """Cancel a job that nobody waits for any more, unless it has ended."""
        try:
            self.cancel(job_id)
        except (JobNotFoundError, JobFinishedError):
            return
        logger.info("job_given_up", job_id=job_id)

    def purge(self, job_id: str) -> None:
        """Delete a job that has ended, with all its files. Raises JobNotFoundError, JobNotFinishedError."""
        job = self.get(job_id)
        is_purged = job.status.is_final and purge_job(
            job,
            store=self._storage.jobs,
            spool=self._storage.spool,
            results=self._storage.results,
            output=self._storage.output,
            native=self._storage.native,
        )
        if not is_purged:
            raise JobNotFinishedError(
                f"Job {job_id} is {self.get(job_id).status.value}.",
                fix="Cancel it first: DELETE /jobs/{job_id}",
            )

    def models(self) -> tuple[LocalModel, ...]:
        """Models on this machine."""
        return self._checks.models.present()

    @property
    def last_receipt(self) -> tuple[str, Receipt] | None:
        """The last job that ended well in this process, and its evidence."""
        return self._completion.last_receipt

    @property
    def queue_size(self) -> int:
        """Jobs that wait."""
        return self._runner.waiting

    @property
    def at_work(self) -> int:
        """Jobs that are worked on."""
        return len(self._execution.at_work())

    @property
    def awaited(self) -> int:
        """Jobs at work whose clients wait for them on a connection."""
        return sum(progress.job.is_awaited for progress in self._execution.at_work())

    # Stopping

    def stop(self) -> None:
        """Take and begin nothing more, and let all followers go. What runs goes on until hand_back."""
        self._runner.stop()
        self._feeds.close()
        self._completion.stop()
        for waiting in self._runner.line():
            self._interrupt_if_awaited(waiting.job_id)

    def hand_back(self) -> None:
        """Put all jobs at work back into the queue for the next start, and tell those who wait for one."""
        self.stop()
        self._stopped.set()
        self._execution.hand_back_all()
        self._waiters.tell_all(ShuttingDownError())

    def close(self, timeout: float) -> None:
        """Hand back, and give the threads up to `timeout` seconds to let go of their jobs."""
        self.hand_back()
        self._runner.join(timeout)

    def _take_up(self, job: Job) -> None:
        """A job of an earlier process: it goes on where its journal ends, unless its client was lost with it."""
        if job.is_awaited:
            self._completion.interrupt(job)
            return
        if job.status is JobStatus.RUNNING:
            self._storage.jobs.requeue(job.id, job.attempts)
            logger.info("job_recovered", job_id=job.id, attempts=job.attempts)
        self._submission.queue(job)

    def _cancel_as(self, job: Job) -> bool:
        """Cancel a job that has this status; False if it has changed meanwhile."""
        if job.status is JobStatus.QUEUED:
            is_cancelled = self._completion.cancel_queued(job)
            if is_cancelled:
                self._runner.withdraw(job.id)
                self._execution.stop_work(job.id, StopReason.CANCELLED)
            return is_cancelled
        if not self._completion.cancel_running(job):
            return False
        if not self._execution.stop_work(job.id, StopReason.CANCELLED):
            self._completion.drop_files(job.id)
        return True

    def _stored_outcome(self, job_id: str) -> Transcription | TranscriberError:
        try:
            return self.transcription(job_id)
        except TranscriberError as error:
            return error

    def _interrupt_if_awaited(self, job_id: str) -> None:
        try:
            job = self.get(job_id)
            if job.is_awaited and job.status is JobStatus.QUEUED:
                self._completion.interrupt(job)
        except TranscriberError as error:
            logger.info("job_left_for_next_start", job_id=job_id, error=error.message)

    def _index_old(self) -> None:
        """Thread: transcripts of earlier versions enter the index."""
        try:
            self.transcripts.index_old(self._stopped.is_set)
        except TranscriberError as error:  # the disk may be back at the next start
            logger.warning("transcripts_not_indexed", code=error.code, error=error.message)

    def _tick(self) -> None:
        """Thread: stop jobs that take too long."""
        while not self._stopped.wait(TICK_SECONDS):
            self._execution.end_overdue()
