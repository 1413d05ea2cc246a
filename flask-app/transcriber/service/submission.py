"""Taking jobs in: uploads, the checks before any work, idempotency, and the second try of a job that failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from ..domain.errors import (
    IdempotencyConflictError,
    InvalidParameterError,
    JobNotFailedError,
    JobNotFinishedError,
    JobNotFoundError,
    QueueFullError,
    TranscriberError,
    UploadGoneError,
)
from ..domain.errors.source import UrlNotAllowedError
from ..domain.jobs import Job, JobStatus, SubmissionTerms, Webhook
from ..domain.options import TranscriptionRequest
from ..domain.ports import Clock, Fetcher
from ..jobs.estimates import Estimates, read_head
from ..jobs.files.spool import new_job_id
from ..jobs.queue import WaitingJob, WorkQueue
from ..models.finder import LocalModel, ModelFinder
from ..system.durable_files import write_whole
from .completion import STORAGE_ERRORS, Storage
from .url_import import UrlImports

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Upload:
    """A place in the spool for one file that is being received."""

    job_id: str
    path: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Checks:
    """What a submission is checked against before any work."""

    models: ModelFinder
    #: Raises GpuRequiredError.
    decide: Callable[[TranscriptionRequest], object]
    #: Raises InvalidParameterError.
    webhook: Callable[[Webhook], None]
    #: Fetches files from URLs, and knows which can never be fetched.
    fetcher: Fetcher


class Submission:
    """Makes jobs of files. Safe to call from any thread."""

    def __init__(
        self,
        *,
        storage: Storage,
        checks: Checks,
        runner: WorkQueue,
        estimates: Estimates,
        imports: UrlImports,
        clock: Clock,
    ) -> None:
        self._storage = storage
        self._checks = checks
        self._runner = runner
        self._estimates = estimates
        self._imports = imports
        self._clock = clock
        #: Jobs whose row may or may not be in the store; their clients got an error.
        self._doubtful: set[str] = set()

    def begin_upload(self, *, expected_bytes: int = 0, owner: str | None = None) -> Upload:
        """Reserve a place for one file. Raises QueueFullError, StorageFullError, ShuttingDownError."""
        try:
            self._runner.check_room(owner)
        except QueueFullError as error:
            raise self._estimates.refine(error) from None
        self._storage.spool.check_room(expected_bytes)
        job_id = new_job_id()
        self._storage.spool.create(job_id)
        return Upload(job_id=job_id, path=self._storage.spool.upload_path(job_id))

    def check_room(self) -> None:
        """Raises StorageFullError when uploads have reached the reserve: many at once share what is free."""
        self._storage.spool.check_room(0)

    def add_reference(self, upload: Upload, number: int, recording: bytes) -> None:
        """Put a recording of a known speaker beside an upload. Raises StorageFullError, StorageFailedError."""
        path = self._storage.spool.reference_path(upload.job_id, number)
        self._storage.run(write_whole, path, recording)

    def abandon_upload(self, upload: Upload) -> None:
        """Remove a file whose request failed before it became a job."""
        self._storage.run(self._storage.spool.remove, upload.job_id)

    def submit(
        self,
        upload: Upload,
        request: TranscriptionRequest,
        *,
        file_name: str,
        request_id: str,
        terms: SubmissionTerms = SubmissionTerms(),  # noqa: B008  a frozen value
    ) -> Job:
        """Make a job of a received file; on return it is on disk. See JobService.submit."""
        request = self.check(request)
        if terms.webhook is not None:
            self._checks.webhook(terms.webhook)
        if request.url is not None and self._storage.node is not None:
            raise UrlNotAllowedError(
                "A fleet fetches no files yet.", fix="Download the file, and send it as an upload."
            )
        if request.url is not None:
            self._imports.check(request.url)
        if (known := self._find(terms)) is not None:
            self.abandon_upload(upload)
            return known
        try:
            self._runner.reserve(terms.owner)
        except QueueFullError as error:
            raise self._estimates.refine(error) from None
        try:
            job = self._store(self._make(upload, request, file_name, request_id, terms))
        finally:
            self._runner.release()
        if job.id == upload.job_id:
            return job
        # Somebody else came first with the same key, at the same moment.
        same = _checked(job, terms.fingerprint)
        self.abandon_upload(upload)
        return same

    def hold(
        self,
        upload: Upload,
        request: TranscriptionRequest,
        *,
        file_name: str,
        request_id: str,
        owner: str | None,
    ) -> Job:
        """Store a job whose file still grows; it waits for `queue`, or for the next start of the service."""
        job = self._make(upload, request, file_name, request_id, SubmissionTerms(owner=owner))
        # Its size is not known yet; whoever works on it notes it.
        job = replace(job, size_bytes=0)
        self._storage.run(self._storage.spool.commit, job.id)
        return self._storage.jobs.add(job)

    def find_submitted(self, idempotency_key: str, fingerprint: str | None) -> Job | None:
        """The job that was submitted with this key. Raises IdempotencyConflictError."""
        job = self._storage.jobs.find_by_key(idempotency_key)
        if job is not None and job.id in self._doubtful:
            self._discard_doubtful(job)
            return None
        return None if job is None else _checked(job, fingerprint)

    def is_job(self, job_id: str) -> bool:
        """Whether the store has this job. A job whose client got an error runs from now on."""
        try:
            job = self._storage.jobs.get(job_id)
        except JobNotFoundError:
            return False
        if job_id in self._doubtful:
            self._doubtful.discard(job_id)
            self.queue(job)
        return True

    def check(self, request: TranscriptionRequest) -> TranscriptionRequest:
        """Refuse what can be refused before any work; the request with the model's own name."""
        model = self._checks.models.describe(request.model)
        refuse_unfit(model, request)
        self._checks.decide(request)
        return replace(request, model=model.name)

    def retry(self, job_id: str) -> Job:
        """failed → queued, with the upload that is still there."""
        job = self._storage.jobs.get(job_id)
        if job.status is not JobStatus.FAILED:
            raise JobNotFailedError(f"Job {job_id} is {job.status.value}; only a failed job can be retried.")
        if not job.has_upload or not self._storage.spool.upload_path(job_id).exists():
            raise UploadGoneError()
        try:
            self._runner.check_room(job.owner)
        except QueueFullError as error:
            raise self._estimates.refine(error) from None
        self._storage.run(self._storage.spool.drop_work, job_id)
        queued = self._storage.jobs.retry(job_id)
        if queued is None:
            raise JobNotFailedError(f"Job {job_id} has just been retried or removed.")
        self.queue(queued)
        return queued

    def retry_with(self, job_id: str, request: TranscriptionRequest, *, request_id: str) -> Job:
        """A new job over the upload of one that has ended."""
        job = self._storage.jobs.get(job_id)
        request = replace(request, url=job.request.url)
        if not job.status.is_final:
            raise JobNotFinishedError(f"Job {job_id} is {job.status.value}.")
        if not job.has_upload:
            raise UploadGoneError()
        # Before anything is made: a model that is not here is said at once.
        self.check(request)
        upload = self.begin_upload(owner=job.owner)
        try:
            self._storage.run(self._storage.spool.take_over, job_id, upload.job_id)
            return self.submit(
                upload,
                request,
                file_name=job.file_name,
                request_id=request_id,
                terms=SubmissionTerms(title=job.title, retry_of=job_id, owner=job.owner),
            )
        except TranscriberError:
            self.abandon_upload(upload)
            raise

    def queue(self, job: Job) -> None:
        """Have a job that is stored run, full or not; one whose file is elsewhere, once that is fetched."""
        if self._imports.needs(job):
            self._imports.put(job)
            return
        try:
            head = self._storage.run(read_head, self._storage.spool.upload_path(job.id))
        except (OSError, *STORAGE_ERRORS) as error:
            # It serves an estimate only; the job itself is on disk and may not be lost for that.
            logger.info("upload_head_not_read", job_id=job.id, error=str(error))
            head = b""
        seconds = self._estimates.expect(job, head)
        self._runner.put(
            WaitingJob(
                job_id=job.id,
                number=job.number,
                priority=job.priority,
                owner=job.owner,
                seconds=seconds,
                needs_gpu=job.request.require_gpu,
            )
        )

    def _find(self, terms: SubmissionTerms) -> Job | None:
        if terms.idempotency_key is None:
            return None
        return self.find_submitted(terms.idempotency_key, terms.fingerprint)

    def _store(self, job: Job) -> Job:
        self._storage.run(self._storage.spool.commit, job.id)
        try:
            stored = self._storage.jobs.add(job)
        except STORAGE_ERRORS:
            found = self._stored_after_all(job)
            if found is None:
                raise
            stored = found
        if stored.id == job.id:
            self.queue(stored)
        return stored

    def _stored_after_all(self, job: Job) -> Job | None:
        """The row of a job whose writing failed, if it got through. If even that is unknown, the job is doubtful."""
        try:
            return self._storage.jobs.get(job.id)
        except JobNotFoundError:
            return None
        except STORAGE_ERRORS:
            self._doubtful.add(job.id)
            return None

    def _discard_doubtful(self, job: Job) -> None:
        """Remove a row that no client knows of and whose file is gone, so that its key is free again."""
        claimed = self._storage.jobs.claim(job.id, self._clock.now())
        if claimed is not None:
            self._storage.jobs.finish(job.id, claimed.attempts, JobStatus.FAILED, self._clock.now())
            self._storage.jobs.purge(job.id)
        self._doubtful.discard(job.id)

    def _make(
        self,
        upload: Upload,
        request: TranscriptionRequest,
        file_name: str,
        request_id: str,
        terms: SubmissionTerms,
    ) -> Job:
        return Job(
            id=upload.job_id,
            status=JobStatus.QUEUED,
            request=request,
            file_name=file_name,
            size_bytes=upload.path.stat().st_size,
            created_at=self._clock.now(),
            request_id=request_id,
            priority=terms.priority,
            is_awaited=terms.is_awaited,
            webhook=terms.webhook,
            idempotency_key=terms.idempotency_key,
            fingerprint=terms.fingerprint,
            title=terms.title,
            retry_of=terms.retry_of,
            owner=terms.owner,
        )


def _checked(job: Job, fingerprint: str | None) -> Job:
    if job.fingerprint != fingerprint:
        raise IdempotencyConflictError(
            f"This Idempotency-Key belongs to job {job.id}, which was sent otherwise."
        )
    return job


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
