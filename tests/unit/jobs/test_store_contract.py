"""What every JobStore promises; each test runs over each of them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from transcriber.domain.errors import JobNotFoundError
from transcriber.domain.jobs import Job, JobError, JobStatus
from transcriber.domain.options import TranscriptionOptions, TranscriptionRequest
from transcriber.domain.ports import JobStore
from transcriber.jobs.memory_store import MemoryJobStore
from transcriber.jobs.sqlite_store import SqliteJobStore

T0 = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
T1 = T0 + timedelta(seconds=1)
T2 = T0 + timedelta(seconds=2)
ERROR = JobError(code="undecodable_media", message="No audio: 'ü'.", fix="Send audio.", param="audio")


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JobStore]:
    if request.param == "memory":
        yield MemoryJobStore()
        return
    with ThreadPoolExecutor(1) as executor:
        store = SqliteJobStore(tmp_path / "data" / "jobs.sqlite3", executor)
        yield store
        store.close()


def make_job(number: int = 0, **changes: Any) -> Job:
    values: dict[str, Any] = {
        "id": f"job_{number:024}",
        "status": JobStatus.QUEUED,
        "request": TranscriptionRequest(
            model="base", use_gpu=True, require_gpu=False, options=TranscriptionOptions()
        ),
        "file_name": "speech.mp3",
        "size_bytes": 1234,
        "created_at": T0,
    }
    return Job(**(values | changes))


def test_a_stored_job_comes_back_equal(store: JobStore) -> None:
    options = TranscriptionOptions(
        language="de",
        task="translate",
        beam_size=1,
        temperature=0.2,
        initial_prompt="Grüße\n'; --",
        hotwords="x",
    )
    full = make_job(
        status=JobStatus.FAILED,
        request=TranscriptionRequest(
            model="base", use_gpu=False, require_gpu=True, options=options, ignored=("best_of", "patience")
        ),
        file_name="../../世界\u202e.mp3",
        size_bytes=2**40,
        started_at=T1,
        completed_at=T2,
        attempts=2,
        error=ERROR,
        request_id="r-1",
    )

    store.add(full)
    store.add(make_job(1))

    assert store.get(full.id) == full
    assert store.get(make_job(1).id) == make_job(1)


def test_times_come_back_as_the_same_moment_in_utc(store: JobStore) -> None:
    tokyo = T0.astimezone(timezone(timedelta(hours=9)))

    store.add(make_job(created_at=tokyo))

    assert store.get(make_job().id).created_at == T0


def test_an_id_is_taken_once(store: JobStore) -> None:
    store.add(make_job(file_name="first"))

    with pytest.raises(ValueError, match="exists"):
        store.add(make_job(file_name="second"))

    assert store.get(make_job().id).file_name == "first"


@pytest.mark.parametrize("job_id", ["job_unknown", "", "'; DROP TABLE jobs; --", "x" * 10_000])
def test_an_unknown_job_is_not_found(store: JobStore, job_id: str) -> None:
    with pytest.raises(JobNotFoundError) as caught:
        store.get(job_id)

    assert len(caught.value.message) < 200
    assert store.claim(job_id, T1) is None
    assert store.finish(job_id, 1, JobStatus.FAILED, T1) is False
    assert store.requeue(job_id, 1) is False
    assert store.cancel_queued(job_id, T1) is False


def test_claim_begins_an_attempt_once(store: JobStore) -> None:
    store.add(make_job())

    claimed = store.claim(make_job().id, T1)

    assert claimed == make_job(status=JobStatus.RUNNING, attempts=1, started_at=T1)
    assert store.get(make_job().id) == claimed
    assert store.claim(make_job().id, T2) is None


def test_of_many_claims_at_once_one_wins(store: JobStore) -> None:
    store.add(make_job())

    with ThreadPoolExecutor(8) as callers:
        claims = list(callers.map(lambda _: store.claim(make_job().id, T1), range(32)))

    assert sum(claim is not None for claim in claims) == 1
    assert store.get(make_job().id).attempts == 1


@pytest.mark.parametrize(
    ("status", "error"),
    [(JobStatus.SUCCEEDED, None), (JobStatus.FAILED, ERROR), (JobStatus.CANCELLED, ERROR)],
)
def test_finish_ends_the_running_attempt_once(
    store: JobStore, status: JobStatus, error: JobError | None
) -> None:
    store.add(make_job())
    store.claim(make_job().id, T1)

    assert store.finish(make_job().id, 1, status, T2, error=error) is True

    ended = make_job(status=status, attempts=1, started_at=T1, completed_at=T2, error=error)
    assert store.get(make_job().id) == ended
    assert store.finish(make_job().id, 1, JobStatus.FAILED, T2 + timedelta(1)) is False
    assert store.claim(make_job().id, T2) is None
    assert store.get(make_job().id) == ended


def test_a_queued_job_cannot_be_finished(store: JobStore) -> None:
    store.add(make_job())

    assert store.finish(make_job().id, 0, JobStatus.SUCCEEDED, T1) is False
    assert store.get(make_job().id) == make_job()


@pytest.mark.parametrize("status", [JobStatus.QUEUED, JobStatus.RUNNING])
def test_finish_takes_final_statuses_only(store: JobStore, status: JobStatus) -> None:
    store.add(make_job())
    store.claim(make_job().id, T1)

    with pytest.raises(ValueError, match="not a final status"):
        store.finish(make_job().id, 1, status, T2)


def test_a_requeued_job_is_fenced_against_its_old_attempt(store: JobStore) -> None:
    store.add(make_job())
    store.claim(make_job().id, T1)

    assert store.requeue(make_job().id, 1) is True
    assert store.get(make_job().id) == make_job(attempts=1)
    assert store.requeue(make_job().id, 1) is False
    assert store.finish(make_job().id, 1, JobStatus.SUCCEEDED, T2) is False

    again = store.claim(make_job().id, T2)
    assert again is not None and (again.attempts, again.started_at) == (2, T2)
    assert store.finish(make_job().id, 1, JobStatus.FAILED, T2, error=ERROR) is False
    assert store.requeue(make_job().id, 1) is False
    assert store.finish(make_job().id, 2, JobStatus.SUCCEEDED, T2) is True


def test_a_queued_job_can_be_cancelled_and_a_running_one_not(store: JobStore) -> None:
    store.add(make_job(1))
    store.add(make_job(2))
    store.claim(make_job(2).id, T1)

    assert store.cancel_queued(make_job(1).id, T1) is True
    assert store.cancel_queued(make_job(1).id, T2) is False
    assert store.cancel_queued(make_job(2).id, T1) is False

    assert store.get(make_job(1).id) == make_job(1, status=JobStatus.CANCELLED, completed_at=T1)
    assert store.get(make_job(2).id).status is JobStatus.RUNNING
    assert store.claim(make_job(1).id, T2) is None


def test_jobs_are_listed_newest_first_and_by_status(store: JobStore) -> None:
    for number in range(5):
        store.add(make_job(number))
    store.claim(make_job(1).id, T1)
    store.claim(make_job(3).id, T1)
    store.finish(make_job(3).id, 1, JobStatus.SUCCEEDED, T2)

    def listed(**filters: Any) -> list[int]:
        return [int(job.id[4:]) for job in store.list_jobs(**filters)]

    assert listed() == [4, 3, 2, 1, 0]
    assert listed(limit=2) == [4, 3]
    assert listed(statuses=(JobStatus.QUEUED,)) == [4, 2, 0]
    assert listed(statuses=(JobStatus.QUEUED, JobStatus.RUNNING), limit=3) == [4, 2, 1]
    assert listed(statuses=(JobStatus.FAILED,)) == []


def test_no_jobs_no_list(store: JobStore) -> None:
    assert store.list_jobs() == []


def test_close_may_be_called_again(store: JobStore) -> None:
    store.close()
    store.close()
