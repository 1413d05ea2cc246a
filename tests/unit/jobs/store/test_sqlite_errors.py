"""Damage, and disks that refuse: each has its error, and the store heals when the cause is gone."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from job_stores import files_up_to, make_job, opened, refusal, stored_job
from transcriber.domain.errors import StorageFailedError, StorageFullError, TranscriberError
from transcriber.jobs.store.sqlite_errors import (
    error_at_start,
    error_while_serving,
    is_storage_failure,
    no_wal,
)


@pytest.fixture
def executor() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "jobs.sqlite3"


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path, executor: Executor) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is not a database" * 1000)

    error = refusal(path, executor)

    assert error.code == "store_damaged" and str(path) in error.message
    assert path.read_bytes() == b"this is not a database" * 1000


def test_a_database_with_overwritten_pages_is_refused(path: Path, executor: Executor) -> None:
    with opened(path, executor) as store:
        for number in range(100):
            store.add(make_job(number))
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))

    assert refusal(path, executor).code == "store_damaged"


def test_a_refused_store_is_not_kept_locked(path: Path, executor: Executor) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is not a database" * 1000)
    refusal(path, executor)
    path.unlink()

    with opened(path, executor) as store:
        assert store.list_jobs() == []


@pytest.mark.parametrize("name", ["owner.lock", "jobs.sqlite3", "jobs.sqlite3-wal"])
def test_a_folder_in_the_place_of_a_file_is_refused(path: Path, executor: Executor, name: str) -> None:
    (path.parent / name).mkdir(parents=True)

    assert refusal(path, executor).code == "data_dir_not_writable"


def test_a_data_folder_that_cannot_be_made_is_refused(tmp_path: Path, executor: Executor) -> None:
    (tmp_path / "file").write_text("")

    error = refusal(tmp_path / "file" / "data" / "jobs.sqlite3", executor)

    assert error.code == "data_dir_not_writable" and f"uid {os.geteuid()}" in error.fix


@contextmanager
def as_ordinary_user() -> Iterator[None]:
    """Root may write anywhere; nobody may not."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_read_only_folder_is_refused(executor: Executor) -> None:
    folder = Path(subprocess.check_output(["mktemp", "-d", "/tmp/read-only.XXXXXX"], text=True).strip())
    try:
        folder.chmod(0o555)
        with as_ordinary_user():
            error = refusal(folder / "jobs.sqlite3", executor)
    finally:
        shutil.rmtree(folder)

    assert error.code == "data_dir_not_writable" and str(folder) in error.message


def test_a_read_only_database_is_refused(path: Path, executor: Executor) -> None:
    with opened(path, executor):
        pass
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    folder = Path(subprocess.check_output(["mktemp", "-d", "/tmp/read-only.XXXXXX"], text=True).strip())
    try:
        shutil.copy(path, folder / "jobs.sqlite3")
        (folder / "jobs.sqlite3").chmod(0o444)
        folder.chmod(0o777)
        with as_ordinary_user():
            error = refusal(folder / "jobs.sqlite3", executor)
    finally:
        shutil.rmtree(folder)

    assert error.code == "data_dir_not_writable"


def test_a_store_that_another_program_holds_is_refused(path: Path, executor: Executor) -> None:
    with opened(path, executor):
        pass
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("CREATE TABLE extra (id)")

        error = refusal(path, executor)

    assert error.code == "store_in_use" and "fuser" in error.fix


def test_a_write_that_fails_is_an_error_and_the_next_one_works(path: Path, executor: Executor) -> None:
    with opened(path, executor) as store:
        store.add(make_job(1))
        with files_up_to(4096):
            for _ in range(3):
                with pytest.raises(StorageFailedError):
                    store.add(make_job(2))
        store.add(make_job(3))

        assert [job.id for job in store.list_jobs()] == [make_job(3).id, make_job(1).id]


def test_a_database_that_vanished_is_an_error_not_an_empty_store(path: Path, executor: Executor) -> None:
    with opened(path, executor) as store:
        store.add(make_job())
        with files_up_to(4096), pytest.raises(StorageFailedError):
            store.add(make_job(2))
        for file in path.parent.glob("jobs.sqlite3*"):
            file.unlink()

        with pytest.raises(StorageFailedError):
            store.get(make_job().id)
        assert not path.exists()


def test_a_statement_that_is_wrong_is_not_blamed_on_the_disk(path: Path, executor: Executor) -> None:
    with opened(path, executor) as store:
        with closing(sqlite3.connect(path)) as other:
            other.execute("ALTER TABLE jobs RENAME TO gone")
            other.commit()

        with pytest.raises(DBAPIError, match="no such table"):
            store.list_jobs()


def test_a_time_without_a_zone_is_refused(path: Path, executor: Executor) -> None:
    with opened(path, executor) as store, pytest.raises(Exception, match="a time without a zone"):
        store.add(make_job().evolve(created_at=datetime(2026, 1, 1)))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("request", '{"model": "base"}'),
        ("request", "[]"),
        ("request", '{"model": 3, "use_gpu": true, "require_gpu": false, "options": {}}'),
        ("request", '{"model": "base", "use_gpu": 1, "require_gpu": false, "options": {}}'),
        ("request", '{"model": "b", "use_gpu": true, "require_gpu": false, "options": {"surprise": 1}}'),
        ("error", '{"code": "x"}'),
    ],
)
def test_a_row_that_nobody_of_us_wrote_is_an_error(
    path: Path, executor: Executor, column: str, value: str
) -> None:
    with opened(path, executor) as store:
        store.add(make_job())
        with closing(sqlite3.connect(path)) as other:
            other.execute(f"UPDATE jobs SET {column} = ?", (value,))
            other.commit()

        with pytest.raises(StorageFailedError) as caught:
            store.get(make_job().id)

    assert caught.value.code == "job_damaged" and make_job().id in caught.value.message


def test_a_row_without_an_option_of_today_has_its_default(path: Path, executor: Executor) -> None:
    with opened(path, executor) as store:
        store.add(make_job())
        with closing(sqlite3.connect(path)) as other:
            request = '{"model": "base", "use_gpu": true, "require_gpu": false, "options": {"beam_size": 5}}'
            other.execute("UPDATE jobs SET request = ?", (request,))
            other.commit()

        assert store.get(make_job().id) == stored_job()


def full_disk() -> DBAPIError:
    """SQLite's own error for a full disk, met on a database that may not grow."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("PRAGMA max_page_count=1")
        with pytest.raises(sqlite3.OperationalError) as caught:
            connection.execute("CREATE TABLE big (id)")
    return DBAPIError("CREATE TABLE big (id)", None, caught.value)


def test_a_full_disk_is_named_as_such(path: Path) -> None:
    error = full_disk()

    assert is_storage_failure(error)
    assert isinstance(error_while_serving(error, path), StorageFullError)
    assert isinstance(error_at_start(error, path), StorageFullError)


def test_an_error_that_is_not_sqlites_is_not_the_disks() -> None:
    assert not is_storage_failure(DBAPIError("SELECT 1", None, ValueError("x")))


def test_a_file_system_without_wal_is_named_as_such(path: Path) -> None:
    error = no_wal(path, "delete")

    assert isinstance(error, TranscriberError) and error.code == "store_without_wal"
    assert "journal_mode=delete" in error.message and "local disk" in error.fix
