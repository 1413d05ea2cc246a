"""Uploads that arrive in parts and may be cut off: their bytes lie in the spool, with a note beside them.

The upload's id is that of the job it will become. Before it becomes one its note is put aside (a claim), so that
what has a note is no job, and can be removed when it has rested for too long. A claim whose process died, or whose
store could not say what became of it, is settled by the job store: the upload is a job, or an upload again.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import structlog

from ...domain.errors import (
    StorageFailedError,
    StorageFullError,
    TooManyUploadsError,
    UploadIncompleteError,
    UploadNotFoundError,
    UploadOffsetError,
)
from ...domain.ports import Clock
from ...system.durable_files import PRIVATE_FILE, storage_errors, sync_path, write_whole
from ..ids import is_job_id
from .spool import Spool

logger = structlog.get_logger(__name__)

Answer = TypeVar("Answer")

#: Unfinished uploads at a time: each holds a folder and a few kilobytes, whether bytes come or not.
MAX_UNFINISHED = 1000

#: With all places taken, a newcomer gets one from the owner who has the most and more than the newcomer, if it has
#: rested for this long; and from anybody, if it has rested for an hour.
RESTED = timedelta(minutes=1)
RESTED_LONG = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class ResumableUpload:
    """How far an upload is. offset and length in bytes; it is removed after `expires_at` if nothing more comes."""

    id: str
    length: int
    offset: int
    file_name: str
    expires_at: datetime
    #: The key that began it; None: it belongs to the admins.
    key_id: str | None = None

    @property
    def is_complete(self) -> bool:
        return self.offset == self.length


@dataclass(frozen=True, kw_only=True, slots=True)
class Resting:
    """An unfinished upload that no connection writes to."""

    id: str
    owner: str
    size_bytes: int
    rested: timedelta


def find_displaced(resting: Sequence[Resting], owner: str) -> Resting | None:
    """The upload that makes way for a newcomer of this owner, with all places taken; None: the newcomer waits.

    So nobody can keep the others out by uploads that cost nothing: of the greatest holder's, the one with the fewest
    bytes goes, and of those the one that has rested longest.
    """
    held = Counter(upload.owner for upload in resting)
    may_go = [
        upload
        for upload in resting
        if upload.rested >= RESTED_LONG or (upload.rested >= RESTED and held[upload.owner] > held[owner] + 1)
    ]
    return min(may_go, key=lambda one: (-held[one.owner], one.size_bytes, -one.rested), default=None)


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
        self,
        *,
        spool: Spool,
        native: Executor,
        keep: timedelta,
        begin: Callable[[int, str | None], str],
        is_job: Callable[[str], bool],
        clock: Clock,
    ) -> None:
        """`begin`: reserves that many bytes in the spool, with all its checks, and returns the id.

        `is_job`: whether the store has a job of this id; raises StorageFullError, StorageFailedError.
        """
        self._spool = spool
        self._native = native
        self._keep = keep
        self._begin = begin
        self._is_job = is_job
        self._clock = clock
        self._lock = threading.Lock()
        self._turns: dict[str, UploadTurn] = {}
        #: Uploads that are being made jobs by this process.
        self._claims: set[str] = set()
        #: Those begun since the last count, which reads all folders; some may be gone.
        self._begun: set[str] = set()

    def settle_all(self) -> None:
        """At start, before orphans are removed: finish what an earlier process left between upload and job."""
        for upload_id in self._natively(self._spool.noted):
            self._settle(upload_id)
        self._begun = set(self._natively(self._spool.resting))

    def create(
        self, length: int, file_name: str, owner: str = "", *, key_id: str | None = None
    ) -> ResumableUpload:
        """Begin an upload of `length` bytes; places are shared among owners. Raises TooManyUploadsError and what `begin` raises."""
        self._natively(self._make_way, owner)
        upload_id = self._begin(length, key_id)
        try:
            note = {"length": length, "file_name": file_name, "owner": owner, "key_id": key_id}
            self._natively(self._write_note, upload_id, note)
        except BaseException:
            self._natively(self._spool.remove, upload_id)
            raise
        self._begun.add(upload_id)
        return self.get(upload_id)

    def get(self, upload_id: str) -> ResumableUpload:
        """How far it is. Raises UploadNotFoundError."""
        if not is_job_id(upload_id):
            raise UploadNotFoundError()
        path = self._spool.note_path(upload_id)
        self._settle_if_left(upload_id)
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
            key_id=note.get("key_id"),
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
        with self._lock:
            if upload_id in self._claims:
                raise UploadNotFoundError()
            self._claims.add(upload_id)
        try:
            with storage_errors():
                try:
                    self._spool.note_path(upload_id).rename(self._spool.claim_path(upload_id))
                except FileNotFoundError:
                    raise UploadNotFoundError() from None
            yield upload
            self._spool.claim_path(upload_id).unlink(missing_ok=True)
        except BaseException:
            # The job may be stored all the same. Where the store can't say, the claim stays for a later look.
            with suppress(StorageFailedError, StorageFullError):
                self._settle(upload_id)
            raise
        finally:
            with self._lock:
                self._claims.discard(upload_id)

    def _settle_if_left(self, upload_id: str) -> None:
        """Settle a claim without an owner."""
        with self._lock:
            is_held = upload_id in self._claims
        if not is_held and self._spool.claim_path(upload_id).exists():
            self._settle(upload_id)

    def _settle(self, upload_id: str) -> None:
        """Make it what the store says: a job, or an upload."""
        is_job = self._is_job(upload_id)
        note, claim = self._spool.note_path(upload_id), self._spool.claim_path(upload_id)
        with storage_errors():
            if is_job:
                note.unlink(missing_ok=True)
                claim.unlink(missing_ok=True)
                return
            try:
                claim.rename(note)
            except FileNotFoundError:
                return
        logger.info("upload_claim_undone", upload_id=upload_id)

    def _make_way(self, owner: str) -> None:
        """Have a place for one more. Raises TooManyUploadsError."""
        if len(self._begun) < MAX_UNFINISHED:
            return
        last_bytes = self._spool.resting()
        self._begun = set(last_bytes)
        if len(last_bytes) < MAX_UNFINISHED:
            return
        found = [self._resting(upload_id, at) for upload_id, at in last_bytes.items()]
        displaced = find_displaced([upload for upload in found if upload is not None], owner)
        if displaced is None:
            raise TooManyUploadsError()
        self._spool.remove(displaced.id)
        logger.warning("unfinished_upload_displaced", upload_id=displaced.id, size_bytes=displaced.size_bytes)

    def _resting(self, upload_id: str, last_byte_at: float) -> Resting | None:
        """None for one that a connection writes to, or that has gone meanwhile."""
        with self._lock:
            if upload_id in self._turns:
                return None
        try:
            note = json.loads(self._spool.note_path(upload_id).read_text())
            size_bytes = self._spool.upload_path(upload_id).stat().st_size
        except (OSError, ValueError):
            return None
        rested = timedelta(seconds=self._clock.age(datetime.fromtimestamp(last_byte_at, UTC)))
        return Resting(id=upload_id, owner=note.get("owner", ""), size_bytes=size_bytes, rested=rested)

    def _write_note(self, upload_id: str, note: dict[str, object]) -> None:
        path = self._spool.note_path(upload_id)
        with storage_errors():
            self._spool.upload_path(upload_id).touch(mode=PRIVATE_FILE)
        write_whole(path, json.dumps(note).encode())
        with storage_errors():
            sync_path(path.parent.parent)

    def _natively(self, work: Callable[..., Answer], *arguments: object) -> Answer:
        return self._native.submit(work, *arguments).result()
