"""The spool: one folder for each job with its upload and its work. No name a user gave is ever on disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ...domain.errors import StorageFullError, UploadGoneError
from ...system.durable_files import make_folder, size_of_files, storage_errors, sync_path
from ..ids import checked_job_id, is_job_id, new_job_id

__all__ = ["Spool", "find_free_bytes", "free_bytes", "is_job_id", "new_job_id"]

#: How the names of the recordings of known speakers begin.
_REFERENCE = "reference-"


class Spool:
    """Uploads and work files under `root`, with `reserve_bytes` of the disk left to everyone else.

    commit, take_over, drop_work, remove, sweep and the sizes may block on the disk: call them in a native thread.
    """

    def __init__(self, root: Path, reserve_bytes: int) -> None:
        """Creates `root` if need be. Raises ConfigError."""
        make_folder(root, "WHISPER_DATA_DIR")
        self._root = root
        self._reserve_bytes = reserve_bytes

    def create(self, job_id: str) -> Path:
        """A new folder for this job, for our user alone. Raises StorageFullError, StorageFailedError."""
        folder = self._folder(job_id)
        with storage_errors():
            folder.mkdir(mode=0o700)
        return folder

    def upload_path(self, job_id: str) -> Path:
        """Where the upload is written; it has no extension, so nothing can be read from its name."""
        return self._folder(job_id) / "upload"

    def reference_path(self, job_id: str, number: int) -> Path:
        """Where a recording of a known speaker is, which came with the upload."""
        return self._folder(job_id) / f"{_REFERENCE}{number}"

    def reference_paths(self, job_id: str) -> tuple[Path, ...]:
        """The recordings of known speakers that came with the upload."""
        return tuple(sorted(self._folder(job_id).glob(f"{_REFERENCE}*")))

    def pcm_path(self, job_id: str) -> Path:
        """Where the decoder writes the samples."""
        return self._folder(job_id) / "audio.pcm"

    def journal_path(self, job_id: str) -> Path:
        """Where a running job notes its finished windows."""
        return self._folder(job_id) / "journal"

    def note_path(self, job_id: str) -> Path:
        """What is known of an upload that arrives in parts, for as long as it is no job (jobs/files/resumable.py)."""
        return self._folder(job_id) / "resumable"

    def claim_path(self, job_id: str) -> Path:
        """That note, while the upload is made a job."""
        return self._folder(job_id) / "claimed"

    def noted(self) -> tuple[str, ...]:
        """Uploads with a note or a claim."""
        return tuple(
            job_id
            for job_id in sorted(self.ids())
            if self.note_path(job_id).exists() or self.claim_path(job_id).exists()
        )

    def resting(self) -> dict[str, float]:
        """Uploads that arrive in parts and are no jobs yet, with the Unix time of their last byte."""
        found = ((job_id, self._last_byte_at(job_id)) for job_id in self.ids())
        return {job_id: at for job_id, at in found if at is not None}

    def commit(self, job_id: str) -> None:
        """Put what was sent on disk for good: the files, their folder and the folder's name."""
        with storage_errors():
            for path in (self.upload_path(job_id), *self.reference_paths(job_id)):
                sync_path(path)
            sync_path(self._folder(job_id))
            sync_path(self._root)

    def take_over(self, source_id: str, job_id: str) -> None:
        """Give a job that has a folder what was sent with another one; the bytes are shared, not copied.

        Raises UploadGoneError, StorageFailedError.
        """
        with storage_errors():
            try:
                for path in (self.upload_path(source_id), *self.reference_paths(source_id)):
                    os.link(path, self._folder(job_id) / path.name)
            except FileNotFoundError as error:
                raise UploadGoneError() from error

    def free_bytes(self) -> int:
        """Bytes that uploads may still take."""
        return free_bytes(self._root, self._reserve_bytes)

    def check_room(self, size_bytes: int) -> None:
        """Raises StorageFullError when this many bytes more would eat into the reserve."""
        free = self.free_bytes()
        if free == 0:
            raise StorageFullError(
                f"The disk of the data folder has no room besides its reserve of {self._reserve_bytes:,} bytes."
            )
        if size_bytes > free:
            raise StorageFullError(f"There is room for {free:,} bytes more, and {size_bytes:,} are needed.")

    def ids(self) -> frozenset[str]:
        """The jobs that have a folder. Foreign names are left out."""
        with storage_errors():
            return frozenset(name for name in os.listdir(self._root) if is_job_id(name))

    def size_bytes(self, job_id: str) -> int:
        """What the job's files take; 0 when there are none."""
        with storage_errors():
            return size_of_files(self._folder(job_id))

    def used_bytes(self) -> int:
        """What the files of all jobs take."""
        return sum(self.size_bytes(job_id) for job_id in self.ids())

    def drop_work(self, job_id: str) -> None:
        """Delete all that the work left (samples, journal) and keep what was sent; fine when nothing is there."""
        kept = self.upload_path(job_id)
        with storage_errors(), suppress(FileNotFoundError):
            for path in kept.parent.iterdir():
                if path != kept and not path.name.startswith(_REFERENCE):
                    path.unlink(missing_ok=True)

    def remove(self, job_id: str) -> None:
        """Delete the job's folder; fine when it is not there."""
        with storage_errors():
            _remove_tree(self._folder(job_id))

    def sweep(self, known_ids: Iterable[str]) -> tuple[str, ...]:
        """Delete the folders of unknown jobs; returns their ids. Leaves foreign files alone."""
        unknown = tuple(sorted(self.ids() - frozenset(known_ids)))
        for job_id in unknown:
            self.remove(job_id)
        return unknown

    def _last_byte_at(self, job_id: str) -> float | None:
        with storage_errors():
            try:
                noted_at = self.note_path(job_id).stat().st_mtime
                return max(noted_at, self.upload_path(job_id).stat().st_mtime)
            except (FileNotFoundError, NotADirectoryError):
                return None

    def _folder(self, job_id: str) -> Path:
        return self._root / checked_job_id(job_id)


def free_bytes(folder: Path, reserve_bytes: int) -> int:
    """Bytes that are free on the folder's disk besides what is left to others. Raises StorageFailedError."""
    with storage_errors():
        return max(0, shutil.disk_usage(folder).free - reserve_bytes)


def find_free_bytes(folder: Path) -> int | None:
    """Bytes that are free on the folder's disk; None where it does not say."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _remove_tree(folder: Path) -> None:
    # Somebody else may be removing files in it at this moment (drop_work): then the rest is still to be removed.
    while folder.exists():
        with suppress(FileNotFoundError):
            shutil.rmtree(folder)
