"""The operator's output folder: every finished transcript as NAME.JOBID.txt and .json."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

from ...domain.answer import transcription_to_json
from ...domain.file_names import visible, without_ending
from ...domain.transcript import Transcription
from ...system.durable_files import SHARED_FILE, SHARED_FOLDER, make_folder, storage_errors, write_whole
from ..ids import checked_job_id

#: A file name has at most 255 bytes; what the job id and the extension need stays free.
MAX_STEM_BYTES = 160

#: Characters that mean something to a shell, a path or another system's file names.
_RESERVED = re.compile(r'[<>:"/\\|?*]')


class OutputFolder:
    """Writes finished transcripts where the operator wants them. Blocks on fsync."""

    def __init__(self, path: Path) -> None:
        """Creates the folder if need be. Raises ConfigError."""
        make_folder(path, "TRANSCRIPTION_OUTPUT_DIR", mode=SHARED_FOLDER)
        self._path = path

    def write(self, transcription: Transcription, file_name: str) -> tuple[Path, Path]:
        """Put both files in place, each whole or not at all. Raises StorageFullError, StorageFailedError."""
        text_path, json_path = self._paths(transcription.job_id, file_name)
        write_whole(text_path, f"{transcription.text.strip()}\n".encode(), mode=SHARED_FILE)
        write_whole(json_path, transcription_to_json(transcription).encode(), mode=SHARED_FILE)
        return text_path, json_path

    def remove(self, job_id: str, file_name: str) -> None:
        """Delete both files; fine when they are not there. Raises StorageFailedError."""
        with storage_errors():
            # By the job, not by the name: an earlier release may have made another one of it.
            for path in self._path.glob(f"*.{checked_job_id(job_id)}.*"):
                path.unlink(missing_ok=True)

    def _paths(self, job_id: str, file_name: str) -> tuple[Path, Path]:
        name = f"{safe_stem(file_name)}.{checked_job_id(job_id)}"
        return self._path / f"{name}.txt", self._path / f"{name}.json"


def safe_stem(file_name: str) -> str:
    """The user's file name as the start of ours: last part, without extension, nothing that can harm."""
    last = re.split(r"[/\\]", file_name)[-1]
    stem = " ".join(visible(unicodedata.normalize("NFC", without_ending(last))).split())
    tidy = _cut(_RESERVED.sub("_", stem).strip(" .-"), MAX_STEM_BYTES).strip(" .-")
    return visible(tidy) or "audio"


def _cut(text: str, size_bytes: int) -> str:
    """As many whole characters as fit into this many bytes of UTF-8."""
    return text.encode()[:size_bytes].decode(errors="ignore")
