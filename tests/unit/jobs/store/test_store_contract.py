"""What every JobStore promises; each test runs over each of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from transcriber.domain.errors import JobNotFoundError
from transcriber.domain.jobs import Job, JobError, JobStatus, Webhook
from transcriber.domain.options import TranscriptionOptions, TranscriptionRequest
from transcriber.domain.ports import JobPage, JobStore

T0 = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
T1 = T0 + timedelta(seconds=1)
T2 = T0 + timedelta(seconds=2)
ERROR = JobError(code="undecodable_media", message="No audio: 'ü'.", fix="Send audio.", param="audio")


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


def stored(store: JobStore, number: int = 0, **changes: Any) -> Job:
    """A new job in the store, as it comes back."""
    return store.add(make_job(number, **changes))


def running(store: JobStore, number: int = 0, **changes: Any) -> Job:
    job = store.claim(stored(store, number, **changes).id, T1)
    assert job is not None
    return job


def ended(store: JobStore, number: int = 0, status: JobStatus = JobStatus.FAILED, at: datetime = T2) -> Job:
    job = running(store, number)
    assert store.finish(job.id, 1, status, at, error=ERROR if status is JobStatus.FAILED else None)
    return store.get(job.id)


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
        priority=-7,
        is_awaited=True,
        webhook=Webhook(url="https://a.example/ü?b=c", secret="whsec_x"),
        idempotency_key="key'; --\u202e",
        fingerprint="sha256:00",
        duration=12.345678901234,
        engine_faults=1,
        engine_kills=3,
        has_upload=False,
    )

    first, second = store.add(full), store.add(make_job(1))

    assert store.get(full.id) == first == full.evolve(number=first.number)
    assert store.get(make_job(1).id) == second == make_job(1).evolve(number=second.number)
    assert 0 < first.number < second.number


def test_a_job_is_not_told_of_secrets_when_it_is_printed(store: JobStore) -> None:
    job = stored(store, webhook=Webhook(url="https://a.example", secret="whsec_hidden"))

    assert "whsec_hidden" not in repr(store.get(job.id))


def test_numbers_are_never_given_twice(store: JobStore) -> None:
    job = ended(store)
    store.purge(job.id)

    assert stored(store, 1).number > job.number


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
    assert store.retry(job_id) is None
    assert store.note(job_id, 1, duration=1.0) is False
    assert store.note_upload_removed(job_id) is False
    assert store.purge(job_id) is False
    assert store.find_by_key(job_id) is None


def test_claim_begins_an_attempt_once(store: JobStore) -> None:
    job = stored(store)

    claimed = store.claim(job.id, T1)

    assert claimed == job.evolve(status=JobStatus.RUNNING, attempts=1, started_at=T1)
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
    job = running(store)

    assert store.finish(job.id, 1, status, T2, error=error) is True

    ended = job.evolve(status=status, completed_at=T2, error=error)
    assert store.get(make_job().id) == ended
    assert store.finish(make_job().id, 1, JobStatus.FAILED, T2 + timedelta(1)) is False
    assert store.claim(make_job().id, T2) is None
    assert store.get(make_job().id) == ended


def test_a_queued_job_cannot_be_finished(store: JobStore) -> None:
    job = stored(store)

    assert store.finish(job.id, 0, JobStatus.SUCCEEDED, T1) is False
    assert store.get(job.id) == job


@pytest.mark.parametrize("status", [JobStatus.QUEUED, JobStatus.RUNNING])
def test_finish_takes_final_statuses_only(store: JobStore, status: JobStatus) -> None:
    store.add(make_job())
    store.claim(make_job().id, T1)

    with pytest.raises(ValueError, match="not a final status"):
        store.finish(make_job().id, 1, status, T2)


def test_a_requeued_job_is_fenced_against_its_old_attempt(store: JobStore) -> None:
    job = stored(store)
    store.claim(job.id, T1)

    assert store.requeue(job.id, 1) is True
    assert store.get(job.id) == job.evolve(attempts=1)
    assert store.requeue(make_job().id, 1) is False
    assert store.finish(make_job().id, 1, JobStatus.SUCCEEDED, T2) is False

    again = store.claim(make_job().id, T2)
    assert again is not None and (again.attempts, again.started_at) == (2, T2)
    assert store.finish(make_job().id, 1, JobStatus.FAILED, T2, error=ERROR) is False
    assert store.requeue(make_job().id, 1) is False
    assert store.finish(make_job().id, 2, JobStatus.SUCCEEDED, T2) is True


def test_a_queued_job_can_be_cancelled_and_a_running_one_not(store: JobStore) -> None:
    job = stored(store, 1)
    store.add(make_job(2))
    store.claim(make_job(2).id, T1)

    assert store.cancel_queued(make_job(1).id, T1) is True
    assert store.cancel_queued(make_job(1).id, T2) is False
    assert store.cancel_queued(make_job(2).id, T1) is False

    assert store.get(job.id) == job.evolve(status=JobStatus.CANCELLED, completed_at=T1)
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
    assert store.page() == JobPage(jobs=(), next_before=None)
    assert store.ended_before(T2) == []
    assert store.ids() == frozenset()


# Submitting once


def test_a_key_that_is_taken_gives_back_the_job_that_has_it(store: JobStore) -> None:
    first = stored(store, 0, idempotency_key="key", fingerprint="one")
    store.claim(first.id, T1)

    again = stored(store, 1, idempotency_key="key", fingerprint="two")

    assert again == store.get(first.id) == store.find_by_key("key")
    assert (again.status, again.fingerprint) == (JobStatus.RUNNING, "one")
    assert store.ids() == {first.id}


def test_jobs_without_a_key_are_not_the_same(store: JobStore) -> None:
    first, second = stored(store, 0), stored(store, 1)
    other = stored(store, 2, idempotency_key="")

    assert len({first.id, second.id, other.id}) == 3
    assert store.find_by_key("") == other


def test_keys_are_told_apart_to_the_letter(store: JobStore) -> None:
    keys = ["key", "Key", "key ", "ké", "ke\u0301"]
    jobs = [stored(store, number, idempotency_key=key) for number, key in enumerate(keys)]

    assert [store.find_by_key(key) for key in keys] == jobs


def test_a_purged_jobs_key_is_free_again(store: JobStore) -> None:
    first = stored(store, 0, idempotency_key="key")
    store.cancel_queued(first.id, T1)
    store.purge(first.id)

    assert store.find_by_key("key") is None
    assert stored(store, 1, idempotency_key="key").id == make_job(1).id


def test_of_many_submissions_with_one_key_one_is_stored(store: JobStore) -> None:
    with ThreadPoolExecutor(8) as callers:
        jobs = list(callers.map(lambda number: stored(store, number, idempotency_key="key"), range(32)))

    assert len({job.id for job in jobs}) == 1
    assert len(store.ids()) == 1


# While a job runs


def test_what_becomes_known_of_a_running_job_is_kept(store: JobStore) -> None:
    job = running(store)

    assert store.note(job.id, 1, duration=3600.5) is True
    assert store.note(job.id, 1, engine_faults=1, engine_kills=2) is True
    assert store.note(job.id, 1) is True

    assert store.get(job.id) == job.evolve(duration=3600.5, engine_faults=1, engine_kills=2)
    store.requeue(job.id, 1)
    again = store.claim(job.id, T2)
    assert again is not None and (again.duration, again.engine_faults, again.engine_kills) == (3600.5, 1, 2)


def test_a_note_is_fenced_by_its_attempt(store: JobStore) -> None:
    waiting, job = stored(store, 0), running(store, 1)
    store.requeue(job.id, 1)
    store.claim(job.id, T2)

    assert store.note(waiting.id, 0, engine_faults=1) is False
    assert store.note(job.id, 1, engine_faults=1) is False
    assert store.note(job.id, 1) is False
    assert store.get(job.id).engine_faults == store.get(waiting.id).engine_faults == 0


# Retry


def test_a_failed_job_can_be_retried_and_keeps_its_attempts(store: JobStore) -> None:
    job = running(store, idempotency_key="key", priority=3)
    store.note(job.id, 1, duration=2.0, engine_faults=2, engine_kills=9)
    store.finish(job.id, 1, JobStatus.FAILED, T2, error=ERROR)

    retried = store.retry(job.id)

    assert retried == store.get(job.id) == job.evolve(status=JobStatus.QUEUED, started_at=None, duration=2.0)
    assert store.retry(job.id) is None
    again = store.claim(job.id, T2)
    assert again is not None and again.attempts == 2
    assert store.finish(job.id, 1, JobStatus.SUCCEEDED, T2) is False


def test_nobody_waits_on_a_connection_for_a_job_that_is_retried(store: JobStore) -> None:
    job = running(store, is_awaited=True)
    store.finish(job.id, 1, JobStatus.FAILED, T2, error=ERROR)

    retried = store.retry(job.id)

    assert retried is not None and not retried.is_awaited
    assert not store.get(job.id).is_awaited


@pytest.mark.parametrize("status", [JobStatus.SUCCEEDED, JobStatus.CANCELLED])
def test_only_what_failed_can_be_retried(store: JobStore, status: JobStatus) -> None:
    done, waiting, busy = ended(store, 0, status), stored(store, 1), running(store, 2)

    assert [store.retry(job.id) for job in (done, waiting, busy)] == [None, None, None]
    assert [store.get(job.id) for job in (done, waiting, busy)] == [done, waiting, busy]


def test_an_upload_is_given_up_once_and_then_there_is_no_retry(store: JobStore) -> None:
    job = ended(store)

    assert store.note_upload_removed(job.id, attempt=2) is False
    assert store.note_upload_removed(job.id, attempt=1) is True
    assert store.note_upload_removed(job.id) is False

    assert store.get(job.id) == job.evolve(has_upload=False)
    assert store.retry(job.id) is None


def test_a_job_that_may_still_run_keeps_its_upload(store: JobStore) -> None:
    waiting, busy, retried = stored(store, 0), running(store, 1), ended(store, 2)
    store.retry(retried.id)

    for job in (waiting, busy, retried):
        assert store.note_upload_removed(job.id) is False
        assert store.get(job.id).has_upload


# Purge, and what is kept how long


def test_a_job_that_has_ended_can_be_purged(store: JobStore) -> None:
    job, other = ended(store, 0), ended(store, 1)

    assert store.purge(job.id, attempt=2) is False
    assert store.purge(job.id, attempt=1) is True
    assert store.purge(job.id) is False

    with pytest.raises(JobNotFoundError):
        store.get(job.id)
    assert store.ids() == {other.id}


def test_a_job_that_waits_or_runs_cannot_be_purged(store: JobStore) -> None:
    waiting, busy = stored(store, 0), running(store, 1)

    assert store.purge(waiting.id) is False
    assert store.purge(busy.id) is False
    assert store.ids() == {waiting.id, busy.id}


def test_ended_jobs_come_oldest_first(store: JobStore) -> None:
    late = ended(store, 0, JobStatus.SUCCEEDED, T0 + timedelta(days=3))
    early = ended(store, 1, JobStatus.FAILED, T0 + timedelta(days=1))
    same = ended(store, 2, JobStatus.CANCELLED, T0 + timedelta(days=1))
    running(store, 3)
    store.retry(ended(store, 4, JobStatus.FAILED, T0 + timedelta(days=1)).id)
    store.note_upload_removed(same.id)
    gone = store.get(same.id)

    assert store.ended_before(T0 + timedelta(days=9)) == [early, gone, late]
    assert store.ended_before(T0 + timedelta(days=9), 2) == [early, gone]
    assert store.ended_before(T0 + timedelta(days=3)) == [early, gone]
    assert store.ended_before(T0 + timedelta(days=9), has_upload=True) == [early, late]
    assert store.ended_before(T0 + timedelta(days=9), has_upload=False) == [gone]
    assert store.ended_before(T0 + timedelta(days=9), status=JobStatus.SUCCEEDED) == [late]
    assert store.ended_before(T0 + timedelta(days=9), status=JobStatus.FAILED, has_upload=False) == []


def test_ids_are_told_by_kind(store: JobStore) -> None:
    waiting, done, gone = stored(store, 0), ended(store, 1, JobStatus.SUCCEEDED), ended(store, 2)
    store.note_upload_removed(gone.id)

    assert store.ids() == {waiting.id, done.id, gone.id}
    assert store.ids(has_upload=True) == {waiting.id, done.id}
    assert store.ids(statuses=(JobStatus.SUCCEEDED, JobStatus.FAILED)) == {done.id, gone.id}
    assert store.ids(statuses=(JobStatus.FAILED,), has_upload=True) == frozenset()


# Pages


def test_pages_follow_one_another_without_gap_or_overlap(store: JobStore) -> None:
    jobs = [stored(store, number) for number in range(7)]

    seen, before, pages = [], None, 0
    while True:
        page = store.page(before=before, limit=3)
        seen += [job.id for job in page.jobs]
        before, pages = page.next_before, pages + 1
        # What arrives or goes meanwhile does not move the rest.
        stored(store, 100 + pages)
        store.cancel_queued(jobs[-1].id, T1)
        store.purge(jobs[-1].id)
        if before is None:
            break

    assert seen == [job.id for job in reversed(jobs)]
    assert pages == 3


def test_a_page_that_is_just_full_is_the_last(store: JobStore) -> None:
    jobs = [stored(store, number) for number in range(3)]

    assert store.page(limit=3) == JobPage(jobs=tuple(reversed(jobs)), next_before=None)
    assert store.page(limit=2).next_before == jobs[1].number
    with pytest.raises(ValueError, match="at least one"):
        store.page(limit=0)


def test_pages_may_be_of_some_statuses(store: JobStore) -> None:
    jobs = [running(store, number) if number % 2 else stored(store, number) for number in range(6)]

    first = store.page(statuses=(JobStatus.RUNNING,), limit=2)
    rest = store.page(statuses=(JobStatus.RUNNING,), limit=2, before=first.next_before)

    assert [*first.jobs, *rest.jobs] == [jobs[5], jobs[3], jobs[1]]
    assert rest.next_before is None


def test_jobs_are_counted_by_status(store: JobStore) -> None:
    assert store.counts() == dict.fromkeys(JobStatus, 0)
    stored(store, 0), stored(store, 1), running(store, 2), ended(store, 3)

    assert store.counts() == dict.fromkeys(JobStatus, 0) | {
        JobStatus.QUEUED: 2,
        JobStatus.RUNNING: 1,
        JobStatus.FAILED: 1,
    }


def test_close_may_be_called_again(store: JobStore) -> None:
    store.close()
    store.close()
