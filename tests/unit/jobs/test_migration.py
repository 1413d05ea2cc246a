"""The schema's versions: all of a migration or nothing."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from job_stores import make_job, opened, refusal, tables
from transcriber.domain.errors import ConfigError
from transcriber.jobs.migration import MIGRATIONS
from transcriber.jobs.schema import metadata
from transcriber.jobs.sqlite_store import SqliteJobStore


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

    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    by_migrations = {name: " ".join(sql.split()) for name, sql in tables(path).items()}
    by_schema = path.with_name("schema.sqlite3")
    metadata.create_all(create_engine(f"sqlite:///{by_schema}"))
    for name, sql in tables(by_schema).items():
        assert sorted(re.findall(r"\w+", sql)) == sorted(re.findall(r"\w+", by_migrations[name]))


def broken_migrations(folder: Path, failure: str) -> Path:
    """The real migrations, and one more that changes much and then fails."""
    shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "0002_broken.py").write_text(
        "import sqlalchemy as sa\n"
        "from alembic import op\n"
        "revision, down_revision = '9999', '0001'\n"
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
        assert store.get(make_job().id) == make_job()


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
