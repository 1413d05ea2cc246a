"""What is removed when, and that nothing goes that a job may still need."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from job_stores import NOW, make_delivery, make_job
from transcriber.domain.errors import JobNotFoundError, StorageFailedError
from transcriber.domain.jobs import Job, JobStatus
from transcriber.jobs.files.output import OutputFolder
from transcriber.jobs.files.results import FileResultStore
from transcriber.jobs.files.spool import Spool
from transcriber.jobs.retention import RESULT_GRACE, Orphans, Retention, Swept, purge_job
from transcriber.jobs.store.memory import MemoryJobStore
from transcriber.jobs.store.sqlite import SqliteJobStore
from transcriber.system.clock import SystemClock
from transcriptions import make_transcription

Store = MemoryJobStore | SqliteJobStore
HOUR = timedelta(hours=1)
UPLOAD_BYTES = 100_000


@dataclass
class HeldClock:
    """Time that stands where a test puts it."""

    time: datetime = NOW

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return 0.0

    def age(self, moment: datetime) -> float:
        return max(0.0, (self.now() - moment).total_seconds())

    def before(self, ago: timedelta) -> datetime:
        return self.now() - ago


@dataclass
class Installation:
    """A real spool and real results under a store."""

    store: Store
    spool: Spool
    results: FileResultStore
    native: Executor
    clock: HeldClock = field(default_factory=HeldClock)

    def retention(self, **changes: Any) -> Retention:
        values: dict[str, Any] = {
            "keep_uploads": 24 * HOUR,
            "keep_results": timedelta(days=30),
            "disk_budget_bytes": None,
        }
        return Retention(
            store=self.store,
            results=self.results,
            spool=self.spool,
            clock=self.clock,
            native=self.native,
            **(values | changes),
        )

    def accept(self, number: int) -> Job:
        job = self.store.add(make_job(number))
        self.spool.create(job.id)
        self.spool.upload_path(job.id).write_bytes(b"x" * UPLOAD_BYTES)
        self.spool.commit(job.id)
        return job

    def run(self, number: int) -> Job:
        job = self.store.claim(self.accept(number).id, NOW)
        assert job is not None
        return job

    def end(self, number: int, at: datetime, status: JobStatus = JobStatus.SUCCEEDED) -> Job:
        job = self.run(number)
        if status is JobStatus.SUCCEEDED:
            self.results.save(make_transcription(job_id=job.id))
        assert self.store.finish(job.id, 1, status, at)
        return self.store.get(job.id)

    def has_upload(self, job: Job) -> bool:
        on_disk = self.spool.upload_path(job.id).exists()
        assert self.store.get(job.id).has_upload is on_disk
        return on_disk

    def used_bytes(self) -> int:
        return self.spool.used_bytes() + self.results.used_bytes()


@pytest.fixture
def installation(store: Store, tmp_path: Path) -> Iterator[Installation]:
    with ThreadPoolExecutor(2) as native:
        yield Installation(
            store=store,
            spool=Spool(tmp_path / "data" / "spool", 0),
            results=FileResultStore(tmp_path / "data" / "results"),
            native=native,
        )


# By age


def test_clock_that_jumps_ahead_makes_nothing_old(installation: Installation) -> None:
    steady, ahead = 0.0, timedelta()
    clock = SystemClock(lambda: (NOW + ahead).timestamp() + steady, lambda: steady)
    installation.clock = clock  # type: ignore[assignment]
    first = installation.end(1, clock.now())
    ahead = timedelta(days=40)
    second = installation.end(2, clock.now())
    steady = 3600.0

    assert installation.retention().sweep() == Swept(uploads=0, jobs=0, used_bytes=None)
    assert all(installation.has_upload(job) for job in (first, second))
    steady = 86_400.0 + 60
    third = installation.end(3, clock.now())

    assert installation.retention().sweep() == Swept(uploads=2, jobs=0, used_bytes=None)
    assert [installation.has_upload(job) for job in (first, second, third)] == [False, False, True]


def test_uploads_go_by_age_and_the_rest_stays(installation: Installation) -> None:
    old, young = installation.end(1, NOW), installation.end(2, NOW + 2 * HOUR)
    waiting, busy = installation.accept(3), installation.run(4)
    installation.clock.time = NOW + 25 * HOUR

    swept = installation.retention().sweep()

    assert swept == Swept(uploads=1, jobs=0, used_bytes=None)
    assert [installation.has_upload(job) for job in (old, young, waiting, busy)] == [False, True, True, True]
    assert installation.results.find(old.id) is not None
    assert installation.spool.ids() == {young.id, waiting.id, busy.id}
    assert installation.retention().sweep() == Swept(uploads=0, jobs=0, used_bytes=None)


def test_results_and_rows_go_by_age_together(installation: Installation) -> None:
    old = [installation.end(n, NOW, status) for n, status in enumerate(JobStatus) if status.is_final]
    young = installation.end(10, NOW + HOUR)
    waiting, busy = installation.accept(11), installation.run(12)
    installation.clock.time = NOW + timedelta(days=30, seconds=1)

    swept = installation.retention().sweep()

    assert (swept.jobs, len(old)) == (3, 3)
    assert installation.store.ids() == {young.id, waiting.id, busy.id}
    assert installation.results.ids() == {young.id}
    assert installation.spool.ids() == {waiting.id, busy.id}


def test_age_counts_from_the_end_and_to_the_moment(installation: Installation) -> None:
    job = installation.end(1, NOW)
    installation.clock.time = NOW + 24 * HOUR
    assert installation.retention().sweep().uploads == 0

    installation.clock.time += timedelta(microseconds=1)
    assert installation.retention().sweep().uploads == 1
    assert not installation.has_upload(job)


def test_more_jobs_than_one_question_gives_are_all_swept(installation: Installation) -> None:
    for number in range(230):
        installation.store.claim(installation.store.add(make_job(number)).id, NOW)
        installation.store.finish(make_job(number).id, 1, JobStatus.FAILED, NOW)
    installation.clock.time = NOW + timedelta(days=31)

    assert installation.retention(keep_uploads=timedelta(days=60)).sweep().jobs == 230
    assert installation.store.ids() == frozenset()


# By budget


def test_over_the_budget_the_oldest_uploads_go_first(installation: Installation) -> None:
    jobs = [installation.end(n, NOW + n * timedelta(seconds=1)) for n in range(5)]
    installation.clock.time = NOW + HOUR
    budget = installation.used_bytes() - UPLOAD_BYTES - 1

    swept = installation.retention(disk_budget_bytes=budget).sweep()

    assert [installation.has_upload(job) for job in jobs] == [False, False, True, True, True]
    assert installation.results.ids() == {job.id for job in jobs}
    assert swept == Swept(uploads=2, jobs=0, used_bytes=installation.used_bytes())
    assert installation.used_bytes() <= budget


def test_when_uploads_are_not_enough_the_oldest_results_go_with_their_rows(
    installation: Installation,
) -> None:
    failed = installation.end(9, NOW - HOUR, JobStatus.FAILED)
    jobs = [installation.end(n, NOW + n * timedelta(seconds=1)) for n in range(3)]
    installation.clock.time = NOW + HOUR
    budget = 2 * installation.results.size_bytes(jobs[0].id)

    swept = installation.retention(disk_budget_bytes=budget).sweep()

    assert swept == Swept(uploads=4, jobs=1, used_bytes=installation.used_bytes())
    assert installation.store.ids() == {failed.id, jobs[1].id, jobs[2].id}
    assert installation.results.ids() == {jobs[1].id, jobs[2].id}


def test_within_the_budget_nothing_goes(installation: Installation) -> None:
    installation.end(1, NOW)
    installation.clock.time = NOW + HOUR

    swept = installation.retention(disk_budget_bytes=installation.used_bytes()).sweep()

    assert swept == Swept(uploads=0, jobs=0, used_bytes=installation.used_bytes())


def test_a_budget_takes_nothing_from_jobs_that_wait_or_run_nor_results_just_made(
    installation: Installation,
) -> None:
    waiting, busy, fresh = installation.accept(1), installation.run(2), installation.end(3, NOW)
    installation.clock.time = NOW + RESULT_GRACE

    swept = installation.retention(disk_budget_bytes=1).sweep()

    assert [installation.has_upload(job) for job in (waiting, busy, fresh)] == [True, True, False]
    assert installation.results.find(fresh.id) is not None
    assert swept.used_bytes == installation.used_bytes() > 1


# Beside others


def retried_and_ended_again(installation: Installation, job: Job, status: JobStatus) -> None:
    """What may happen to a failed job between a sweep's question and its act."""
    assert installation.store.retry(job.id)
    installation.store.claim(job.id, NOW)
    installation.store.finish(job.id, 2, status, installation.clock.time)


class MeddlingStore:
    """A real store in which somebody retries each job just after the sweep has asked for it."""

    def __init__(self, installation: Installation, status: JobStatus | None) -> None:
        self._installation = installation
        self._status = status

    def ended_before(self, moment: datetime, limit: int = 100, **kind: Any) -> list[Job]:
        jobs = self._installation.store.ended_before(moment, limit, **kind)
        for job in jobs:
            if self._status is None:
                assert self._installation.store.retry(job.id)
            else:
                retried_and_ended_again(self._installation, job, self._status)
        return jobs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._installation.store, name)


@pytest.mark.parametrize("status", [None, JobStatus.FAILED, JobStatus.SUCCEEDED])
def test_a_job_that_is_retried_meanwhile_keeps_all(
    installation: Installation, status: JobStatus | None
) -> None:
    job = installation.end(1, NOW, JobStatus.FAILED)
    installation.clock.time = NOW + timedelta(days=31)
    retention = replace(installation.retention(), store=MeddlingStore(installation, status))  # type: ignore[arg-type]

    swept = retention.sweep()

    assert (swept.uploads, swept.jobs) == (0, 0)
    assert installation.has_upload(job)
    assert installation.store.get(job.id).status is (status or JobStatus.QUEUED)


def test_two_sweeps_at_once_and_purges_remove_each_thing_once(installation: Installation) -> None:
    jobs = [installation.end(n, NOW) for n in range(40)]
    installation.clock.time = NOW + 25 * HOUR
    retention = installation.retention()

    with ThreadPoolExecutor(3) as callers:
        sweeps = [callers.submit(retention.sweep) for _ in range(2)]
        purged = callers.submit(lambda: [purge(installation, job) for job in jobs[::2]])
        uploads = sum(sweep.result().uploads for sweep in sweeps)

    assert purged.result() == [True] * 20
    assert 20 <= uploads <= 40
    assert installation.spool.ids() == frozenset()
    assert installation.results.ids() == installation.store.ids() == {job.id for job in jobs[1::2]}


# Purge


def purge(installation: Installation, job: Job, output: OutputFolder | None = None) -> bool:
    return purge_job(
        job,
        store=installation.store,
        spool=installation.spool,
        results=installation.results,
        output=output,
        native=installation.native,
    )


def test_a_purged_job_leaves_nothing(installation: Installation, tmp_path: Path) -> None:
    output = OutputFolder(tmp_path / "output")
    job, other = installation.run(1), installation.end(2, NOW)
    transcription = make_transcription(job_id=job.id)
    installation.results.save(transcription)
    output.write(transcription, job.file_name)
    installation.store.finish(job.id, 1, JobStatus.SUCCEEDED, NOW, delivery=make_delivery(job=job))

    assert purge(installation, installation.store.get(job.id), output) is True

    with pytest.raises(JobNotFoundError):
        installation.store.get(job.id)
    assert installation.store.outbox.of_job(job.id) == []
    assert installation.spool.ids() == installation.results.ids() == {other.id}
    assert os.listdir(tmp_path / "output") == []


def test_the_operators_copies_stay_where_they_are_not_meant(
    installation: Installation, tmp_path: Path
) -> None:
    output = OutputFolder(tmp_path / "output")
    job = installation.end(1, NOW)
    output.write(make_transcription(job_id=job.id), job.file_name)

    assert purge(installation, job) is True

    assert len(os.listdir(tmp_path / "output")) == 2


def test_a_job_that_waits_or_runs_is_not_purged(installation: Installation) -> None:
    waiting, busy = installation.accept(1), installation.run(2)

    assert [purge(installation, waiting), purge(installation, busy)] == [False, False]
    assert installation.has_upload(waiting) and installation.has_upload(busy)


# After a crash


def test_a_purge_that_was_killed_half_way_is_invisible_and_ends_at_the_next_start(
    installation: Installation,
) -> None:
    job, other = installation.end(1, NOW), installation.end(2, NOW)
    installation.store.purge(job.id)  # and here the process was killed
    assert job.id not in installation.store.ids()

    orphans = installation.retention().sweep_orphans()

    assert orphans == Orphans(uploads=(job.id,), results=(job.id,))
    assert installation.spool.ids() == installation.results.ids() == {other.id}
    assert installation.retention().sweep_orphans() == Orphans(uploads=(), results=())


def test_an_upload_that_was_given_up_and_not_removed_goes_at_the_next_start(
    installation: Installation,
) -> None:
    job = installation.end(1, NOW)
    installation.store.note_upload_removed(job.id)  # and here the process was killed

    assert installation.retention().sweep_orphans().uploads == (job.id,)
    assert not installation.has_upload(job)
    assert installation.results.find(job.id) is not None


def test_an_upload_that_never_became_a_job_goes_at_the_next_start(installation: Installation) -> None:
    installation.accept(0)
    installation.spool.create(make_job(1).id)

    assert installation.retention().sweep_orphans().uploads == (make_job(1).id,)


def test_beside_an_empty_store_nothing_is_taken_for_garbage(installation: Installation) -> None:
    installation.spool.create(make_job(1).id)
    installation.results.save(make_transcription(job_id=make_job(2).id))

    assert installation.retention().sweep_orphans() == Orphans(uploads=(), results=())

    assert installation.spool.ids() == {make_job(1).id}
    assert installation.results.ids() == {make_job(2).id}


def test_at_start_work_of_unfinished_jobs_stays_and_of_ended_ones_goes(installation: Installation) -> None:
    busy, done = installation.run(1), installation.end(2, NOW)
    for job in (busy, done):
        installation.spool.journal_path(job.id).write_text("window 0")
    installation.results.save(make_transcription(job_id=busy.id))

    assert installation.retention().sweep_orphans() == Orphans(uploads=(), results=())

    assert installation.spool.journal_path(busy.id).exists()
    assert not installation.spool.journal_path(done.id).exists()
    assert installation.has_upload(busy) and installation.has_upload(done)
    assert installation.results.ids() == {busy.id, done.id}


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.CANCELLED])
def test_at_start_a_result_of_a_job_that_came_to_nothing_goes(
    installation: Installation, status: JobStatus
) -> None:
    job = installation.end(1, NOW, status)
    installation.results.save(make_transcription(job_id=job.id))

    assert installation.retention().sweep_orphans().results == (job.id,)


def test_a_file_that_cannot_be_removed_is_an_error_and_the_next_sweep_goes_on(
    installation: Installation,
) -> None:
    stuck, other = installation.end(1, NOW), installation.end(2, NOW + timedelta(seconds=1))
    folder = installation.spool.upload_path(stuck.id).parent
    away = folder.with_name("away")
    folder.rename(away)
    folder.write_text("a file in the place of the folder")
    installation.clock.time = NOW + 25 * HOUR

    with pytest.raises(StorageFailedError):
        installation.retention().sweep()
    assert installation.has_upload(other)

    assert installation.retention().sweep().uploads == 1
    assert not installation.has_upload(other)
    folder.unlink()
    away.rename(folder)
    assert installation.retention().sweep_orphans().uploads == (stuck.id,)


def rest(installation: Installation, number: int, age: timedelta) -> str:
    """An upload that stopped so long ago."""
    job_id = make_job(number).id
    folder = installation.spool.create(job_id)
    at = (installation.clock.now() - age).timestamp()
    for name in ("upload", "resumable"):
        (folder / name).write_bytes(b"{}")
        os.utime(folder / name, (at, at))
    return job_id


def test_unfinished_upload_goes_when_it_has_rested_for_too_long(installation: Installation) -> None:
    old, young = rest(installation, 1, 3 * HOUR), rest(installation, 2, HOUR)

    installation.retention(keep_unfinished=2 * HOUR).sweep()

    assert installation.spool.ids() == {young}
    assert old not in installation.spool.resting()


def test_unfinished_upload_survives_a_start(installation: Installation) -> None:
    installation.accept(1)
    resting = rest(installation, 2, HOUR)
    installation.spool.create(make_job(3).id)

    orphans = installation.retention().sweep_orphans()

    assert orphans.uploads == (make_job(3).id,)
    assert resting in installation.spool.ids()
