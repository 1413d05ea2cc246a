"""The use cases: submit, run, wait, cancel, get. Everything that enters the service passes here."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from .domain.errors import InvalidParameterError, JobCancelledError, JobNotFinishedError, TranscriberError
from .domain.jobs import Job, JobError, JobStatus
from .domain.options import TranscriptionRequest
from .domain.ports import Clock, JobStore, ResultStore
from .domain.transcript import Receipt, Transcription
from .engine.models import LocalModel, ModelFinder
from .jobs.output import OutputFolder
from .jobs.runner import Runner
from .jobs.spool import Spool, new_job_id
from .transcribing import Transcriber

logger = structlog.get_logger(__name__)

#: Told of every job that ended: with its transcription if it succeeded, else with the error.
JobEnded = Callable[[Job, Transcription | None, TranscriberError | None], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Upload:
    """A place in the spool for one file that is being received."""

    job_id: str
    path: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Storage:
    """Where jobs, uploads, results and finished files live."""

    jobs: JobStore
    results: ResultStore
    spool: Spool
    output: OutputFolder | None


class Service:
    """The use cases over the ports; safe to call from any thread."""

    def __init__(
        self,
        *,
        storage: Storage,
        models: ModelFinder,
        transcriber: Transcriber,
        native: concurrent.futures.Executor,
        clock: Clock,
        max_running: int,
        max_queue: int,
    ) -> None:
        self._storage = storage
        self._models = models
        self._transcriber = transcriber
        self._native = native
        self._clock = clock
        self._lock = threading.Lock()
        self._outcomes: dict[str, concurrent.futures.Future[Transcription]] = {}
        self._cancelled: set[str] = set()
        self._last_receipt: tuple[str, Receipt] | None = None
        self._on_job_ended: JobEnded | None = None
        self._runner = Runner(self.run_job, workers=max_running, max_queue=max_queue)

    def observe_jobs(self, on_job_ended: JobEnded) -> None:
        """Tell this observer of every job that ends, once its end is on disk. It may not raise, and returns at once."""
        self._on_job_ended = on_job_ended

    def start(self) -> None:
        """Give up what an earlier process left unfinished, then take work."""
        for job in self._storage.jobs.list_jobs(
            statuses=(JobStatus.QUEUED, JobStatus.RUNNING), limit=100_000
        ):
            self._abandon(job)
        self._storage.spool.sweep(frozenset())
        self._runner.start()

    def begin_upload(self, *, expected_bytes: int = 0) -> Upload:
        """Reserve a place for one file. Raises QueueFullError, StorageFullError, ShuttingDownError."""
        self._runner.check_room()
        self._storage.spool.check_room(expected_bytes)
        job_id = new_job_id()
        self._storage.spool.create(job_id)
        return Upload(job_id=job_id, path=self._storage.spool.upload_path(job_id))

    def abandon_upload(self, upload: Upload) -> None:
        """Remove a file whose request failed before it became a job."""
        self._native.submit(self._storage.spool.remove, upload.job_id).result()

    def submit(
        self, upload: Upload, request: TranscriptionRequest, *, file_name: str, request_id: str
    ) -> Job:
        """Make a job of a received file; on return it is on disk.

        Raises ModelNotFoundError, InvalidParameterError (a task or language the model can't do),
        GpuRequiredError, QueueFullError.
        """
        request = self.check(request)
        self._native.submit(self._storage.spool.commit, upload.job_id).result()
        job = Job(
            id=upload.job_id,
            status=JobStatus.QUEUED,
            request=request,
            file_name=file_name,
            size_bytes=upload.path.stat().st_size,
            created_at=self._clock.now(),
            request_id=request_id,
        )
        with self._lock:
            self._outcomes[job.id] = concurrent.futures.Future()
        try:
            self._storage.jobs.add(job)
            self._runner.submit(job.id)
        except TranscriberError:
            with self._lock:
                del self._outcomes[job.id]
            raise
        return job

    def check(self, request: TranscriptionRequest) -> TranscriptionRequest:
        """Refuse what can be refused before any work (see submit); the request with the model's own name."""
        model = self._models.find(request.model)
        refuse_unfit(model, request)
        self._transcriber.decide(request)
        return replace(request, model=model.name)

    def wait(self, job_id: str, timeout: float | None = None) -> Transcription:
        """The transcription once the job has ended. Raises the job's error; TimeoutError."""
        with self._lock:
            outcome = self._outcomes.get(job_id)
        if outcome is None:
            return self.transcription(job_id)
        try:
            return outcome.result(timeout)
        finally:
            if outcome.done():
                with self._lock:
                    self._outcomes.pop(job_id, None)

    def get(self, job_id: str) -> Job:
        """The job. Raises JobNotFoundError."""
        return self._storage.jobs.get(job_id)

    def transcription(self, job_id: str) -> Transcription:
        """A finished job's answer. Raises JobNotFoundError, JobNotFinishedError, or the job's error."""
        job = self.get(job_id)
        if job.error is not None:
            raise TranscriberError(
                job.error.message, code=job.error.code, fix=job.error.fix, param=job.error.param
            )
        found = self._storage.results.find(job_id)
        if found is None:
            raise JobNotFinishedError(
                f"Job {job_id} is {job.status.value}.", fix="Ask again when it has succeeded."
            )
        return found

    def cancel(self, job_id: str) -> None:
        """Give a job up, waiting or running. Jobs that have ended stay as they are."""
        with self._lock:
            self._cancelled.add(job_id)
        if self._runner.withdraw(job_id):
            self.run_job(job_id)

    def run_job(self, job_id: str) -> None:
        """Work on one queued job until it has a final status. The runner calls this."""
        job = self._storage.jobs.claim(job_id, self._clock.now())
        if job is None:
            return
        log = logger.bind(job_id=job.id, request_id=job.request_id, attempt=job.attempts)
        log.info("job_started", model=job.request.model, size_bytes=job.size_bytes)
        try:
            transcription = self._work(job)
        except JobCancelledError as error:
            self._end(job, JobStatus.CANCELLED, error)
            log.info("job_cancelled")
        except TranscriberError as error:
            self._end(job, JobStatus.FAILED, error)
            log.warning("job_failed", code=error.code)
        except Exception:  # noqa: BLE001  the job's boundary: whatever failed, the caller gets an answer
            log.exception("job_failed", code="internal_error")
            self._end(job, JobStatus.FAILED, _internal_error(job))
        else:
            self._settle(job, transcription)
            log.info(
                "job_succeeded",
                device=transcription.device,
                gpu_used=transcription.gpu_used,
                compute_type=transcription.compute_type,
                duration=transcription.duration,
                seconds=transcription.timings.total,
            )
        finally:
            self._native.submit(self._storage.spool.remove, job.id).result()
            with self._lock:
                self._cancelled.discard(job.id)

    def models(self) -> tuple[LocalModel, ...]:
        """Models on this machine."""
        return self._models.present()

    @property
    def last_receipt(self) -> tuple[str, Receipt] | None:
        """The last job that ended well in this process, and its evidence."""
        return self._last_receipt

    @property
    def queue_size(self) -> int:
        """Jobs that wait."""
        return self._runner.waiting

    def close(self, timeout: float) -> None:
        """Take no more work and give what runs up to `timeout` seconds."""
        self._runner.close(timeout)

    def _work(self, job: Job) -> Transcription:
        spool = self._storage.spool
        transcription = self._transcriber.run(
            job, spool.upload_path(job.id), spool.pcm_path(job.id), lambda: self._is_cancelled(job.id)
        )
        self._native.submit(self._keep, job, transcription).result()
        return transcription

    def _keep(self, job: Job, transcription: Transcription) -> None:
        self._storage.results.save(transcription)
        if self._storage.output is not None:
            self._storage.output.write(transcription, job.file_name)

    def _is_cancelled(self, job_id: str) -> bool:
        with self._lock:
            return job_id in self._cancelled

    def _settle(self, job: Job, transcription: Transcription) -> None:
        self._storage.jobs.finish(job.id, job.attempts, JobStatus.SUCCEEDED, self._clock.now())
        self._last_receipt = (job.id, transcription.receipt)
        outcome = self._outcome(job.id)
        if outcome is not None:
            outcome.set_result(transcription)
        self._tell(job, transcription, None)

    def _end(self, job: Job, status: JobStatus, error: TranscriberError) -> None:
        kept = JobError(code=error.code, message=error.message, fix=error.fix, param=error.param)
        self._storage.jobs.finish(job.id, job.attempts, status, self._clock.now(), error=kept)
        outcome = self._outcome(job.id)
        if outcome is not None:
            outcome.set_exception(error)
        self._tell(job, None, error)

    def _tell(self, job: Job, transcription: Transcription | None, error: TranscriberError | None) -> None:
        if self._on_job_ended is not None:
            self._on_job_ended(job, transcription, error)

    def _outcome(self, job_id: str) -> concurrent.futures.Future[Transcription] | None:
        with self._lock:
            return self._outcomes.get(job_id)

    def _abandon(self, job: Job) -> None:
        claimed = self._storage.jobs.claim(job.id, self._clock.now()) or job
        error = JobError(
            code="interrupted",
            message="The service stopped before this job was done.",
            fix="Send the file again.",
        )
        self._storage.jobs.finish(job.id, claimed.attempts, JobStatus.FAILED, self._clock.now(), error=error)


def refuse_unfit(model: LocalModel, request: TranscriptionRequest) -> None:
    """Refuse a task or language that this model can't do, rather than answer something else."""
    options = request.options
    if options.task == "translate" and not model.can_translate:
        raise InvalidParameterError(
            "task",
            options.task,
            f"transcribe (the model {model.name} was not trained to translate)",
            code="task_not_supported",
            fix="Leave task out, or choose a multilingual model that translates, such as base or large-v3.",
        )
    if model.is_english_only and options.language not in (None, "en"):
        raise InvalidParameterError(
            "language",
            options.language,
            f"en (the model {model.name} knows English only)",
            code="language_not_supported",
            fix="Leave language out, or choose a model without '.en' in its name.",
        )


def _internal_error(job: Job) -> TranscriberError:
    return TranscriberError(
        "Something failed that the service did not foresee.",
        fix=f"Look for job {job.id} in the service's log, and report it with that part of the log.",
    )
