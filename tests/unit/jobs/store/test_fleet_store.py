"""What the nodes of a fleet share: who claims what, fences, rescue, journals and workers, on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from job_stores import NOW, make_job
from postgres_server import PostgresServer
from transcriber.domain.jobs import JobStatus
from transcriber.jobs.store.postgres.database import Hold
from transcriber.jobs.store.postgres.fleet import Lengths
from transcriber.jobs.store.postgres.store import PostgresJobStore


@pytest.fixture(scope="module")
def url(postgres: PostgresServer) -> str:
    return postgres.new_database()


@pytest.fixture
def store(url: str, postgres: PostgresServer) -> Iterator[PostgresJobStore]:
    store = PostgresJobStore(url, hold=Hold.SHARED)
    postgres.execute("TRUNCATE jobs, runs, journal_lines, workers, waiters, api_keys RESTART IDENTITY", url)
    yield store
    store.close()


def age(postgres: PostgresServer, url: str, job_id: str) -> None:
    """As if the worker had been silent for an hour."""
    postgres.execute(
        f"UPDATE runs SET heartbeat_at = now() - interval '1 hour' WHERE job_id = '{job_id}'", url
    )


def test_each_job_is_claimed_once_by_whoever_comes(store: PostgresJobStore) -> None:
    ids = [store.add(make_job(number)).id for number in range(40)]

    with ThreadPoolExecutor(8) as pool:
        claimed = list(
            pool.map(lambda n: store.fleet.claim_next(f"worker {n % 4}", has_gpu=False), range(60))
        )

    taken = [job.id for job in claimed if job is not None]
    assert sorted(taken) == ids
    assert {store.get(job_id).attempts for job_id in ids} == {1}


def test_priority_then_turns_of_owners_then_order(store: PostgresJobStore) -> None:
    jobs = [("a", 0), ("a", 0), ("a", 0), ("b", 0), ("a", 5)]
    for number, (owner, priority) in enumerate(jobs):
        store.add(make_job(number).evolve(owner=owner, priority=priority))

    order = [job.id[-1] for _ in jobs if (job := store.fleet.claim_next("w", has_gpu=False)) is not None]

    assert order == ["4", "3", "0", "1", "2"]


def test_worker_without_a_proven_gpu_leaves_jobs_that_require_one(store: PostgresJobStore) -> None:
    plain = make_job()
    job = store.add(plain.evolve(request=replace(plain.request, require_gpu=True)))

    assert store.fleet.claim_next("w", has_gpu=False) is None
    claimed = store.fleet.claim_next("w", has_gpu=True)
    assert claimed is not None and claimed.id == job.id


def test_job_of_a_silent_worker_is_rescued_and_its_attempt_writes_nothing_more(
    store: PostgresJobStore, postgres: PostgresServer, url: str
) -> None:
    dead, alive = store.add(make_job(0)), store.add(make_job(1))
    for _ in range(2):
        store.fleet.claim_next("w", has_gpu=False)
    store.fleet.add_lines(dead.id, 1, ["done"])
    age(postgres, url, dead.id)

    assert store.fleet.rescue(15) == [dead.id]
    assert store.fleet.beat([(dead.id, 1, None), (alive.id, 1, {"percent": 5})]) == {dead.id}
    assert store.fleet.add_lines(dead.id, 1, ["late"]) is False
    assert store.finish(dead.id, 1, JobStatus.SUCCEEDED, NOW) is False
    again = store.fleet.claim_next("w2", has_gpu=False)
    assert again is not None and (again.id, again.attempts) == (dead.id, 2)
    assert store.fleet.add_lines(dead.id, 1, ["late"]) is False
    assert [line for _, line in store.fleet.lines(dead.id)] == ["done"]
    assert store.fleet.progress(alive.id) == {"percent": 5} and store.fleet.progress(dead.id) is None


def test_lines_are_read_on_from_a_number_and_go_with_the_end(store: PostgresJobStore) -> None:
    job = store.add(make_job())
    store.fleet.claim_next("w", has_gpu=False)
    store.fleet.add_lines(job.id, 1, ["a", "b"])
    first, second = store.fleet.lines(job.id)
    store.fleet.add_lines(job.id, 1, ["c"])

    assert [line for _, line in store.fleet.lines(job.id, second[0])] == ["c"] and first[1] == "a"
    store.fleet.tidy()
    assert len(store.fleet.lines(job.id)) == 3
    store.finish(job.id, 1, JobStatus.SUCCEEDED, NOW)
    store.fleet.tidy()
    assert store.fleet.lines(job.id) == []


def test_job_that_was_put_off_waits(store: PostgresJobStore) -> None:
    job = store.add(make_job())
    store.fleet.claim_next("w", has_gpu=False)
    store.requeue(job.id, 1)
    store.fleet.wait(job.id, 3600)

    assert store.fleet.claim_next("w", has_gpu=False) is None and store.fleet.ready() == {}
    store.fleet.wait(job.id, 0)
    assert (
        store.fleet.ready() == {(False, False): 1} and store.fleet.claim_next("w", has_gpu=False) is not None
    )


def test_workers_are_seen_with_their_age(store: PostgresJobStore) -> None:
    store.fleet.report("w1", {"device": "cpu"})
    store.fleet.report("w1", {"device": "cuda"})

    (worker,) = store.fleet.workers()
    assert worker.id == "w1" and worker.facts == {"device": "cuda"} and worker.age < 60


SHORT = Lengths(short_seconds=60, takes_long=False)
LONG = Lengths(short_seconds=60, takes_short=False)


def test_worker_takes_the_lengths_that_it_is_there_for(store: PostgresJobStore) -> None:
    """A job whose length nobody guessed is a long one."""
    jobs = [store.add(make_job(number)) for number in range(3)]
    store.fleet.expect(jobs[0].id, 600)
    store.fleet.expect(jobs[1].id, 8)

    assert store.fleet.ready(60) == {(False, False): 2, (True, False): 1}
    short = store.fleet.claim_next("w", has_gpu=False, lengths=SHORT)
    assert short is not None and short.id == jobs[1].id
    assert store.fleet.claim_next("w", has_gpu=False, lengths=SHORT) is None
    long = [store.fleet.claim_next("w", has_gpu=False, lengths=LONG) for _ in range(2)]
    assert [job.id for job in long if job is not None] == [jobs[0].id, jobs[2].id]


def test_key_s_limit_of_jobs_at_work_holds_in_the_fleet(
    store: PostgresJobStore, postgres: PostgresServer, url: str
) -> None:
    postgres.execute(
        "INSERT INTO api_keys (id, name, role, digest, created_at, max_jobs) "
        "VALUES ('k', 'k', 'user', 'd', now(), 1)",
        url,
    )
    mine = [store.add(make_job(number).evolve(owner="k")) for number in range(2)]
    other = store.add(make_job(2).evolve(owner="other"))

    claimed = [store.fleet.claim_next("w", has_gpu=False) for _ in range(3)]

    assert [job.id if job else None for job in claimed] == [mine[0].id, other.id, None]
    store.finish(mine[0].id, 1, JobStatus.SUCCEEDED, NOW)
    later = store.fleet.claim_next("w", has_gpu=False)
    assert later is not None and later.id == mine[1].id


def test_line_is_by_priority_then_order(store: PostgresJobStore) -> None:
    jobs = [store.add(make_job(number).evolve(priority=number % 2, owner="k")) for number in range(4)]

    line = store.fleet.line(3)

    assert [each.job_id for each in line] == [jobs[1].id, jobs[3].id, jobs[0].id]
    assert {each.owner for each in line} == {"k"}


def test_awaited_job_is_abandoned_once_nobody_says_that_he_waits(
    store: PostgresJobStore, postgres: PostgresServer, url: str
) -> None:
    """Its client's web node died: the answer would reach nobody."""
    awaited, free = store.add(make_job(0).evolve(is_awaited=True)), store.add(make_job(1))
    store.fleet.wait_for([awaited.id, free.id])
    assert store.fleet.abandoned(60) == []

    postgres.execute("UPDATE waiters SET seen_at = now() - interval '61 s'", url)

    assert store.fleet.abandoned(60) == [awaited.id]
    store.fleet.wait_for([awaited.id])
    assert store.fleet.abandoned(60) == []
