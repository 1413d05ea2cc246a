"""Edited transcripts and their text in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ...domain.edits import Edit


class MemoryTranscripts:
    """TranscriptStore that forgets everything with its process. Safe to call from any thread."""

    def __init__(self, succeeded_ids: Callable[[], list[str]]) -> None:
        """`succeeded_ids`: the jobs that have a transcript, newest first."""
        self._succeeded_ids = succeeded_ids
        self._edits: dict[str, Edit] = {}
        self._texts: dict[str, str] = {}
        self._lock = threading.Lock()

    def find_edit(self, job_id: str) -> Edit:
        """The present revision; 0 for a transcript that was never edited."""
        return self._edits.get(job_id, Edit())

    def save_edit(self, job_id: str, edit: Edit, text: str) -> bool:
        """Keep `edit` if its revision follows the present one, and index its text."""
        has_transcript = job_id in self._succeeded_ids()
        with self._lock:
            if not has_transcript or edit.revision != self.find_edit(job_id).revision + 1:
                return False
            self._edits[job_id] = edit
            self._texts[job_id] = text
            return True

    def unindexed(self, limit: int = 50) -> list[str]:
        """The ids of jobs that succeeded and whose text is not in the index."""
        return [job_id for job_id in self._succeeded_ids() if job_id not in self._texts][:limit]

    def index(self, job_id: str, text: str) -> None:
        """Put the text of a job into the index, unless it is there; fine when the job is gone."""
        has_transcript = job_id in self._succeeded_ids()
        with self._lock:
            if has_transcript:
                self._texts.setdefault(job_id, text)

    def put(self, job_id: str, text: str) -> None:
        """The text of a job that ends well just now."""
        with self._lock:
            self._texts[job_id] = text

    def text_of(self, job_id: str) -> str:
        """What the index has of this job."""
        return self._texts.get(job_id, "")

    def drop(self, job_id: str) -> None:
        """Forget the job."""
        with self._lock:
            self._edits.pop(job_id, None)
            self._texts.pop(job_id, None)
