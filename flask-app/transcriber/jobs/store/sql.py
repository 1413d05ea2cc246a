"""The job store over a SQL database: what SQLite and PostgreSQL have in common (ADR 0003, 0022)."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Connection, Delete, Select, Update
from sqlalchemy.exc import IntegrityError

from ...domain.errors import JobNotFoundError, SearchTimeoutError
from ...domain.jobs import Delivery, Job, JobError, JobStatus, require_final
from ...domain.ports import Excerpt, JobPage
from . import queries
from .database import Database, TextIndex
from .pages import page_of
from .rows import JobRows
from .sql_keys import SqlKeys
from .sql_outbox import SqlOutbox
from .sql_transcripts import SqlTranscripts

logger = structlog.get_logger(__name__)

#: A search that takes longer is broken off.
SEARCH_SECONDS = 5.0


class SqlJobStore:
    """JobStore over `database`, which it closes. Safe to call from any thread."""

    def __init__(self, database: Database, texts: TextIndex) -> None:
        self._database = database
        self._texts = texts
        self._rows = JobRows()
        #: The webhook messages of these jobs.
        self.outbox = SqlOutbox(database)
        #: Who may ask.
        self.keys = SqlKeys(database.transaction)
        #: What people made of their transcripts, and the index over them.
        self.transcripts = SqlTranscripts(database, texts)

    def add(self, job: Job) -> Job:
        """Store a new job; on return it is on disk, and has its number.

        An idempotency key that is taken gives back the job that has it. Raises ValueError for an id that is taken.
        """
        try:
            return self._database.transaction(lambda connection: self._add(connection, job))
        except IntegrityError as error:
            # Of two that come with one key at the same moment, the database takes one.
            earlier = None if job.idempotency_key is None else self.find_by_key(job.idempotency_key)
            if earlier is not None:
                return earlier
            raise ValueError(f"job {job.id} exists, or breaks a rule of the table") from error

    def get(self, job_id: str) -> Job:
        """The job. Raises JobNotFoundError."""
        job = self._read_one(queries.select_job(job_id))
        if job is None:
            raise JobNotFoundError(f"There is no job {job_id[:80]}.")
        return job

    def find_by_key(self, idempotency_key: str) -> Job | None:
        """The job that was submitted with this key."""
        return self._read_one(queries.select_job_by_key(idempotency_key))

    def claim(self, job_id: str, now: datetime) -> Job | None:
        """queued → running with attempts + 1; None if it is not queued any more."""
        return self._find(queries.claim_job(job_id, now))

    def finish(
        self,
        job_id: str,
        attempt: int,
        status: JobStatus,
        now: datetime,
        *,
        error: JobError | None = None,
        delivery: Delivery | None = None,
        text: str | None = None,
    ) -> bool:
        """running → a final status, if `attempt` is still the current one; else nothing and False."""
        require_final(status)
        statement = queries.finish_job(job_id, attempt, status, now, error)
        return self._end(statement, delivery, None if text is None else (job_id, text))

    def requeue(self, job_id: str, attempt: int) -> bool:
        """running → queued, if `attempt` is still the current one; else nothing and False."""
        return self._change(queries.requeue_job(job_id, attempt))

    def cancel_queued(self, job_id: str, now: datetime, *, delivery: Delivery | None = None) -> bool:
        """queued → cancelled; False if it is not queued any more."""
        return self._end(queries.cancel_queued_job(job_id, now), delivery)

    def retry(self, job_id: str) -> Job | None:
        """failed → queued with its error, faults and kills wiped; None if it has not failed, or has no upload."""
        return self._find(queries.retry_job(job_id))

    def note(
        self,
        job_id: str,
        attempt: int,
        *,
        duration: float | None = None,
        size_bytes: int | None = None,
        engine_faults: int | None = None,
        engine_kills: int | None = None,
    ) -> bool:
        """Keep what became known of a running job; False if `attempt` is not the current one."""
        values = {
            "duration": duration,
            "size_bytes": size_bytes,
            "engine_faults": engine_faults,
            "engine_kills": engine_kills,
        }
        known = {name: value for name, value in values.items() if value is not None}
        return self._change(queries.note_job(job_id, attempt, known))

    def note_upload_removed(self, job_id: str, *, attempt: int | None = None) -> bool:
        """Give up the upload of a job that has ended; False for any other, and where there is none."""
        return self._change(queries.note_upload_removed(job_id, attempt))

    def list_jobs(self, *, statuses: tuple[JobStatus, ...] = (), limit: int = 50) -> list[Job]:
        """Newest first; all statuses when none is given."""
        return self._list(queries.select_jobs(statuses, limit))

    def page(
        self,
        *,
        statuses: tuple[JobStatus, ...] = (),
        before: int | None = None,
        limit: int = 50,
        search: str = "",
        owner: str | None = None,
    ) -> JobPage:
        """Jobs numbered below `before`, newest first; with `search` those that have it in their name or text."""
        # One more than asked for shows whether there is a next page.
        if search:
            return self._search(statuses, limit, before, search, owner)
        return page_of(self._list(queries.select_jobs(statuses, limit + 1, before, owner)), limit)

    def rename(self, job_id: str, title: str) -> Job:
        """Give the job another name. Raises JobNotFoundError."""
        job = self._find(queries.rename_job(job_id, title))
        if job is None:
            raise JobNotFoundError(f"There is no job {job_id[:80]}.")
        return job

    def counts(self, *, owner: str | None = None) -> dict[JobStatus, int]:
        """How many jobs have each status."""
        statement = queries.count_jobs(owner)
        rows = self._database.read(lambda connection: connection.execute(statement).all())
        return dict.fromkeys(JobStatus, 0) | {JobStatus(status): count for status, count in rows}

    def check_writable(self) -> None:
        """Write, and change nothing. Raises StorageFullError, StorageFailedError, ShuttingDownError."""
        self._database.check_writable()

    def purge(self, job_id: str, *, attempt: int | None = None) -> bool:
        """Delete a job that has ended, with its deliveries; False if there is no such job."""
        return self._database.transaction(lambda connection: self._purge(connection, job_id, attempt))

    def ended_before(
        self,
        moment: datetime,
        limit: int = 100,
        *,
        status: JobStatus | None = None,
        has_upload: bool | None = None,
    ) -> list[Job]:
        """Jobs that ended earlier than this, oldest first: all of them, or those of this kind."""
        return self._list(queries.select_ended_jobs(moment, limit, status=status, has_upload=has_upload))

    def ids(self, *, statuses: tuple[JobStatus, ...] = (), has_upload: bool | None = None) -> frozenset[str]:
        """The ids of all jobs, or of those of this kind."""
        statement = queries.select_job_ids(statuses, has_upload)
        return self._database.read(lambda connection: frozenset(connection.execute(statement).scalars()))

    def close(self) -> None:
        """Close the database. A second call does nothing."""
        self._database.close()

    def _add(self, connection: Connection, job: Job) -> Job:
        if job.idempotency_key is not None:
            earlier = self._first(connection, queries.select_job_by_key(job.idempotency_key))
            if earlier is not None:
                return earlier
        key = connection.execute(queries.insert_job(self._rows.from_job(job))).inserted_primary_key
        return job.evolve(number=key[0] if key else 0)

    def _search(
        self,
        statuses: tuple[JobStatus, ...],
        limit: int,
        before: int | None,
        search: str,
        owner: str | None,
    ) -> JobPage:
        """The page, and where the words are: of both, what can be had in time. Raises SearchTimeoutError."""
        deadline = time.monotonic() + SEARCH_SECONDS
        statement = queries.search_jobs(
            statuses, limit + 1, before, search, self._texts.matching(search), owner
        )
        jobs = self._database.search(
            lambda connection: self._jobs(connection, statement),
            seconds=SEARCH_SECONDS,
            too_late=SearchTimeoutError,
        )
        page = page_of(jobs, limit)
        try:
            return replace(page, excerpts=self._excerpts(page.jobs, search, deadline - time.monotonic()))
        except SearchTimeoutError:
            logger.info("excerpts_left_out", jobs=len(page.jobs))
            return page

    def _excerpts(self, found: tuple[Job, ...], search: str, seconds: float) -> dict[str, Excerpt]:
        if not found:
            return {}
        ids = {job.number: job.id for job in found}
        excerpts = self._database.search(
            lambda connection: self._texts.excerpts(connection, list(ids), search),
            seconds=seconds,
            too_late=SearchTimeoutError,
        )
        return {ids[number]: excerpt for number, excerpt in excerpts.items()}

    def _end(self, statement: Update, delivery: Delivery | None, text: tuple[str, str] | None = None) -> bool:
        try:
            return self._database.transaction(
                lambda connection: self._end_in(connection, statement, delivery, text)
            )
        except IntegrityError as error:
            raise ValueError("the delivery exists, or breaks a rule of the table") from error

    def _change(self, statement: Update) -> bool:
        return self._database.transaction(lambda connection: _changes(connection, statement))

    def _find(self, statement: Update) -> Job | None:
        return self._database.transaction(lambda connection: self._first(connection, statement))

    def _first(self, connection: Connection, statement: Select[Any] | Update) -> Job | None:
        row = connection.execute(statement).mappings().first()
        return None if row is None else self._rows.to_job(dict(row))

    def _read_one(self, statement: Select[Any]) -> Job | None:
        return self._database.read(lambda connection: self._first(connection, statement))

    def _list(self, statement: Select[Any]) -> list[Job]:
        return self._database.read(lambda connection: self._jobs(connection, statement))

    def _jobs(self, connection: Connection, statement: Select[Any]) -> list[Job]:
        return [self._rows.to_job(dict(row)) for row in connection.execute(statement).mappings().all()]

    def _end_in(
        self,
        connection: Connection,
        statement: Update,
        delivery: Delivery | None,
        text: tuple[str, str] | None,
    ) -> bool:
        """A job's last change, the message about it, and its text for the index: all or none."""
        has_ended = _changes(connection, statement)
        if has_ended and delivery is not None:
            connection.execute(queries.insert_delivery(delivery))
        if has_ended and text is not None:
            self.transcripts.put(connection, *text)
        return has_ended

    def _purge(self, connection: Connection, job_id: str, attempt: int | None) -> bool:
        number = connection.execute(queries.select_number(job_id)).scalar()
        is_gone = _changes(connection, queries.delete_ended_job(job_id, attempt))
        if is_gone:
            connection.execute(queries.delete_deliveries(job_id))
            self.transcripts.drop(connection, job_id, number)
        return is_gone


def _changes(connection: Connection, statement: Update | Delete) -> bool:
    return connection.execute(statement).rowcount == 1
