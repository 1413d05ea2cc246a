"""Reads on connections of their own: they change nothing, wait for nobody, and end in time."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import OperationalError

from job_stores import NOW, make_job, opened
from transcriber.domain.errors import SearchTimeoutError, ShuttingDownError, StorageFailedError
from transcriber.domain.jobs import JobStatus
from transcriber.jobs.store import queries
from transcriber.jobs.store.sqlite import SqliteJobStore
from transcriber.jobs.store.sqlite_reads import SqliteReads
from transcriber.jobs.store.sqlite_text import SqliteTextIndex, select_excerpts

FOR_EVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "jobs.sqlite3"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteJobStore]:
    with ThreadPoolExecutor(1) as executor, opened(path, executor) as store:
        yield store


@pytest.fixture
def reads(store: SqliteJobStore, path: Path) -> Iterator[SqliteReads]:
    with closing(SqliteReads(path, ThreadPoolExecutor(2), busy_timeout_ms=100)) as reads:
        yield reads


def test_reads_can_not_write(store: SqliteJobStore, reads: SqliteReads) -> None:
    store.add(make_job())

    with pytest.raises(StorageFailedError, match="readonly"):
        reads.read(lambda connection: connection.exec_driver_sql("DELETE FROM jobs"))

    assert len(store.list_jobs()) == 1


def test_read_does_not_wait_for_a_change_nor_a_change_for_a_read(
    store: SqliteJobStore, reads: SqliteReads, path: Path
) -> None:
    store.add(make_job())
    is_reading, may_go = threading.Event(), threading.Event()

    def look(connection: object) -> None:
        is_reading.set()
        may_go.wait(10)

    with closing(sqlite3.connect(path, isolation_level=None)) as writer, ThreadPoolExecutor(1) as threads:
        writer.execute("BEGIN IMMEDIATE")
        assert store.get(make_job().id).number == 1
        writer.execute("ROLLBACK")
        reading = threads.submit(reads.read, look)
        assert is_reading.wait(10)
        store.add(make_job(1))
        assert len(store.list_jobs()) == 2
        may_go.set()
        reading.result(10)


def test_read_that_takes_too_long_is_broken_off_and_the_next_one_works(reads: SqliteReads) -> None:
    with pytest.raises(StorageFailedError, match="too long"):
        reads.read(lambda connection: connection.exec_driver_sql(FOR_EVER).all(), seconds=0.05)
    with pytest.raises(SearchTimeoutError):
        reads.read(
            lambda connection: connection.exec_driver_sql(FOR_EVER).all(),
            seconds=0.05,
            too_late=SearchTimeoutError,
        )

    assert reads.read(lambda connection: connection.exec_driver_sql("SELECT 1").scalar()) == 1


def test_mistake_in_a_statement_is_no_failure_of_the_disk(reads: SqliteReads) -> None:
    with pytest.raises(OperationalError):
        reads.read(lambda connection: connection.exec_driver_sql("SELECT nothing FROM nowhere"))


def test_closed_store_reads_no_more(store: SqliteJobStore, reads: SqliteReads) -> None:
    reads.read(lambda connection: connection.exec_driver_sql("SELECT 1").scalar())
    reads.close()
    reads.close()

    with pytest.raises((ShuttingDownError, RuntimeError)):
        reads.read(lambda connection: connection.exec_driver_sql("SELECT 1").scalar())


def fill(store: SqliteJobStore, first: int, last: int) -> None:
    for number in range(first, last):
        job = make_job(number)
        store.add(job)
        store.claim(job.id, NOW)
        text = f"the talk t{number:06} of that time " + "and so the rest of it " * 20
        store.finish(job.id, 1, JobStatus.SUCCEEDED, NOW, text=text)


def steps(path: Path, search: str) -> int:
    """How far SQLite's machine goes for a page of this search, and its excerpts."""
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    literal = {"literal_binds": True}
    statement = queries.search_jobs((), 11, None, search, SqliteTextIndex().matching(search))
    excerpts = select_excerpts(0, 10**6, search)
    assert excerpts is not None
    with closing(sqlite3.connect(path)) as connection:
        connection.set_progress_handler(step, 1)
        for one in (statement, excerpts.limit(11)):
            connection.execute(
                str(one.compile(dialect=sqlite.dialect(), compile_kwargs=literal))  # type: ignore[no-untyped-call]
            ).fetchall()
    return count


@pytest.mark.parametrize("search", ["t", "the", 'the" OR *', "nothing like it"])
def test_work_of_a_search_grows_no_faster_than_the_store(
    store: SqliteJobStore, path: Path, search: str
) -> None:
    fill(store, 0, 40)
    before = steps(path, search)
    fill(store, 40, 80)

    assert 0 < steps(path, search) <= 2.2 * before
