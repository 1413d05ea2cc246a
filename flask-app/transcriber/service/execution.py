"""Working on jobs: from the claim to the end, and what happens when disk, engine or service fail in between."""

from __future__ import annotations

import threading
from pathlib import Path

import structlog

from ..domain.errors import (
    AudioRoomError,
    CapacityError,
    DecoderCrashedError,
    JobCancelledError,
    JobGivenUpError,
    JobNotFoundError,
    JobTimeoutError,
    MediaError,
    ShuttingDownError,
    TranscriberError,
    UploadGoneError,
)
from ..domain.jobs import Job, JobStatus
from ..domain.ports import Clock, DecodedAudio
from ..domain.transcript import Transcription
from ..jobs.active_job import ActiveJob, ActiveJobs, CancellationToken, Progress, StopReason
from ..jobs.events import EventFeeds
from ..jobs.files.journal import Journal
from ..jobs.limits import JobLimits
from ..jobs.queue import JobQueue, WaitingJob, WorkQueue
from ..jobs.speeds import Speeds
from ..system.durable_files import storage_errors
from .completion import STORAGE_ERRORS, JobCompletion, Storage, internal_error
from .failure_policy import RetryPolicy
from .transcription import Transcriber, TranscriptionWork

logger = structlog.get_logger(__name__)

#: Attempts in a row that came to nothing, after which a job is given up: it may be what ends the service.
MAX_FRUITLESS = 20

#: Tries at a file whose decoded audio does not fit on the disk, while no other job's end would make room.
MAX_ROOM_TRIES = 4

#: Seconds after which the check whether a file is short ends: it counts as long.
LOOK_SECONDS = 5.0

_SAMPLES_BYTES_A_SECOND = 32_000


class JobExecution:
    """Runs jobs in the runner's threads. Safe to call from any thread."""

    def __init__(
        self,
        *,
        storage: Storage,
        transcriber: Transcriber,
        feeds: EventFeeds,
        completion: JobCompletion,
        speeds: Speeds,
        limits: JobLimits,
        clock: Clock,
    ) -> None:
        self._node = storage.node
        self._storage = storage
        self._transcriber = transcriber
        self._feeds = feeds
        self._completion = completion
        self._speeds = speeds
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._active = ActiveJobs()
        self._setbacks: dict[str, int] = {}
        #: Of each job whose audio did not fit, the tries so far.
        self._cramped: dict[str, int] = {}
        self.runner: WorkQueue = storage.node or JobQueue(
            look=self.look, run=self.run, slots=limits.slots, clock=clock
        )

    def look(self, waiting: WaitingJob) -> bool | None:
        """Whether a job is short. Decodes it to find out, until it is known. None: it waits no more."""
        with self._active.entered(waiting.job_id) as active:
            try:
                job = self._find(waiting.job_id)
                if job is None or job.status is not JobStatus.QUEUED:
                    return None
                return self._is_short(job, active.cancellation)
            except JobCancelledError:
                # A service that closes leaves the job as it is, for the next start.
                if active.cancellation.reason is StopReason.CANCELLED:
                    self._completion.drop_files(waiting.job_id)
                return None
            except STORAGE_ERRORS as error:
                if self._never_fits(waiting, error):
                    return False  # as its attempt will say
                self._put_off(waiting, error)
                return None
            except TranscriberError as error:
                # A file that can't be used fails at once in a short slot; a decoder that was killed says nothing.
                return isinstance(error, MediaError) and not isinstance(error, DecoderCrashedError)

    def run(self, waiting: WaitingJob) -> None:
        """Work on a queued job until it has ended or is handed back."""
        # Entered before the claim: a cancellation from now on finds the attempt to stop.
        with self._active.entered(waiting.job_id) as active:
            try:
                job = self._storage.jobs.claim(waiting.job_id, self._clock.now())
                if job is None:
                    self._recover(waiting)
                else:
                    self._work(job, waiting, active)
            except STORAGE_ERRORS as error:
                self._put_off(waiting, error)
            except ShuttingDownError:
                logger.info("job_left_for_next_start", job_id=waiting.job_id)

    def work_on(self, job: Job) -> None:
        """Work on a job that was claimed for this node, until it has ended or is handed back."""
        with self._active.entered(job.id) as active:
            try:
                self._work(job, _waiting(job), active)
            except STORAGE_ERRORS as error:
                # Its row runs on without us: it is rescued.
                logger.warning("job_left_for_rescue", job_id=job.id, code=error.code, error=error.message)
            except ShuttingDownError:
                logger.info("job_left_for_rescue", job_id=job.id)

    def stop_work(self, job_id: str, reason: StopReason) -> bool:
        """Stop the work on this job; False if it is not worked on here."""
        active = self._active.find(job_id)
        if active is None:
            return False
        active.cancellation.pull(reason)
        return True

    def progress_of(self, job_id: str) -> Progress | None:
        """How far a job is that is worked on here."""
        active = self._active.find(job_id)
        return active.progress if active else None

    def at_work(self) -> list[Progress]:
        """All jobs that are worked on here."""
        return self._active.progresses()

    def end_overdue(self) -> None:
        """Stop the jobs that take longer than they may."""
        self._active.stop_overdue(self._clock.monotonic())

    def hand_back_all(self) -> None:
        """Put all jobs at work back into the queue for the next start; end those whose client waits for them."""
        for active in self._active.close():
            # First the row, so that it is right whatever happens to the thread that works on the job.
            if active.progress is not None:
                self._hand_back_row(active.progress.job)
            active.cancellation.pull(StopReason.HANDED_BACK)

    # One attempt

    def _work(self, job: Job, waiting: WaitingJob, active: ActiveJob) -> None:
        log = logger.bind(job_id=job.id, request_id=job.request_id, attempt=job.attempts)
        log.info("job_started", model=job.request.model, size_bytes=job.size_bytes)
        try:
            transcription = self._attempt(job, active)
            self._completion.keep(job, transcription)
            self._succeed(job, transcription, log)
        except JobCancelledError:
            self._stopped(job, active.cancellation)
            log.info("job_stopped", reason=active.cancellation.reason)
        except STORAGE_ERRORS as error:
            self._storage_failed(job, waiting, error)
        except ShuttingDownError:
            self._hand_back_row(job)
        except TranscriberError as error:
            if self._completion.fail(job, error):
                log.warning("job_failed", code=error.code, error=error.message)
        except Exception:  # noqa: BLE001  the job's boundary: whatever failed, the caller gets an answer
            log.exception("job_failed", code="internal_error")
            self._completion.fail(job, internal_error(job))

    def _attempt(self, job: Job, active: ActiveJob) -> Transcription:
        journal = self._open_journal(job, active.cancellation)
        try:
            if journal.state.fruitless >= MAX_FRUITLESS:
                raise JobGivenUpError()
            journal.begin()
            progress = self._progress(job, active)
            self._feeds.open(job.id).restore(journal.state.segments)
            active.progress = progress
            progress.publish()
            transcription = self._transcriber.run(
                self._make_work(job, journal, active.cancellation, progress)
            )
            # If the result can't be written now, nothing of the work is to be done again.
            journal.sync()
            return transcription
        except (JobCancelledError, *STORAGE_ERRORS, ShuttingDownError):
            _note_hand_back(journal)
            raise
        finally:
            journal.close()

    def _succeed(self, job: Job, transcription: Transcription, log: structlog.stdlib.BoundLogger) -> None:
        with self._lock:
            self._setbacks.pop(job.id, None)
            self._cramped.pop(job.id, None)
        if not self._completion.succeed(job, transcription):
            # Cancelled at the last moment: nothing may be left of it.
            self._remove_if_cancelled(job)
            return
        log.info(
            "job_succeeded",
            device=transcription.device,
            gpu_used=transcription.gpu_used,
            compute_type=transcription.compute_type,
            duration=transcription.duration,
            seconds=transcription.timings.total,
        )

    def _stopped(self, job: Job, cancellation: CancellationToken) -> None:
        match cancellation.reason:
            case StopReason.TIMED_OUT:
                self._completion.fail(job, JobTimeoutError())
            case StopReason.HANDED_BACK:
                self._hand_back_row(job)
            case StopReason.CANCELLED:
                self._completion.drop_files(job.id)
            case StopReason.LOST:
                pass  # nothing of the job is ours any more; the node removes its scratch
            case None:
                # The engine dropped a job that was not cancelled: the engine was ended.
                self._requeue(job)

    def _storage_failed(self, job: Job, waiting: WaitingJob, error: TranscriberError) -> None:
        """A disk that is full or broken is not the job's fault: it waits until the disk serves again.

        A file whose audio does not fit ends, for waiting does not make it smaller; its upload is kept for a retry.
        """
        logger.warning("job_storage_failed", job_id=job.id, code=error.code, error=error.message)
        if (job.is_awaited and self._node is None) or self._never_fits(waiting, error):
            with self._lock:
                self._cramped.pop(job.id, None)
            self._completion.fail(job, error)
            return
        self._completion.persist(lambda: self._storage.jobs.requeue(job.id, job.attempts))
        self._put_off(waiting, error)

    def _recover(self, waiting: WaitingJob) -> None:
        """A claim that got through although the store reported a failure left a job `running` without an attempt."""
        job = self._find(waiting.job_id)
        if job is not None and job.status is JobStatus.RUNNING:
            self._requeue(job)

    def _requeue(self, job: Job) -> None:
        self._completion.persist(lambda: self._storage.jobs.requeue(job.id, job.attempts))
        self.runner.put(_waiting(job), delay=self._limits.backoff.first)

    def _find(self, job_id: str) -> Job | None:
        try:
            return self._storage.jobs.get(job_id)
        except JobNotFoundError:
            return None

    def _put_off(self, waiting: WaitingJob, error: TranscriberError) -> None:
        with self._lock:
            count = self._setbacks[waiting.job_id] = self._setbacks.get(waiting.job_id, 0) + 1
        delay = self._limits.backoff.after(count)
        logger.warning("job_postponed", job_id=waiting.job_id, code=error.code, seconds=delay)
        self.runner.put(waiting, delay=delay)

    def _never_fits(self, waiting: WaitingJob, error: TranscriberError) -> bool:
        """Count a try whose audio did not fit; whether it was the last one."""
        if not isinstance(error, AudioRoomError):
            return False
        with self._lock:
            if len(self._active) <= 1:
                self._cramped[waiting.job_id] = self._cramped.get(waiting.job_id, 0) + 1
            return self._cramped.get(waiting.job_id, 0) >= MAX_ROOM_TRIES

    def _hand_back_row(self, job: Job) -> None:
        try:
            if self._node is not None:
                # Its client waits at a web node, and gets the answer from another worker.
                if self._storage.jobs.requeue(job.id, job.attempts):
                    self.runner.put(_waiting(job))
            elif job.is_awaited:
                self._completion.interrupt(job)
            else:
                self._storage.jobs.requeue(job.id, job.attempts)
        except CapacityError as error:
            # The row stays as it is; the next start finds it running and does the same.
            logger.warning("job_not_requeued", job_id=job.id, error=error.message)

    def _remove_if_cancelled(self, job: Job) -> None:
        stored = self._find(job.id)
        if stored is None or stored.status is JobStatus.CANCELLED:
            self._completion.drop_files(job.id)

    # Parts of an attempt

    def _is_short(self, job: Job, cancellation: CancellationToken) -> bool:
        short = self._limits.short_seconds
        journal = self._open_journal(job, cancellation)
        try:
            if journal.state.audio is not None:
                return journal.state.audio.duration <= short
            pcm = self._storage.spool.pcm_path(job.id)
            deadline = self._clock.monotonic() + LOOK_SECONDS

            def is_known() -> bool:
                return self._clock.monotonic() > deadline or _size(pcm) > short * _SAMPLES_BYTES_A_SECOND

            work = self._make_work(job, journal, cancellation, self._progress(job, ActiveJob(cancellation)))
            return self._transcriber.decode(work, until=is_known).duration <= short
        except JobCancelledError:
            cancellation.check()
            return False
        finally:
            journal.close()

    def _open_journal(self, job: Job, cancellation: CancellationToken) -> Journal:
        if self._node is not None:
            return self._node.open_journal(job, cancellation)
        with storage_errors():
            if not self._storage.spool.upload_path(job.id).exists():
                raise UploadGoneError()
        return Journal.open(self._storage.spool.journal_path(job.id), self._storage.native)

    def _make_work(
        self, job: Job, journal: Journal, cancellation: CancellationToken, progress: Progress
    ) -> TranscriptionWork:
        def note(faults: int, kills: int) -> None:
            self._storage.jobs.note(job.id, job.attempts, engine_faults=faults, engine_kills=kills)

        return TranscriptionWork(
            job=job,
            upload=self._storage.spool.upload_path(job.id),
            references=self._storage.spool.reference_paths(job.id),
            pcm=self._storage.spool.pcm_path(job.id),
            journal=journal,
            cancellation=cancellation,
            retry_policy=RetryPolicy(job, cancellation, note),
            watcher=progress,
        )

    def _progress(self, job: Job, active: ActiveJob) -> Progress:
        def decoded(audio: DecodedAudio) -> str:
            active.deadline = self._clock.monotonic() + self._limits.timeout(audio.duration)
            if job.duration is None:
                # Of a file that was fetched, the size was not known when the job was made.
                size = None if job.size_bytes else _size(self._storage.spool.upload_path(job.id))
                self._storage.jobs.note(job.id, job.attempts, duration=audio.duration, size_bytes=size)
            return "short" if audio.duration <= self._limits.short_seconds else "long"

        return Progress(
            job,
            self._feeds.open(job.id),
            self._speeds,
            self._clock,
            sharing=lambda: len(self.at_work()),
            decoded=decoded,
        )


def _waiting(job: Job) -> WaitingJob:
    return WaitingJob(job_id=job.id, number=job.number, priority=job.priority, owner=job.owner)


def _note_hand_back(journal: Journal) -> None:
    """The attempt was no fruitless one. A disk that can't take the note makes it count as one."""
    try:
        journal.hand_back()
        journal.sync()
    except STORAGE_ERRORS as error:
        logger.info("journal_not_written", error=error.message)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
