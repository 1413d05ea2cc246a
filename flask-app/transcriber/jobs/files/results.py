"""Finished transcriptions as JSON files, one a job, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ...domain.answer import transcription_from_dict, transcription_to_stored
from ...domain.errors import StorageFailedError
from ...domain.transcript import DeviceFacts, Transcription
from ...system.durable_files import make_folder, size_of_files, storage_errors, write_whole
from ..ids import checked_job_id, is_job_id


class FileResultStore:
    """ResultStore over `<root>/<job_id>.json`. It blocks on the disk: call it in a native thread."""

    def __init__(self, root: Path) -> None:
        """Creates `root`, and clears what a killed process left half-written. Raises ConfigError."""
        make_folder(root, "WHISPER_DATA_DIR")
        self._root = root
        for leftover in root.glob(".*.tmp"):
            with suppress(OSError):
                leftover.unlink()

    def save(self, transcription: Transcription) -> None:
        """Keep the answer; on return it is on disk. Raises StorageFullError, StorageFailedError."""
        data = transcription_to_stored(transcription).encode()
        write_whole(self._path(transcription.job_id), data)

    def find(self, job_id: str) -> Transcription | None:
        """The job's answer, None if there is none. Raises StorageFailedError when it can't be read."""
        with storage_errors():
            try:
                data = self._path(job_id).read_bytes()
            except FileNotFoundError:
                return None
        try:
            return transcription_from_dict(json.loads(data))
        except ValueError as error:
            raise StorageFailedError(
                f"The result of job {job_id} is damaged.",
                code="result_damaged",
                fix="Send the file again, or restore the results folder from a backup.",
            ) from error

    def find_devices(self, job_ids: Iterable[str]) -> dict[str, DeviceFacts]:
        """Where these jobs ran; without those that have no answer here, or none that can be read."""
        found = {}
        for job_id in job_ids:
            with suppress(OSError, ValueError, KeyError, TypeError):
                data = json.loads(self._path(job_id).read_bytes())
                found[job_id] = DeviceFacts(
                    gpu_used=data["gpu_used"], device=data["device"], compute_type=data["compute_type"]
                )
        return found

    def remove(self, job_id: str) -> None:
        """Delete the job's answer; fine when there is none."""
        with storage_errors():
            self._path(job_id).unlink(missing_ok=True)

    def ids(self) -> frozenset[str]:
        """The jobs that have an answer here. Foreign names are left out."""
        with storage_errors():
            return frozenset(path.stem for path in self._root.glob("job_*.json") if is_job_id(path.stem))

    def size_bytes(self, job_id: str) -> int:
        """What the job's answer takes; 0 when there is none."""
        with storage_errors():
            try:
                return self._path(job_id).stat().st_size
            except FileNotFoundError:
                return 0

    def used_bytes(self) -> int:
        """What all answers take."""
        with storage_errors():
            return size_of_files(self._root)

    def sweep(self, known_ids: Iterable[str]) -> tuple[str, ...]:
        """Delete the answers of unknown jobs; returns their ids. Leaves foreign files alone."""
        unknown = tuple(sorted(self.ids() - frozenset(known_ids)))
        for job_id in unknown:
            self.remove(job_id)
        return unknown

    def _path(self, job_id: str) -> Path:
        return self._root / f"{checked_job_id(job_id)}.json"
