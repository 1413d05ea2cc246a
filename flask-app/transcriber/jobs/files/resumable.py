"""Uploads that arrive in parts and may be cut off: their bytes lie in the spool, with a note beside them.

The upload's id is that of the job it will become. Before it becomes one its note is put aside, so that what has
a note is no job, and can be removed when it has rested for too long.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from ...domain.errors import (
    StorageFailedError,
    StorageFullError,
    TooManyUploadsError,
    UploadIncompleteError,
    UploadNotFoundError,
    UploadOffsetError,
)
from ...system.durable_files import PRIVATE_FILE, storage_errors, sync_path, write_whole
from ..ids import is_job_id
from .spool import Spool

Answer = TypeVar("Answer")

#: Unfinished uploads at a time: each holds a folder and a few kilobytes, whether bytes come or not.
MAX_UNFINISHED = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class ResumableUpload:
    """How far an upload is. offset and length in bytes; it is removed after `expires_at` if nothing more comes."""

    id: str
    length: int
    offset: int
    file_name: str
    expires_at: datetime

    @property
    def is_complete(self) -> bool:
        return self.offset == self.length


class UploadTurn:
    """One connection's right to write to an upload, until a newer connection takes it."""

    def __init__(self, path: Path, room: int, let_go: Callable[[], None]) -> None:
        """`room`: bytes that still belong to the upload. `let_go` ends the connection; called from another thread."""
        self._lock = threading.Lock()
        self._room = room
        self._let_go = let_go
        self._is_lost = False
        with storage_errors():
            # Without a buffer: what counts as received is in the file, whoever asks.
            self._file = path.open("ab", buffering=0)

    def write(self, data: bytes) -> None:
        """Append. Raises UploadOffsetError when there is more than belongs, or the turn is lost; StorageFullError."""
        with self._lock:
            if self._is_lost:
                raise UploadOffsetError("Another connection goes on with this upload.")
            if len(data) > self._room:
                raise UploadOffsetError("More bytes came than the upload was announced with.")
            self._room -= len(data)
            with storage_errors():
                while data:
                    data = data[self._file.write(data) :]

    def take_away(self) -> None:
        """From now on nothing is written here any more."""
        with self._lock:
            self._is_lost = True
        self._let_go()

    def close(self) -> None:
        with storage_errors():
            self._file.close()


class ResumableUploads:
    """Keeps uploads that arrive in parts. Safe to call from any thread."""

    def __init__(
        self, *, spool: Spool, native: Executor, keep: timedelta, begin: Callable[[int], str]
    ) -> None:
        """`begin`: reserves a place of so many bytes in the spool, with all its checks, and gives its id."""
        self._spool = spool
        self._native = native
        self._keep = keep
        self._begin = begin
        self._lock = threading.Lock()
        self._turns: dict[str, UploadTurn] = {}

    def create(self, length: int, file_name: str) -> ResumableUpload:
        """Begin an upload of so many bytes. Raises TooManyUploadsError and what `begin` raises."""
        if len(self._natively(self._spool.resting)) >= MAX_UNFINISHED:
            raise TooManyUploadsError()
        upload_id = self._begin(length)
        try:
            self._natively(self._write_note, upload_id, length, file_name)
        except BaseException:
            self._natively(self._spool.remove, upload_id)
            raise
        return self.get(upload_id)

    def get(self, upload_id: str) -> ResumableUpload:
        """How far it is. Raises UploadNotFoundError."""
        if not is_job_id(upload_id):
            raise UploadNotFoundError()
        path = self._spool.note_path(upload_id)
        with storage_errors():
            try:
                note, noted_at = json.loads(path.read_text()), path.stat().st_mtime
                stat = self._spool.upload_path(upload_id).stat()
            except (FileNotFoundError, ValueError):
                raise UploadNotFoundError() from None
        return ResumableUpload(
            id=upload_id,
            length=note["length"],
            offset=stat.st_size,
            file_name=note["file_name"],
            expires_at=datetime.fromtimestamp(max(noted_at, stat.st_mtime), UTC) + self._keep,
        )

    def path(self, upload_id: str) -> Path:
        """Where its bytes are."""
        return self._spool.upload_path(upload_id)

    @contextmanager
    def turn(self, upload_id: str, offset: int, let_go: Callable[[], None]) -> Iterator[UploadTurn]:
        """The right to append from `offset` on. Who had it loses it: his connection is the older one, and mostly dead.

        Raises UploadNotFoundError, UploadOffsetError.
        """
        self.interrupt(upload_id)
        upload = self.get(upload_id)
        if offset != upload.offset:
            raise UploadOffsetError(f"The upload has {upload.offset} bytes; these begin at {offset}.")
        turn = UploadTurn(self._spool.upload_path(upload_id), upload.length - offset, let_go)
        with self._lock:
            self._turns[upload_id] = turn
        try:
            yield turn
        finally:
            turn.close()
            with self._lock:
                if self._turns.get(upload_id) is turn:
                    del self._turns[upload_id]

    def interrupt(self, upload_id: str) -> None:
        """Take the turn from whoever has it, so that what is here stays as it is."""
        with self._lock:
            turn = self._turns.pop(upload_id, None)
        if turn is not None:
            turn.take_away()

    def remove(self, upload_id: str) -> None:
        """End an upload and delete its bytes. Raises UploadNotFoundError."""
        self.get(upload_id)
        self.interrupt(upload_id)
        self._natively(self._spool.remove, upload_id)

    @contextmanager
    def claimed(self, upload_id: str) -> Iterator[ResumableUpload]:
        """A whole upload, to be made a job while the body of the `with` runs; if that fails it stays an upload.

        Raises UploadNotFoundError (also for one that somebody else claims), UploadIncompleteError.
        """
        upload = self.get(upload_id)
        if not upload.is_complete:
            raise UploadIncompleteError(f"{upload.offset} of {upload.length} bytes are here.")
        note = self._spool.note_path(upload_id)
        aside = note.with_name("claimed")
        with storage_errors():
            try:
                note.rename(aside)
            except FileNotFoundError:
                raise UploadNotFoundError() from None
        try:
            yield upload
        except (StorageFailedError, StorageFullError):
            # It may have become a job all the same, which nobody was told of: it can't be both.
            self._natively(self._spool.remove, upload_id)
            raise
        except BaseException:
            with suppress(FileNotFoundError):
                aside.rename(note)
            raise
        aside.unlink(missing_ok=True)

    def _write_note(self, upload_id: str, length: int, file_name: str) -> None:
        path = self._spool.note_path(upload_id)
        with storage_errors():
            self._spool.upload_path(upload_id).touch(mode=PRIVATE_FILE)
        write_whole(path, json.dumps({"length": length, "file_name": file_name}).encode())
        with storage_errors():
            sync_path(path.parent.parent)

    def _natively(self, work: Callable[..., Answer], *arguments: object) -> Answer:
        return self._native.submit(work, *arguments).result()
