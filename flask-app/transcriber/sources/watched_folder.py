"""A watched folder: files that have stopped growing become jobs, each once, and their transcripts are put beside them.

Nothing is remembered in memory that matters. The claim is the job's row in the store, found by a key of path, size and
time; what is done has a marker in the data folder, which outlives the row. So it can be killed at any moment.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from ..domain.errors import CapacityError, QueueFullError, StorageFailedError, TranscriberError
from ..domain.file_names import is_media_name, visible
from ..domain.jobs import Job, JobError, JobStatus, SubmissionTerms
from ..domain.options import TranscriptionRequest
from ..domain.ports import Clock
from ..domain.transcript import Transcription
from ..service.submission import Upload
from ..system.backoff import Backoff
from ..system.durable_files import SHARED_FILE, read_small, storage_errors, write_small, write_whole
from ..system.threads import InThread

logger = structlog.get_logger(__name__)

#: Behind what people send themselves: a folder of old films must not delay them.
PRIORITY = -10

#: Waits before a file that failed is tried again.
RETRIES = Backoff(first=5, longest=600)

_LONGEST_NAME = 120

#: Bytes that a disk allows a name.
_LONGEST_NAME_BYTES = 255


class Jobs(Protocol):
    """What the service does for a watched folder."""

    def begin_upload(self, *, expected_bytes: int = 0, owner: str | None = None) -> Upload: ...

    def abandon_upload(self, upload: Upload) -> None: ...

    def submit(
        self,
        upload: Upload,
        request: TranscriptionRequest,
        *,
        file_name: str,
        request_id: str,
        terms: SubmissionTerms = ...,
    ) -> Job: ...

    def find_submitted(self, idempotency_key: str, fingerprint: str | None) -> Job | None: ...

    def transcription(self, job_id: str) -> Transcription: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchSettings:
    """Which folder, and what becomes of its files."""

    folder: Path
    #: Where transcripts go, in the same subfolders; None: beside the files.
    output: Path | None
    #: Endings of the transcripts, and how each is made.
    formats: dict[str, Callable[[Transcription], bytes]]
    #: Markers of files that are done.
    markers: Path
    #: Between two looks, and how long a file must have kept its size and time.
    poll_seconds: float
    settle_seconds: float


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A media file in the folder, as it is now."""

    name: str  #: relative to the folder
    size: int
    mtime_ns: int

    @property
    def key(self) -> str:
        """What it is claimed by. A space is in no key that a caller can send."""
        text = f"{self.name}\0{self.size}\0{self.mtime_ns}"
        return "watch " + _digest(text.encode("utf-8", "surrogateescape"))


class WatchedFolder:
    """Looks into the folder again and again. Its disk work runs on a thread of its own: a share may hang."""

    def __init__(
        self,
        settings: WatchSettings,
        jobs: Jobs,
        request: Callable[[], TranscriptionRequest],
        clock: Clock,
        in_thread: InThread,
    ) -> None:
        self._settings = settings
        self._jobs = jobs
        self._request = request
        self._clock = clock
        self._natively = in_thread
        #: Since when each file has been as it is.
        self._seen: dict[FoundFile, float] = {}
        #: Files that need no look at the store or a marker any more.
        self._done: set[FoundFile] = set()
        #: Files that could not be read, or their transcripts not written: how often, and until when they rest.
        self._rests: dict[FoundFile, tuple[int, float]] = {}
        #: What was last logged, by event; the same is not logged again until it changes.
        self._told: dict[str, str] = {}

    def run(self, closing: threading.Event) -> None:
        """Thread: until the service stops."""
        while not closing.is_set():
            waits: Exception | None = None
            fails: Exception | None = None
            try:
                self.look()
            except QueueFullError:
                pass  # what waits is taken by a later look
            except CapacityError as error:
                waits = error
            except Exception as error:  # noqa: BLE001  the thread's boundary: a share may be back for the next look
                fails = error
            self._tell("watched_folder_waits", waits)
            self._tell("watched_folder_failed", fails)
            closing.wait(self._settings.poll_seconds)

    def look(self) -> None:
        """Take what has settled, and deliver what has ended. Raises CapacityError when no more is taken now.

        A file that can't be read, or whose transcript can't be written, holds up no other, and is tried again later.
        """
        now = self._clock.monotonic()
        found = set(self._natively(lambda: list(self._walk())))
        self._seen = {file: self._seen.get(file, now) for file in found}
        self._done &= found
        self._rests = {file: rest for file, rest in self._rests.items() if file in found}
        settled = [file for file, since in self._seen.items() if now - since >= self._settings.settle_seconds]
        full: CapacityError | None = None
        failed: list[Exception] = []
        for file in sorted(settled, key=lambda one: one.mtime_ns):
            if file in self._done or now < self._rests.get(file, (0, 0.0))[1]:
                continue
            try:
                self._settle(file, takes=full is None)
                self._rests.pop(file, None)
            except Exception as error:  # noqa: BLE001  one file's fault, of whatever kind, is no other's
                if isinstance(error, CapacityError) and not isinstance(error, StorageFailedError):
                    full = error
                    continue
                failed.append(error)
                tries = self._rests.get(file, (0, 0.0))[0] + 1
                self._rests[file] = (tries, now + RETRIES.after(tries))
        if failed or not self._rests:
            self._tell("watched_files_failed", failed[0] if failed else None, files=len(self._rests))
        if full is not None:
            raise full

    def _walk(self) -> Iterator[FoundFile]:
        """The media files, subfolders too. Links are not followed, and hidden names are left alone."""
        folders = [self._settings.folder]
        unread: OSError | None = None
        while folders:
            try:
                entries = list(os.scandir(folders.pop()))
            except OSError as error:
                unread = unread or error
                continue
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                try:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(Path(entry.path))
                    elif entry.is_file(follow_symlinks=False) and is_media_name(entry.name):
                        yield self._found(Path(entry.path))
                except OSError:
                    continue  # it is gone again
        self._tell("watched_folder_not_read", unread)

    def _tell(self, event: str, error: Exception | None, **facts: int) -> None:
        """Log a fault once, until it is another one or has passed."""
        # The cause names the file: the words of a StorageFailedError are for whoever sent an upload.
        cause = "" if error is None else str(error.__cause__ or error)
        if cause != self._told.get(event, ""):
            self._told[event] = cause
            if error is not None:
                logger.warning(event, error=cause, kind=type(error).__name__, **facts)
            else:
                logger.info("watched_folder_well", after=event)

    def _found(self, path: Path) -> FoundFile:
        stat = path.stat(follow_symlinks=False)
        return FoundFile(str(path.relative_to(self._settings.folder)), stat.st_size, stat.st_mtime_ns)

    def _settle(self, file: FoundFile, *, takes: bool) -> None:
        """Take a file that has stopped growing, or go on with what was begun."""
        if file.size == 0 or self._natively(self._marker(file).exists):
            # An empty file is one whose copy has not begun, or that somebody only touched.
            self._done.add(file)
            return
        job = self._jobs.find_submitted(file.key, file.key)
        if job is None:
            if takes:
                self._take(file)
        elif job.status.is_final:
            self._deliver(file, job)

    def _take(self, file: FoundFile) -> None:
        upload = self._jobs.begin_upload(expected_bytes=file.size)
        try:
            if not self._natively(lambda: self._copy(file, upload.path)):
                self._jobs.abandon_upload(upload)
                return
            job = self._jobs.submit(
                upload,
                self._request(),
                file_name=visible(Path(file.name).name)[:_LONGEST_NAME],
                request_id="watch",
                terms=SubmissionTerms(priority=PRIORITY, idempotency_key=file.key, fingerprint=file.key),
            )
        except TranscriberError:
            self._jobs.abandon_upload(upload)
            raise
        logger.info("watched_file_taken", job_id=job.id, size_bytes=file.size)

    def _copy(self, file: FoundFile, place: Path) -> bool:
        """The file into the spool: as a second name where the disk allows it. False: it has changed meanwhile."""
        source = self._settings.folder / file.name
        try:
            os.link(source, place, follow_symlinks=False)
        except OSError:
            with storage_errors():
                try:
                    shutil.copyfile(source, place, follow_symlinks=False)
                except FileNotFoundError:
                    return False
        return self._is_unchanged(file)

    def _is_unchanged(self, file: FoundFile) -> bool:
        try:
            return self._found(self._settings.folder / file.name) == file
        except OSError:
            return False

    def _deliver(self, file: FoundFile, job: Job) -> None:
        """Put what came of it where people look, then mark the file done."""
        if job.status is JobStatus.SUCCEEDED:
            transcription = self._jobs.transcription(job.id)
            self._natively(lambda: self._write(file, transcription))
        elif job.status is JobStatus.FAILED and job.error is not None:
            error = job.error
            self._natively(lambda: self._write_error(file, error))
        self._natively(lambda: self._mark(file, job.id))
        self._done.add(file)
        logger.info("watched_file_done", job_id=job.id, status=job.status.value)

    def _write(self, file: FoundFile, transcription: Transcription) -> None:
        if not self._is_unchanged(file):
            return  # what is there now is taken anew
        language = transcription.language or "und"
        for ending, render in self._settings.formats.items():
            self._put(file, f"{language}.{ending}", render(transcription))
        with storage_errors():
            self._error_path(file).unlink(missing_ok=True)

    def _put(self, file: FoundFile, ending: str, data: bytes) -> None:
        """Write a transcript under the first name that is free, or holds one of ours for the same file.

        Players find `film.en.srt` beside `film.mkv`. One that somebody made or edited, or that is another file's, stays.
        """
        place = self._place(file)
        names = itertools.chain(
            (_fitting(place.stem, ending), _fitting(place.name, ending)),
            (_fitting(place.name, f"{number}.{ending}") for number in itertools.count(2)),
        )
        for path in map(place.with_name, names):
            note = self._settings.markers / "written" / _digest(str(path).encode("utf-8", "surrogateescape"))
            try:
                there = path.read_bytes()
            except FileNotFoundError:
                there = None
            except IsADirectoryError:
                continue
            if there in (None, data) or read_small(note) == _note(file, there or b""):
                write_whole(path, data, mode=SHARED_FILE)
                write_small(note, _note(file, data))
                return

    def _write_error(self, file: FoundFile, error: JobError) -> None:
        if self._is_unchanged(file):
            text = f"{error.code}: {error.message}\n{error.fix}\n"
            write_whole(self._error_path(file), text.encode(), mode=SHARED_FILE)

    def _place(self, file: FoundFile) -> Path:
        """Beside the file, or at the same place in the output folder, which is made."""
        if self._settings.output is None:
            return self._settings.folder / file.name
        place = self._settings.output / file.name
        with storage_errors():
            place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def _error_path(self, file: FoundFile) -> Path:
        place = self._place(file)
        return place.with_name(_fitting(place.name, "error.txt"))

    def _marker(self, file: FoundFile) -> Path:
        return self._settings.markers / file.key.removeprefix("watch ")

    def _mark(self, file: FoundFile, job_id: str) -> None:
        write_small(self._marker(file), job_id.encode())


def _fitting(name: str, ending: str) -> str:
    """The name with this ending; a name that a disk would not take with it is cut."""
    while name and len(os.fsencode(f"{name}.{ending}")) > _LONGEST_NAME_BYTES:
        name = name[:-1]
    return f"{name}.{ending}"


def _note(file: FoundFile, data: bytes) -> bytes:
    """What is kept of a transcript that was written: whose it is, and what it was."""
    return f"{_digest(data)} {file.name}".encode("utf-8", "surrogateescape")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
