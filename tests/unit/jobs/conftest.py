"""The job stores, so that a test of the contract runs over each of them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from transcriber.jobs.store.memory import MemoryJobStore
from transcriber.jobs.store.sqlite import SqliteJobStore


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MemoryJobStore | SqliteJobStore]:
    if request.param == "memory":
        yield MemoryJobStore()
        return
    with ThreadPoolExecutor(1) as executor:
        store = SqliteJobStore(tmp_path / "data" / "jobs.sqlite3", executor)
        yield store
        store.close()
