"""The job stores, so that a test of the contract runs over each of them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from postgres_server import PostgresServer, find_programs
from transcriber.jobs.store.memory import MemoryJobStore
from transcriber.jobs.store.postgres.store import PostgresJobStore
from transcriber.jobs.store.sql import SqlJobStore
from transcriber.jobs.store.sqlite import SqliteJobStore

_TABLES = "jobs, deliveries, edits, api_keys, transcript_texts"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for all tests here; CI installs it (scripts/tools)."""
    if find_programs() is None:
        pytest.skip("no PostgreSQL here: run scripts/tools --install")
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def postgres_url(postgres: PostgresServer) -> str:
    """A database that has the newest schema, once it was opened."""
    return postgres.new_database()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MemoryJobStore | SqlJobStore]:
    """An empty store."""
    if request.param == "memory":
        yield MemoryJobStore()
        return
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        url: str = request.getfixturevalue("postgres_url")
        store = PostgresJobStore(url)
        server.execute(f"TRUNCATE {_TABLES} RESTART IDENTITY", url)
        yield store
        store.close()
        return
    with ThreadPoolExecutor(1) as executor:
        sqlite = SqliteJobStore(tmp_path / "data" / "jobs.sqlite3", executor)
        yield sqlite
        sqlite.close()
