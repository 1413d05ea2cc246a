"""What is kept for how long: uploads, results and rows go by age and by disk budget, and all of a job on demand.

A job's files are written before the row that speaks of them and deleted after it. So no row speaks of a file
that is gone, and what a crash leaves over is a file without a row, which is not shown and which the next start removes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import structlog

from ..domain.jobs import Job, JobStatus
from ..domain.ports import Clock, JobStore
from .files.output import OutputFolder
from .files.results import FileResultStore
from .files.spool import Spool

logger = structlog.get_logger(__name__)

Answer = TypeVar("Answer")

#: Results younger than this stay, whatever the budget says: somebody is about to read them.
RESULT_GRACE = timedelta(minutes=10)

#: Also of jobs that seem to end in the future, since the clock was set back.
_ANY_TIME = datetime.max.replace(tzinfo=UTC)

_ENDED = tuple(status for status in JobStatus if status.is_final)
_UNFINISHED = tuple(status for status in JobStatus if not status.is_final)


@dataclass(frozen=True, kw_only=True, slots=True)
class Swept:
    """What one sweep removed, and the bytes of uploads and results that are left (None: not measured)."""

    uploads: int
    jobs: int
    used_bytes: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Orphans:
    """Files that no row spoke of, by the ids of their jobs."""

    uploads: tuple[str, ...]
    results: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Retention:
    """Removes what has been kept long enough, by time that really passed. Jobs that wait or run are never touched.

    Call it where the store may be called; what blocks on files runs on `native`.
    """

    store: JobStore
    results: FileResultStore
    spool: Spool
    clock: Clock
    native: Executor
    #: From the end of a job.
    keep_uploads: timedelta
    keep_results: timedelta
    #: For uploads and results together; None: as much as the disk has.
    disk_budget_bytes: int | None
    #: Of uploads that arrive in parts: from their last byte.
    keep_unfinished: timedelta = timedelta(hours=24)

    def sweep(self) -> Swept:
        """Remove what is too old, then the oldest until the rest is within the budget.

        Raises StorageFailedError, StorageFullError; what is removed by then stays removed.
        """
        before = self.clock.before
        self._natively(self._drop_resting, before(self.keep_unfinished).timestamp())
        uploads = sum(1 for job in self._with_upload(before(self.keep_uploads)) if self._drop_upload(job))
        jobs = sum(1 for job in self._ended(before(self.keep_results)) if self._purge(job))
        swept = Swept(uploads=uploads, jobs=jobs, used_bytes=None)
        if self.disk_budget_bytes is not None:
            swept = self._make_room(swept, self.disk_budget_bytes)
        if swept.uploads or swept.jobs:
            logger.info(
                "retention_swept", uploads=swept.uploads, jobs=swept.jobs, used_bytes=swept.used_bytes
            )
        return swept

    def sweep_orphans(self) -> Orphans:
        """Remove what a killed process left over. At start only: an upload that arrives has no row yet.

        Beside an empty store everything stays: rather than garbage, that is a folder whose database was moved away.
        """
        if not self.store.ids():
            return self._keep_orphans()
        orphans = Orphans(
            uploads=self._natively(self._sweep_uploads, self.store.ids(has_upload=True)),
            results=self._natively(
                self.results.sweep, self.store.ids(statuses=(*_UNFINISHED, JobStatus.SUCCEEDED))
            ),
        )
        self._natively(self._drop_work, self.store.ids(statuses=_ENDED))
        if orphans.uploads or orphans.results:
            logger.info("orphans_removed", uploads=len(orphans.uploads), results=len(orphans.results))
        return orphans

    def _sweep_uploads(self, known: frozenset[str]) -> tuple[str, ...]:
        """An upload that was cut off, also by our own end, may go on."""
        return self.spool.sweep(known | self.spool.resting().keys())

    def _drop_resting(self, moment: float) -> None:
        """Remove the unfinished uploads whose last byte came before this moment."""
        stale = [job_id for job_id, at in self.spool.resting().items() if at < moment]
        for job_id in stale:
            self.spool.remove(job_id)
        if stale:
            logger.info("unfinished_uploads_removed", uploads=len(stale))

    def _keep_orphans(self) -> Orphans:
        uploads, results = self._natively(self.spool.ids), self._natively(self.results.ids)
        if uploads or results:
            logger.warning("orphans_kept_beside_empty_store", uploads=len(uploads), results=len(results))
        return Orphans(uploads=(), results=())

    def _make_room(self, swept: Swept, budget: int) -> Swept:
        used = self._natively(lambda: self.spool.used_bytes() + self.results.used_bytes())
        uploads, jobs = swept.uploads, swept.jobs
        oldest_uploads = self._with_upload(_ANY_TIME)
        while used > budget and (job := next(oldest_uploads, None)) is not None:
            size = self._natively(self.spool.size_bytes, job.id)
            if self._drop_upload(job):
                used, uploads = used - size, uploads + 1
        oldest_results = self._ended(self.clock.before(RESULT_GRACE), status=JobStatus.SUCCEEDED)
        while used > budget and (job := next(oldest_results, None)) is not None:
            size = self._natively(self.results.size_bytes, job.id)
            if self._purge(job):
                used, jobs = used - size, jobs + 1
        if used > budget:
            logger.warning("disk_budget_exceeded", used_bytes=used, budget_bytes=budget)
        return Swept(uploads=uploads, jobs=jobs, used_bytes=used)

    def _with_upload(self, moment: datetime) -> Iterator[Job]:
        return self._ended(moment, has_upload=True)

    def _ended(self, moment: datetime, **kind: Any) -> Iterator[Job]:
        """Jobs of this kind, oldest first. Whoever takes one makes it another kind before taking the next."""
        while jobs := self.store.ended_before(moment, **kind):
            yield from jobs

    def _drop_upload(self, job: Job) -> bool:
        """False if the job was retried or purged meanwhile: its upload is not ours any more."""
        if not self.store.note_upload_removed(job.id, attempt=job.attempts):
            return False
        self._natively(self.spool.remove, job.id)
        return True

    def _purge(self, job: Job) -> bool:
        return purge_job(
            job, store=self.store, spool=self.spool, results=self.results, output=None, native=self.native
        )

    def _drop_work(self, ended: frozenset[str]) -> None:
        for job_id in self.spool.ids() & ended:
            self.spool.drop_work(job_id)

    def _natively(self, work: Callable[..., Answer], *arguments: object) -> Answer:
        return self.native.submit(work, *arguments).result()


def purge_job(
    job: Job,
    *,
    store: JobStore,
    spool: Spool,
    results: FileResultStore,
    output: OutputFolder | None,
    native: Executor,
) -> bool:
    """Delete a job that has ended, with all its files; False, and nothing, for any other.

    `output`: the operator's copies go, too; None leaves them. Raises StorageFailedError: what is left then goes
    at the next start.
    """
    if not store.purge(job.id, attempt=job.attempts):
        return False
    native.submit(_remove_files, job, spool, results, output).result()
    return True


def _remove_files(job: Job, spool: Spool, results: FileResultStore, output: OutputFolder | None) -> None:
    # The copies first: they are the only files that no start would find again.
    if output is not None:
        output.remove(job.id, job.file_name)
    results.remove(job.id)
    spool.remove(job.id)
