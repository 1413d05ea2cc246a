"""What the store on PostgreSQL has of its own: who may open it, a server that fails, its index, its migrations."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, make_url
from sqlalchemy.pool import NullPool

from job_stores import NOW, make_job
from postgres_server import PostgresServer
from transcriber.domain.errors import ConfigError, ShuttingDownError, StorageFailedError
from transcriber.domain.jobs import Job, JobStatus
from transcriber.jobs.store.postgres import text as postgres_text
from transcriber.jobs.store.postgres.address import parse_address
from transcriber.jobs.store.postgres.database import Hold, PostgresDatabase
from transcriber.jobs.store.postgres.store import PostgresJobStore
from transcriber.jobs.store.schema import metadata
from transcriber.server.preflight import status_of_refusal
from transcriber.system.paths import PACKAGE_PARENT

#: Tables, columns of jobs and an index.
FLEET = ("runs", "journal_lines", "workers", "waiters", "expected_seconds", "needs_gpu", "ix_jobs_turns")


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    """An empty database."""
    return postgres.new_database()


@pytest.fixture
def store(url: str) -> Iterator[PostgresJobStore]:
    store = PostgresJobStore(url)
    yield store
    store.close()


def done(store: PostgresJobStore, number: int, text: str) -> Job:
    job = store.add(make_job(number))
    store.claim(job.id, NOW)
    assert store.finish(job.id, 1, JobStatus.SUCCEEDED, NOW, text=text)
    return store.get(job.id)


def refusal(url: str, hold: Hold = Hold.ALONE) -> ConfigError:
    """The error with which the store refuses to open. It must name a fix."""
    with pytest.raises(ConfigError) as caught:
        PostgresDatabase(url, hold=hold, hold_seconds=0)
    assert caught.value.fix and caught.value.param == "WHISPER_DATABASE_URL"
    return caught.value


def test_migrations_make_the_schema(store: PostgresJobStore, url: str) -> None:
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    with engine.connect() as connection:
        # What the nodes of a fleet share is SQL in postgres/fleet.py, and tested there.
        context = MigrationContext.configure(
            connection,
            opts={"include_name": lambda name, kind, parents: name not in FLEET},
        )
        assert compare_metadata(context, [metadata, postgres_text.metadata]) == []  # type: ignore[arg-type]


def test_nodes_that_start_together_migrate_once(url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        nodes = list(pool.map(lambda _: PostgresJobStore(url, hold=Hold.SHARED), range(4)))

    assert nodes[0].add(make_job()) == nodes[3].get(make_job().id)
    for node in nodes:
        node.close()


@pytest.mark.parametrize("hold", [Hold.ALONE, Hold.SHARED])
def test_one_service_holds_the_database_alone(store: PostgresJobStore, url: str, hold: Hold) -> None:
    assert refusal(url, hold).code == "store_in_use"


def test_fleet_keeps_a_service_of_its_own_out(url: str) -> None:
    node = PostgresJobStore(url, hold=Hold.SHARED)

    assert refusal(url).code == "store_in_use"
    node.close()
    PostgresJobStore(url).close()


def test_command_beside_the_service_reads_its_keys(store: PostgresJobStore, url: str) -> None:
    command = PostgresJobStore(url, hold=Hold.NONE)

    assert command.keys.list_keys() == []
    command.close()


def test_command_before_the_first_start_is_refused(url: str) -> None:
    assert refusal(url, Hold.NONE).code == "store_not_ready"


def test_database_of_a_newer_version_is_refused(
    store: PostgresJobStore, url: str, postgres: PostgresServer
) -> None:
    store.close()
    postgres.execute("UPDATE alembic_version SET version_num = '9999'", url)

    assert refusal(url).code == "store_version_unknown"


@pytest.mark.parametrize("port", [1, None])
def test_database_that_is_not_there_is_named_without_its_password(
    postgres: PostgresServer, port: int | None
) -> None:
    where = f"127.0.0.1:{port or postgres.port}/nowhere"

    error = refusal(f"postgresql://owner:hunter2@{where}")

    assert error.code == "database_unreachable" and where in error.message
    assert "hunter2" not in str(error)


@pytest.mark.parametrize(
    "wrong",
    [
        "127.0.0.1:1/db?foo=1",
        "127.0.0.1:1/db?autocommit=1",
        "127.0.0.1:1/db?port=abc",
        f"{'h' * 300}/db",
        "a..b/db",
        "127.0.0.1:1/d%00b",
    ],
)
def test_address_that_no_client_takes_is_a_wrong_setting(wrong: str) -> None:
    error = refusal(f"postgresql://owner:hunter2@{wrong}")

    assert (error.code, error.param) == (ConfigError.code, "WHISPER_DATABASE_URL")
    assert status_of_refusal(error) == 2
    assert "hunter2" not in str(error) + error.fix


@pytest.mark.parametrize(
    "right", ["h1,h2/db", "[::1]:1/db", "/db?host=/run/postgresql", "h/db?sslmode=verify-full", "h/p%25zz"]
)
def test_addresses_of_all_kinds_pass(right: str) -> None:
    assert parse_address(f"postgresql://u:p%@{right}").database


def test_store_is_back_by_itself_after_the_server_was_away() -> None:
    server = PostgresServer()
    try:
        url = server.new_database()
        store = PostgresJobStore(url)
        job = store.add(make_job())
        server.stop(signal.SIGQUIT)
        with pytest.raises(StorageFailedError) as caught:
            store.claim(job.id, NOW)
        assert caught.value.retry_after == 5
        server.start()

        assert store.get(job.id) == job
        assert refusal(url).code == "store_in_use", "it holds the database again"
        store.close()
        with pytest.raises(ShuttingDownError):
            store.get(job.id)
    finally:
        server.close()


def test_store_that_lost_its_database_to_another_writes_nothing(url: str, postgres: PostgresServer) -> None:
    store = PostgresJobStore(url)
    job = store.add(make_job())
    postgres.execute(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{url.rpartition('/')[2]}'"
    )
    other = PostgresJobStore(url)

    for _ in range(2):
        with pytest.raises(StorageFailedError, match="in use by another service"):
            store.claim(job.id, NOW)
    assert other.get(job.id).status is JobStatus.QUEUED
    store.close()
    other.close()


def test_check_writes(store: PostgresJobStore) -> None:
    store.check_writable()


def test_excerpt_is_around_the_first_word_that_is_found(store: PostgresJobStore) -> None:
    job = done(store, 0, " ".join(f"w{n}" for n in range(500)) + " don't — Zürich! " + "and so on " * 100)

    for search, shown in (("zurich", "Zürich!"), ("don t", "don't"), ("w250", "w250")):
        (excerpt,) = store.page(search=search).excerpts.values()
        assert [part.text for part in excerpt.parts if part.is_match][-1:] == [shown]
        assert sum(len(part.text.split()) for part in excerpt.parts) == 16
    assert store.page(search="zurich on").jobs == (job,)


def test_text_of_more_words_than_the_index_takes_is_kept(store: PostgresJobStore) -> None:
    done(store, 0, " ".join(f"word{n:07}" for n in range(120_000)) + " " + "x" * 5000)

    assert len(store.page(search="word0000001").jobs) == 1
    assert store.page(search="word0119999").jobs == ()


def test_driver_is_imported_only_where_a_database_is_set() -> None:
    code = "import sys, transcriber.server.bootstrap; print([name for name in sys.modules if name.startswith('psycopg')])"

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(PACKAGE_PARENT)}
    )

    assert done.stdout.strip() == "[]", done.stderr
