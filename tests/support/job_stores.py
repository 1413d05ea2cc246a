"""Job stores on disk for tests: a job, an open store, and how one refuses."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from transcriber.domain.errors import ConfigError
from transcriber.domain.jobs import Delivery, DeliveryStatus, Job, JobStatus
from transcriber.domain.options import TranscriptionOptions, TranscriptionRequest
from transcriber.jobs.store.migration import MIGRATIONS
from transcriber.jobs.store.sqlite import SqliteJobStore

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@contextmanager
def opened(path: Path, executor: Executor, migrations: Path = MIGRATIONS) -> Iterator[SqliteJobStore]:
    store = SqliteJobStore(path, executor, migrations=migrations)
    try:
        yield store
    finally:
        store.close()


def make_job(number: int = 0) -> Job:
    return Job(
        id=f"job_{number:024}",
        status=JobStatus.QUEUED,
        request=TranscriptionRequest(
            model="base", use_gpu=True, require_gpu=False, options=TranscriptionOptions()
        ),
        file_name="speech.mp3",
        size_bytes=1,
        created_at=NOW,
    )


def stored_job(number: int = 0) -> Job:
    """make_job(number) as a store gives it back that got 0, 1, 2 … in this order."""
    return make_job(number).evolve(number=number + 1)


def make_delivery(number: int = 0, job: Job | None = None, **changes: Any) -> Delivery:
    values: dict[str, Any] = {
        "id": f"msg_{number}",
        "job_id": (job or make_job()).id,
        "url": "https://receiver.example/hook?a=ü",
        "secret": "whsec_c2VjcmV0",
        "payload": '{"type": "job.succeeded", "text": "Grüße"}',
        "status": DeliveryStatus.PENDING,
        "created_at": NOW,
        "next_try_at": NOW,
    }
    return Delivery(**(values | changes))


def refusal(path: Path, executor: Executor, migrations: Path = MIGRATIONS) -> ConfigError:
    """The error with which the store refuses to open. It must name a fix."""
    with pytest.raises(ConfigError) as caught:
        SqliteJobStore(path, executor, migrations=migrations, busy_timeout_ms=50)
    assert caught.value.fix and caught.value.param == "WHISPER_DATA_DIR"
    return caught.value


def tables(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))


@contextmanager
def files_up_to(size_bytes: int) -> Iterator[None]:
    """A limit on the size of files makes write(2) fail, as a full or broken disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
