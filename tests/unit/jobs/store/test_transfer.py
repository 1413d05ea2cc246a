"""An installation moves from SQLite to PostgreSQL with every row, and is left alone where it can't."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from job_stores import NOW, make_delivery, make_job
from postgres_server import PostgresServer
from transcriber.domain.edits import Edit
from transcriber.domain.errors import ConfigError
from transcriber.domain.jobs import JobStatus
from transcriber.domain.keys import ApiKey, Role, digest_of
from transcriber.jobs.store.postgres.store import PostgresJobStore
from transcriber.jobs.store.postgres.transfer import transfer
from transcriber.jobs.store.sqlite import SqliteJobStore
from transcriptions import make_segment


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.new_database()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with rows in every table."""
    path = tmp_path / "data" / "jobs.sqlite3"
    with ThreadPoolExecutor(1) as executor:
        store = SqliteJobStore(path, executor)
        store.keys.add(
            ApiKey(id="key_1", name="laptop", role=Role.USER, digest=digest_of("x"), created_at=NOW)
        )
        for number in range(1200):
            store.add(make_job(number).evolve(owner="key_1", title=f"talk {number}"))
        job = store.claim(make_job(3).id, NOW)
        assert job is not None
        store.finish(
            job.id, 1, JobStatus.SUCCEEDED, NOW, delivery=make_delivery(0, job), text="Grüße aus Köln"
        )
        edit = Edit(revision=1, edited_at=NOW + timedelta(1), segments=(make_segment(),))
        store.transcripts.save_edit(job.id, edit, "今天的节目")
        store.close()
    return path


def test_every_row_is_moved_and_the_file_is_put_aside(path: Path, url: str) -> None:
    moved = transfer(path, url)

    assert moved.rows == {"api_keys": 1, "jobs": 1200, "deliveries": 1, "edits": 1, "transcript_texts": 1}
    assert not path.exists() and moved.kept_as.exists()
    store = PostgresJobStore(url)
    done = store.get(make_job(3).id)
    assert (done.number, done.status, done.title) == (4, JobStatus.SUCCEEDED, "talk 3")
    assert [job.id for job in store.page(search="今天").jobs] == [done.id]
    assert store.outbox.of_job(done.id)[0].payload == make_delivery().payload
    assert store.transcripts.find_edit(done.id).segments == (make_segment(),)
    assert store.add(make_job(5000)).number == 1201, "it goes on counting"
    store.close()


def test_move_that_was_broken_off_is_run_again(path: Path, url: str) -> None:
    copy = path.read_bytes()
    transfer(path, url)
    path.write_bytes(copy)

    assert transfer(path, url).rows["jobs"] == 1200


def test_rows_of_another_installation_are_no_place_to_move_to(path: Path, url: str) -> None:
    other = PostgresJobStore(url)
    other.add(make_job(77))
    other.close()

    with pytest.raises(ConfigError) as caught:
        transfer(path, url)
    assert caught.value.code == "database_not_empty" and path.exists()


def test_store_of_a_running_service_is_not_moved(path: Path, url: str) -> None:
    with ThreadPoolExecutor(1) as executor:
        store = SqliteJobStore(path, executor)
        with pytest.raises(ConfigError, match="in use"):
            transfer(path, url)
        store.close()
    assert path.exists()
