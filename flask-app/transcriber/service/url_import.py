"""Jobs whose file is fetched from a URL: fetched before they wait for a slot, so that a slow server holds none."""

from __future__ import annotations

import queue
import secrets
import threading
from collections.abc import Callable
from pathlib import Path

import structlog

from ..domain.errors import (
    EmptyUploadError,
    JobCancelledError,
    JobNotFoundError,
    QueueFullError,
    ShuttingDownError,
    StorageFailedError,
    TranscriberError,
)
from ..domain.jobs import Job, JobProgress, JobStatus
from ..domain.ports import Clock, Fetcher
from ..jobs.active_job import FETCHING, progress_data
from ..jobs.events import EventFeeds
from ..jobs.limits import JobLimits
from ..system.durable_files import storage_errors, sync_path
from .completion import JobCompletion, Storage, internal_error

logger = structlog.get_logger(__name__)

#: Files that are fetched at once; others wait.
FETCH_SLOTS = 4

#: Tries at a file whose server fails.
MAX_TRIES = 3

#: How often progress is published, and how much is written in one go.
PROGRESS_SECONDS = 0.5
WRITE_BYTES = 1024 * 1024


class UrlImports:
    """Fetches the files of queued jobs, and hands the jobs on. Safe to call from any thread."""

    def __init__(
        self,
        *,
        storage: Storage,
        fetcher: Fetcher,
        completion: JobCompletion,
        feeds: EventFeeds,
        clock: Clock,
        limits: JobLimits,
        hand_on: Callable[[Job], None],
    ) -> None:
        """`hand_on`: called with a job whose file is there."""
        self._storage = storage
        self._fetcher = fetcher
        self._completion = completion
        self._feeds = feeds
        self._clock = clock
        self._most = max(1, limits.slots.max_queue)
        self._backoff = limits.backoff
        self._hand_on = hand_on
        self._lock = threading.Lock()
        self._waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._progress: dict[str, JobProgress] = {}
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin to fetch."""
        for number in range(FETCH_SLOTS):
            threading.Thread(target=self._run, name=f"url-import-{number}", daemon=True).start()

    def stop(self) -> None:
        """Fetch nothing more; what is not there yet is fetched after the next start."""
        self._stopped.set()

    def check(self, url: str) -> None:
        """Raises InvalidParameterError, UrlNotAllowedError, QueueFullError."""
        self._fetcher.check(url)
        with self._lock:
            if len(self._progress) >= self._most:
                raise QueueFullError()

    def needs(self, job: Job) -> bool:
        """Whether the job's file has still to be fetched."""
        return job.request.url is not None and _size(self._storage.spool.upload_path(job.id)) == 0

    def put(self, job: Job) -> None:
        """Have the file of a queued job fetched."""
        with self._lock:
            self._progress[job.id] = _progress(0, None)
        self._waiting.put(job)

    def progress_of(self, job_id: str) -> JobProgress | None:
        """How far a file is that waits or is fetched."""
        with self._lock:
            return self._progress.get(job_id)

    @property
    def at_work(self) -> int:
        """Files that wait or are fetched."""
        with self._lock:
            return len(self._progress)

    def _run(self) -> None:
        """Thread: one file after the other."""
        while not self._stopped.is_set():
            job = self._waiting.get()
            try:
                if not self._stopped.is_set():
                    self._import(job)
            except Exception:  # noqa: BLE001  the thread's boundary: the next file must be fetched
                logger.exception("url_import_failed", job_id=job.id)
            finally:
                with self._lock:
                    self._progress.pop(job.id, None)

    def _import(self, job: Job) -> None:
        log = logger.bind(job_id=job.id, request_id=job.request_id)
        try:
            self._fetch(job)
        except ShuttingDownError:
            return
        except JobCancelledError:
            self._completion.drop_files(job.id)
            return
        except TranscriberError as error:
            log.warning("url_not_fetched", code=error.code, error=error.message)
            self._fail(job, error)
            return
        except Exception:  # noqa: BLE001  the job's boundary: whatever failed, the caller gets an answer
            log.exception("url_not_fetched", code="internal_error")
            self._fail(job, internal_error(job))
            return
        self._feeds.open(job.id).withdraw_progress()
        log.info("url_fetched", size_bytes=_size(self._storage.spool.upload_path(job.id)))
        self._hand_on(job)

    def _fetch(self, job: Job) -> None:
        for number in range(1, MAX_TRIES + 1):
            try:
                self._fetch_once(job)
                return
            except TranscriberError as error:
                if not error.retryable or number == MAX_TRIES or isinstance(error, ShuttingDownError):
                    raise
                logger.info("url_import_retried", job_id=job.id, code=error.code)
            if self._stopped.wait(self._backoff.after(number + 1)):
                raise ShuttingDownError()
            self._check_wanted(job)

    def _fetch_once(self, job: Job) -> None:
        upload = self._storage.spool.upload_path(job.id)
        # A name of its own: what an earlier try left, killed in the middle, goes with the job's work.
        part = upload.with_name(f"fetched-{secrets.token_hex(4)}")
        writer = _Writer(part, self._storage)
        shown_at = 0.0

        def progress(received: int, total: int | None) -> None:
            nonlocal shown_at
            if self._stopped.is_set():
                raise ShuttingDownError()
            if self._clock.monotonic() - shown_at < PROGRESS_SECONDS:
                return
            shown_at = self._clock.monotonic()
            self._check_wanted(job)
            self._show(job, received, total)

        try:
            with storage_errors():
                writer.open()
            self._fetcher.fetch(job.request.url or "", writer.write, progress)
            writer.close()
            if self._stopped.is_set():
                raise ShuttingDownError()
            if writer.size == 0:
                raise EmptyUploadError("The file behind the URL has no bytes.", fix="Check the URL.")
            with storage_errors():
                self._storage.run(sync_path, part)
                part.replace(upload)
            self._storage.run(self._storage.spool.commit, job.id)
        except StorageFailedError:
            # A job that was cancelled has no folder any more.
            self._check_wanted(job)
            raise
        finally:
            writer.drop()

    def _check_wanted(self, job: Job) -> None:
        """Raises JobCancelledError when the job is cancelled."""
        try:
            is_wanted = self._storage.jobs.get(job.id).status is JobStatus.QUEUED
        except JobNotFoundError:
            is_wanted = False
        if not is_wanted:
            raise JobCancelledError()

    def _show(self, job: Job, received: int, total: int | None) -> None:
        progress = _progress(received, total)
        with self._lock:
            self._progress[job.id] = progress
        self._feeds.open(job.id).set_progress(progress_data(JobStatus.QUEUED, progress, None))

    def _fail(self, job: Job, error: TranscriberError) -> None:
        claimed = self._completion.persist(lambda: self._storage.jobs.claim(job.id, self._clock.now()))
        if claimed is None:
            self._completion.drop_files(job.id)
            return
        self._completion.fail(claimed, error)


class _Writer:
    """Writes the bytes of one file in large pieces, on a native thread, and asks for room before each."""

    def __init__(self, path: Path, storage: Storage) -> None:
        self._path = path
        self._storage = storage
        self._buffer = bytearray()
        self.size = 0

    def open(self) -> None:
        """Begin anew."""
        self._file = self._path.open("wb")

    def write(self, piece: bytes) -> None:
        """Append. Raises StorageFullError, StorageFailedError."""
        self._buffer += piece
        self.size += len(piece)
        if len(self._buffer) >= WRITE_BYTES:
            self._flush()

    def close(self) -> None:
        """Write what is left."""
        self._flush()
        with storage_errors():
            self._file.close()

    def drop(self) -> None:
        """Remove the file, unless it has its name by now."""
        if hasattr(self, "_file"):
            self._file.close()
        with storage_errors():
            self._path.unlink(missing_ok=True)

    def _flush(self) -> None:
        self._storage.spool.check_room(len(self._buffer))
        with storage_errors():
            self._storage.run(self._file.write, bytes(self._buffer))
        self._buffer.clear()


def _progress(received: int, total: int | None) -> JobProgress:
    percent = 0.0 if not total else round(min(100.0 * received / total, 99.9), 1)
    return JobProgress(percent=percent, stage=FETCHING, seconds_left=None, windows_done=0, segments=0)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
