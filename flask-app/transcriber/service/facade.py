"""The use cases: submit, run, wait, cancel, get, follow. Everything that enters the service passes here."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog

from ..domain.errors import (
    JobFinishedError,
    JobNotFinishedError,
    JobNotFoundError,
    ShuttingDownError,
    TranscriberError,
)
from ..domain.jobs import Job, JobStatus
from ..domain.ports import Clock
from ..domain.transcript import Receipt, Segment, Transcription
from ..jobs.active_job import StopReason
from ..jobs.estimates import Estimates
from ..jobs.events import EventFeeds
from ..jobs.files.resumable import ResumableUploads
from ..jobs.limits import JobLimits
from ..jobs.retention import purge_job
from ..jobs.speeds import Speeds
from .completion import JobCompletion, JobEnded, JobWaiters, Outcome, Storage, Webhooks
from .execution import JobExecution
from .job_queries import JobQueries, JobView
from .node import WorkPlace
from .submission import Checks, Submission, Upload, refuse_unfit
from .transcript_editing import TranscriptEditing
from .transcription import Transcriber
from .url_import import UrlImports

__all__ = ["Checks", "JobView", "JobLimits", "Service", "Storage", "Upload", "Webhooks", "refuse_unfit"]

logger = structlog.get_logger(__name__)

#: How often running jobs are looked at for their time limit, in seconds.
TICK_SECONDS = 1.0

#: Tries to cancel a job that changes its status all the time.
_CANCEL_TRIES = 5


class Service:
    """The use cases over the ports, put together. Implements JobService; safe to call from any thread."""

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
        self._node = storage.node
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
        self._imports = UrlImports(
            storage=storage,
            fetcher=checks.fetcher,
            completion=self._completion,
            feeds=self._feeds,
            clock=clock,
            limits=limits,
            hand_on=lambda job: self._submission.queue(job),
        )
        self._submission = Submission(
            storage=storage,
            checks=checks,
            runner=self._runner,
            estimates=estimates,
            imports=self._imports,
            clock=clock,
        )
        #: Uploads that arrive in parts.
        self.resumable = ResumableUploads(
            spool=storage.spool,
            native=storage.native,
            keep=storage.retention.keep_unfinished,
            begin=lambda size_bytes, owner: (
                self._submission.begin_upload(expected_bytes=size_bytes, owner=owner).job_id
            ),
            is_job=self._submission.is_job,
            clock=clock,
        )
        self._queries = JobQueries(storage, self._feeds, self._execution, self._imports, estimates)
        #: Finished transcripts, for those who edit, compare and search them.
        self.transcripts = TranscriptEditing(storage, self._queries.transcription, clock)
        # What the parts do is offered as it is; their contract is JobService's.
        self.begin_upload = self._submission.begin_upload
        self.check_queue = self._runner.check_room
        self.check_room = self._submission.check_room
        self.add_reference = self._submission.add_reference
        self.abandon_upload = self._submission.abandon_upload
        self.submit = self._submission.submit
        self.hold, self.queue = self._submission.hold, self._submission.queue
        self.find_submitted = self._submission.find_submitted
        self.check = self._submission.check
        self.retry = self._submission.retry
        self.retry_with = self._submission.retry_with
        self.get, self.page = storage.jobs.get, storage.jobs.page
        self.rename, self.counts = storage.jobs.rename, storage.jobs.counts
        self.view = self._queries.view
        self.follow = self._queries.follow
        self.transcription = self._queries.transcription
        self.devices = self._queries.devices
        self.models = checks.models.present
        self._stopped = threading.Event()

    def observe_jobs(self, on_job_ended: JobEnded) -> None:
        """Call this observer for every job that ends, once its end is on disk. It may not raise, and returns at once."""
        self._completion.on_job_ended = on_job_ended

    def start(self) -> None:
        """Take up what an earlier process left, then take work."""
        if self._node is None:
            self._take_up_all()
        self._runner.start()
        self._imports.start()
        threading.Thread(target=self._tick, name="service-tick", daemon=True).start()
        threading.Thread(target=self._index_old, name="index-old", daemon=True).start()

    def _take_up_all(self) -> None:
        left = self._storage.jobs.list_jobs(statuses=(JobStatus.QUEUED, JobStatus.RUNNING), limit=1_000_000)
        for job in sorted(left, key=lambda job: job.number):
            self._take_up(job)
        self.resumable.settle_all()
        self._storage.retention.sweep_orphans()

    # What other nodes do

    @property
    def work_place(self) -> WorkPlace:
        """Where jobs are worked on that were claimed for this process."""
        return self._execution

    def watched(self) -> frozenset[str]:
        """The jobs that somebody follows or waits for here."""
        return self._feeds.ids() | self._waiters.expected()

    def waited_for(self) -> frozenset[str]:
        """The jobs that a client waits for here."""
        return self._waiters.expected()

    def tell_progress(
        self, job_id: str, segments: Sequence[Segment], progress: dict[str, Any] | None
    ) -> None:
        """Send followers the progress of a job that runs at another node."""
        feed = self._feeds.find(job_id)
        if feed is not None:
            feed.restore(segments)
            if progress is not None:
                feed.set_progress(progress)

    def tell_end(self, job: Job) -> None:
        """Notify followers and waiters that a job has ended at another node."""
        outcome = self._stored_outcome(job.id)
        if isinstance(outcome, Transcription):
            self.tell_progress(job.id, outcome.segments, None)
        self._waiters.tell(job.id, outcome)
        self._feeds.end(job.id, *self._queries.last(job))

    # Taking jobs in

    def find_media(self, job_id: str) -> Path | None:
        """The job's upload while it is kept. Raises JobNotFoundError."""
        path = self._storage.spool.upload_path(job_id)
        return path if self.get(job_id).has_upload and path.is_file() else None

    # Looking at jobs

    def outcome(self, job_id: str) -> Outcome:
        """The job's outcome: its transcription, or its error, once it has ended. Raises JobNotFoundError."""
        self.get(job_id)
        outcome = self._waiters.expect(job_id)
        if self._stopped.is_set():
            self._waiters.tell(job_id, ShuttingDownError())
        elif self.get(job_id).status.is_final:
            # It had ended before anybody waited, or its end is being announced right now.
            self._waiters.tell(job_id, self._stored_outcome(job_id))
        return outcome

    def find(self, job_id: str) -> Job | None:
        """The job, if there still is one."""
        try:
            return self.get(job_id)
        except JobNotFoundError:
            return None

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
        """Cancel a job whose client has gone, unless it has ended."""
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
                fix=f"Cancel it first: DELETE /jobs/{job_id}",
            )

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
        self._imports.stop()
        self._feeds.close()
        self._completion.stop()
        for waiting in self._runner.line() if self._node is None else ():
            self._interrupt_if_awaited(waiting.job_id)

    def hand_back(self) -> None:
        """Put all jobs at work back into the queue for the next start, and answer those who wait for one."""
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
