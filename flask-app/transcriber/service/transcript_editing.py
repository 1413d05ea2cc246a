"""Finished transcripts in people's hands: edited, restored, compared, and found by their words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

import structlog

from ..domain.comparison import Comparison, compare
from ..domain.edits import Edit, EditedSegment, Transcript, apply_edit, speakers_of, with_edit
from ..domain.errors import TranscriberError, TranscriptChangedError
from ..domain.ports import Clock
from ..domain.transcript import Segment, Speaker, Transcription
from ..domain.work_budget import WorkBudget
from .completion import STORAGE_ERRORS, Storage

Answer = TypeVar("Answer")

logger = structlog.get_logger(__name__)


class TranscriptEditing:
    """Reads and changes transcripts. Safe to call from any thread."""

    def __init__(self, storage: Storage, find: Callable[[str], Transcription], clock: Clock) -> None:
        """`find`: the engine's own answer; raises JobNotFoundError, JobNotFinishedError, or the job's error."""
        self._storage = storage
        self._find = find
        self._clock = clock

    def get(self, job_id: str) -> Transcript:
        """The transcript as it is now. Raises as `find` does."""
        return with_edit(self._find(job_id), self._storage.transcripts.find_edit(job_id))

    def compute(self, work: Callable[[], Answer]) -> Answer:
        """Do this on a computing thread and wait for it: what is made of a transcript can take a while."""
        return self._storage.compute(work)

    def save(
        self,
        job_id: str,
        revision: int,
        segments: Sequence[EditedSegment],
        budget: WorkBudget | None = None,
        names: Mapping[str, str] = MappingProxyType({}),
    ) -> Transcript:
        """Replace the segments of this revision; names: of speakers, by id; the others keep theirs.

        Raises TranscriptChangedError, WorkLimitError, and as `find` does.
        """
        before = self._of_revision(job_id, revision)
        made = self._storage.compute(apply_edit, before.transcription.segments, segments, budget)
        return self._keep(job_id, revision, made, speakers_of(made, before.transcription.speakers, names))

    def restore(self, job_id: str, revision: int) -> Transcript:
        """Take the engine's own transcript back. Raises TranscriptChangedError, and as `find` does."""
        self._of_revision(job_id, revision)
        return self._keep(job_id, revision, None)

    def compare(self, left_id: str, right_id: str, budget: WorkBudget | None = None) -> Comparison:
        """Both transcripts, as they are now, side by side. Raises as `find` does."""
        left, right = self.get(left_id).transcription, self.get(right_id).transcription
        return self._storage.compute(compare, left.segments, right.segments, budget)

    def index_old(self, is_stopped: Callable[[], bool]) -> int:
        """Put transcripts of earlier versions into the index; returns how many."""
        count = 0
        while not is_stopped() and (job_ids := self._storage.transcripts.unindexed()):
            for job_id in job_ids:
                self._storage.transcripts.index(job_id, self._text_of(job_id))
            count += len(job_ids)
        if count:
            logger.info("transcripts_indexed", count=count)
        return count

    def _of_revision(self, job_id: str, revision: int) -> Transcript:
        present = self.get(job_id)
        if present.edit.revision != revision:
            raise TranscriptChangedError(
                f"The transcript is at revision {present.edit.revision}, not at {revision}."
            )
        return present

    def _keep(
        self,
        job_id: str,
        revision: int,
        segments: tuple[Segment, ...] | None,
        speakers: tuple[Speaker, ...] = (),
    ) -> Transcript:
        now = self._clock.now()
        edit = Edit(revision=revision + 1, edited_at=now, segments=segments, speakers=speakers)
        transcript = with_edit(self._find(job_id), edit)
        if not self._storage.transcripts.save_edit(job_id, edit, transcript.transcription.text):
            raise TranscriptChangedError()
        logger.info("transcript_saved", job_id=job_id, revision=edit.revision)
        return transcript

    def _text_of(self, job_id: str) -> str:
        """The text; nothing for a result that can't be read, so that it is not tried for ever."""
        try:
            return self.get(job_id).transcription.text
        except STORAGE_ERRORS as error:
            if error.code != "result_damaged":
                raise
            return ""
        except TranscriberError:  # it has just been removed
            return ""
