"""Edited transcripts and the full-text index, in the job store's own database."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from ...domain.answer import segment_from_dict, segment_to_dict, speakers_to_list
from ...domain.edits import Edit
from ...domain.errors import StorageFailedError
from ...domain.transcript import Segment, Speaker
from . import queries
from .database import Database, TextIndex


class SqlTranscripts:
    """TranscriptStore over the table edits and the full-text index."""

    def __init__(self, database: Database, texts: TextIndex) -> None:
        self._database = database
        self._texts = texts

    def find_edit(self, job_id: str) -> Edit:
        """The present revision; 0 for a transcript that was never edited."""
        row = self._database.read(
            lambda connection: connection.execute(queries.select_edit(job_id)).mappings().first()
        )
        return Edit() if row is None else _edit(dict(row))

    def save_edit(self, job_id: str, edit: Edit, text: str) -> bool:
        """Keep `edit` if its revision follows the present one, and index its text, in one transaction."""
        values = {
            "job_id": job_id,
            "revision": edit.revision,
            "edited_at": edit.edited_at,
            "segments": None if edit.segments is None else _to_json(edit.segments, edit.speakers),
        }
        return self._database.transaction(lambda connection: self._save(connection, values, text))

    def unindexed(self, limit: int = 50) -> list[str]:
        """The ids of jobs that succeeded and whose text is not in the index."""
        statement = self._texts.unindexed(limit)
        return self._database.read(lambda connection: list(connection.execute(statement).scalars()))

    def index(self, job_id: str, text: str) -> None:
        """Put the text of a job into the index, unless it is there; fine when the job is gone."""
        self._database.transaction(lambda connection: self.put(connection, job_id, text, replaces=False))

    def put(self, connection: Connection, job_id: str, text: str, *, replaces: bool = True) -> None:
        """Put the text of a job that succeeded into the index, in the caller's transaction."""
        number = connection.execute(queries.select_succeeded_number(job_id)).scalar()
        if number is not None and (replaces or not self._texts.has(connection, number)):
            self._texts.put(connection, number, text)

    def drop(self, connection: Connection, job_id: str, number: int | None) -> None:
        """Forget all that was made of a job's transcript, in the caller's transaction."""
        connection.execute(queries.delete_edit(job_id))
        self._texts.drop(connection, number)

    def _save(self, connection: Connection, values: Mapping[str, Any], text: str) -> bool:
        if connection.execute(queries.select_succeeded_number(values["job_id"])).first() is None:
            return False
        present = connection.execute(queries.select_edit(values["job_id"])).mappings().first()
        if values["revision"] != (1 if present is None else present["revision"] + 1):
            return False
        connection.execute(queries.insert_edit(values) if present is None else queries.update_edit(values))
        self.put(connection, values["job_id"], text)
        return True


def _to_json(segments: Sequence[Segment], speakers: Sequence[Speaker]) -> str:
    """Segments as a list; with speakers, an object of both."""
    shown = [segment_to_dict(segment) | {"has_words": segment.words is not None} for segment in segments]
    kept = {"segments": shown, "speakers": speakers_to_list(speakers)} if speakers else shown
    return json.dumps(kept, ensure_ascii=False, allow_nan=False)


def _edit(row: Mapping[str, Any]) -> Edit:
    if row["segments"] is None:
        return Edit(revision=row["revision"], edited_at=row["edited_at"])
    try:
        kept = json.loads(row["segments"])
        shown, told = (kept["segments"], kept["speakers"]) if isinstance(kept, dict) else (kept, ())
        segments = tuple(segment_from_dict(one) for one in shown)
        speakers = tuple(Speaker(**one) for one in told)
    except (ValueError, KeyError, TypeError) as error:
        raise StorageFailedError(
            f"The edited transcript of job {row['job_id']} is damaged.",
            code="result_damaged",
            fix="Restore the original, or the job store from a backup.",
        ) from error
    return Edit(revision=row["revision"], edited_at=row["edited_at"], segments=segments, speakers=speakers)
