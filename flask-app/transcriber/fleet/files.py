"""The files of jobs in a fleet: one folder that all nodes mount, and scratch of its own at each worker."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from ..domain.answer import transcription_to_stored
from ..domain.errors import UploadGoneError
from ..domain.transcript import Transcription
from ..jobs.files.results import FileResultStore
from ..jobs.files.spool import Spool
from ..jobs.ids import checked_job_id, is_job_id
from ..system.durable_files import storage_errors, write_whole


class SharedSpool(Spool):
    """The uploads of all nodes. `forget` is told where a job's work is dropped: what is done of it is elsewhere."""

    def __init__(self, root: Path, reserve_bytes: int, forget: Callable[[str], None]) -> None:
        super().__init__(root, reserve_bytes)
        self._forget = forget

    def drop_work(self, job_id: str) -> None:
        """Have the job begin anew."""
        self._forget(job_id)

    def copy_to(self, folder: Path, job_id: str) -> None:
        """Put the job's files into this new folder. Raises UploadGoneError, StorageFullError, StorageFailedError."""
        source = self.upload_path(job_id).parent
        notes = {self.note_path(job_id).name, self.claim_path(job_id).name}
        with storage_errors():
            try:
                files = [path for path in source.iterdir() if path.is_file() and path.name not in notes]
                for path in files:
                    shutil.copyfile(path, folder / path.name)
            except FileNotFoundError as error:
                raise UploadGoneError() from error


class ScratchSpool(Spool):
    """A worker's copies: nothing of a job stays once it has ended, or gone elsewhere."""

    def drop_work(self, job_id: str) -> None:
        """Delete the job's folder."""
        self.remove(job_id)


class AttemptResults(FileResultStore):
    """Results of all nodes, a file an attempt: one that was given up can't write over the one that counts.

    attempt_of: the attempt that counts, by the jobs table.
    """

    def __init__(self, root: Path, attempt_of: Callable[[str], int]) -> None:
        super().__init__(root)
        self._attempt_of = attempt_of

    def save_attempt(self, transcription: Transcription, attempt: int) -> None:
        """Keep the answer of this attempt; on return it is on disk."""
        path = self._path_of(transcription.job_id, attempt)
        write_whole(path, transcription_to_stored(transcription).encode())

    def remove(self, job_id: str) -> None:
        """Delete the answers of all attempts."""
        with storage_errors():
            for path in self._root.glob(f"{checked_job_id(job_id)}.*.json"):
                path.unlink(missing_ok=True)

    def ids(self) -> frozenset[str]:
        """The jobs that have an answer here."""
        with storage_errors():
            names = (path.name.partition(".")[0] for path in self._root.glob("job_*.json"))
            return frozenset(name for name in names if is_job_id(name))

    def _path(self, job_id: str) -> Path:
        return self._path_of(job_id, self._attempt_of(job_id))

    def _path_of(self, job_id: str, attempt: int) -> Path:
        return self._root / f"{checked_job_id(job_id)}.{attempt}.json"
