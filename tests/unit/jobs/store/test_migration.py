"""The schema's versions: all of a migration or nothing."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from job_stores import NOW, make_job, opened, refusal, stored_job, tables
from transcriber.domain.errors import ConfigError
from transcriber.domain.jobs import JobStatus
from transcriber.jobs.store import queries
from transcriber.jobs.store.migration import MIGRATIONS
from transcriber.jobs.store.schema import metadata
from transcriber.jobs.store.sqlite import SqliteJobStore

OLD_STORE = Path(__file__).parents[3] / "data" / "store_0001.sql"
HEAD = "0006"


@pytest.fixture
def executor() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "jobs.sqlite3"


def test_the_migrations_make_the_schema(path: Path, executor: Executor) -> None:
    with opened(path, executor):
        pass

    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": is_ours})
        assert compare_metadata(context, metadata) == []
    by_migrations = {name: " ".join(sql.split()) for name, sql in tables(path).items()}
    by_schema = path.with_name("schema.sqlite3")
    metadata.create_all(create_engine(f"sqlite:///{by_schema}", poolclass=NullPool))
    for name, sql in tables(by_schema).items():
        assert sorted(re.findall(r"\w+", sql)) == sorted(re.findall(r"\w+", by_migrations[name]))


def is_ours(name: str | None, kind: str, parents: object) -> bool:
    """The index and the tables that SQLite keeps it in are no tables of the metadata."""
    return not (kind == "table" and (name or "").startswith("transcript_texts"))


def broken_migrations(folder: Path, failure: str) -> Path:
    """The real migrations, and one more that changes much and then fails."""
    shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "9999_broken.py").write_text(
        "import sqlalchemy as sa\n"
        "from alembic import op\n"
        f"revision, down_revision = '9999', '{HEAD}'\n"
        "def upgrade():\n"
        "    op.create_table('extra', sa.Column('id', sa.Integer))\n"
        "    with op.batch_alter_table('jobs') as batch:\n"
        "        batch.drop_column('file_name')\n"
        "    op.execute('DELETE FROM jobs')\n"
        f"    {failure}\n"
    )
    return folder


@pytest.mark.parametrize("failure", ["op.execute('SELECT nonsense')", "raise KeyError('a bug')"])
def test_a_failed_migration_refuses_to_start_and_changes_nothing(
    path: Path, executor: Executor, tmp_path: Path, failure: str
) -> None:
    with opened(path, executor) as store:
        store.add(make_job())
    before = tables(path)

    migrations = broken_migrations(tmp_path / "migrations", failure)
    with pytest.raises((ConfigError, KeyError)) as caught:
        SqliteJobStore(path, executor, migrations=migrations)

    assert isinstance(caught.value, KeyError) or caught.value.code == "store_migration_failed"
    assert tables(path) == before
    with opened(path, executor) as store:
        assert store.get(make_job().id) == stored_job()


def test_a_failed_migration_leaves_a_new_store_empty(path: Path, executor: Executor, tmp_path: Path) -> None:
    refusal(path, executor, broken_migrations(tmp_path / "migrations", "op.execute('SELECT nonsense')"))

    assert tables(path) == {}


def test_a_store_of_a_newer_version_is_refused_and_left_alone(path: Path, executor: Executor) -> None:
    with opened(path, executor):
        pass
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9876'")
        connection.commit()

    error = refusal(path, executor)

    assert error.code == "store_version_unknown" and "9876" in error.message


# From version to version


def restored(path: Path, dump: Path) -> Path:
    """The database of a dump, as its version left it: with a write-ahead log."""
    path.parent.mkdir(mode=0o700)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(dump.read_text())
    return path


def rows(path: Path, columns: str = "*") -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT {columns} FROM jobs ORDER BY number").fetchall()


OLD_COLUMNS = (
    "number, id, status, request, file_name, size_bytes, created_at, started_at, completed_at, attempts, error, "
    "request_id"
)


def test_a_store_of_version_0001_is_upgraded_and_loses_nothing(path: Path, executor: Executor) -> None:
    before = rows(restored(path, OLD_STORE))

    with opened(path, executor) as store:
        jobs = {job.number: job for job in store.list_jobs()}
        new = store.add(make_job(99))

    assert rows(path, OLD_COLUMNS)[:-1] == before and len(before) == 6
    assert [job.status.value for _, job in sorted(jobs.items())] == [
        "succeeded",
        "failed",
        "cancelled",
        "running",
        "queued",
        "queued",
    ]
    assert new.number == 7
    failed = jobs[2]
    assert failed.error is not None and failed.error.message == "No audio: 'ü'."
    assert failed.request.options.initial_prompt == "Grüße; --" and failed.request.ignored == ("best_of",)


def test_jobs_of_version_0001_were_awaited_and_had_an_upload_until_they_ended(
    path: Path, executor: Executor
) -> None:
    with opened(restored(path, OLD_STORE), executor) as store:
        jobs = store.list_jobs()
        store.add(make_job(99))
        fresh = store.get(make_job(99).id)

    assert all(job.is_awaited for job in jobs)
    assert all(job.has_upload is not job.status.is_final for job in jobs)
    assert {job.priority for job in jobs} == {0} and {job.webhook for job in jobs} == {None}
    assert fresh.has_upload and not fresh.is_awaited


def test_an_upgraded_store_and_a_new_one_have_the_same_tables(path: Path, executor: Executor) -> None:
    fresh = path.parent.with_name("fresh") / path.name
    with opened(restored(path, OLD_STORE), executor), opened(fresh, executor):
        pass

    assert {name: " ".join(sql.split()) for name, sql in tables(path).items()} == {
        name: " ".join(sql.split()) for name, sql in tables(fresh).items()
    }


@pytest.mark.parametrize("failure", ["op.execute('SELECT nonsense')", "raise KeyError('a bug')"])
def test_an_upgrade_that_fails_half_way_leaves_version_0001(
    path: Path, executor: Executor, tmp_path: Path, failure: str
) -> None:
    restored(path, OLD_STORE)
    before, before_rows = tables(path), rows(path)

    with pytest.raises((ConfigError, KeyError)):
        SqliteJobStore(path, executor, migrations=broken_migrations(tmp_path / "migrations", failure))

    assert (tables(path), rows(path)) == (before, before_rows)
    with opened(path, executor) as store:
        assert len(store.list_jobs()) == 6


def test_an_upgrade_that_is_killed_changes_nothing(path: Path, executor: Executor) -> None:
    before = rows(restored(path, OLD_STORE))
    package = Path(sys.modules["transcriber"].__file__ or "").parents[1]
    for statements in (1, 5, 9, 12, 15):
        program = KILLED_UPGRADE.format(statements=statements)
        done = subprocess.run(
            [sys.executable, "-c", program, str(path)],
            env=os.environ | {"PYTHONPATH": str(package)},
            timeout=60,
        )
        assert done.returncode == -signal.SIGKILL
        assert rows(path, OLD_COLUMNS) == before and "deliveries" not in tables(path)

    with opened(path, executor) as store:
        assert len(store.list_jobs()) == 6


KILLED_UPGRADE = """
import os, signal, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from sqlalchemy import Engine, event
from transcriber.jobs.store.sqlite import SqliteJobStore

seen = 0

@event.listens_for(Engine, "after_cursor_execute")
def count(connection, cursor, statement, *rest):
    global seen
    if statement.lstrip().upper().startswith(("ALTER", "UPDATE", "CREATE")):
        seen += 1
        if seen == {statements}:
            os.kill(os.getpid(), signal.SIGKILL)

SqliteJobStore(Path(sys.argv[1]), ThreadPoolExecutor(1))
"""


# Indexes


PLANS = {
    "the oldest ended jobs": (
        queries.select_ended_jobs(NOW, 9, status=None, has_upload=None),
        "ix_jobs_completed_at_number",
    ),
    "the oldest uploads": (
        queries.select_ended_jobs(NOW, 9, status=None, has_upload=True),
        "ix_jobs_has_upload_completed_at_number",
    ),
    "a key": (queries.select_job_by_key("key"), "ix_jobs_idempotency_key"),
    "a page": (queries.select_jobs((), 9, 1000), "INTEGER PRIMARY KEY"),
    "a page of one status": (
        queries.select_jobs((JobStatus.FAILED,), 9, 1000),
        "ix_jobs_status_number",
    ),
    "due messages": (queries.select_due_deliveries(NOW, 9), "ix_deliveries_status_next_try_at_number"),
    "the next message": (queries.select_next_delivery(), "ix_deliveries_status_next_try_at_number"),
    "a job's messages": (queries.select_deliveries("job"), "ix_deliveries_job_id_number"),
    "purging messages": (queries.delete_deliveries("job"), "ix_deliveries_job_id_number"),
}


@pytest.mark.parametrize("name", PLANS)
def test_what_is_asked_often_is_found_by_an_index_and_not_sorted(
    path: Path, executor: Executor, name: str
) -> None:
    with opened(path, executor):
        pass
    statement, index = PLANS[name]

    with create_engine(f"sqlite:///{path}", poolclass=NullPool).connect() as connection:
        compiled = statement.compile(connection, compile_kwargs={"literal_binds": True})
        plan = " ".join(
            str(row) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}").all()
        )

    assert index in plan, plan
    assert "SCAN" not in plan and "TEMP B-TREE" not in plan, plan
