"""The runner: bounded, in order, and not ended by a job that fails."""

from __future__ import annotations

import threading

import pytest

from transcriber.domain.errors import QueueFullError, ShuttingDownError
from transcriber.jobs.runner import Runner

DEADLINE = 5.0


class Work:
    """Jobs that wait until they are let go."""

    def __init__(self) -> None:
        self.started = threading.Semaphore(0)
        self.release = threading.Semaphore(0)
        self.done: list[str] = []
        self.finished = threading.Semaphore(0)

    def run(self, job_id: str) -> None:
        self.started.release()
        assert self.release.acquire(timeout=DEADLINE)
        self.done.append(job_id)
        self.finished.release()
        if job_id.startswith("bad"):
            raise RuntimeError(job_id)


@pytest.fixture
def work() -> Work:
    return Work()


def start(work: Work, *, workers: int, max_queue: int) -> Runner:
    runner = Runner(work.run, workers=workers, max_queue=max_queue)
    runner.start()
    return runner


def test_jobs_run_in_the_order_they_came(work: Work) -> None:
    runner = start(work, workers=1, max_queue=10)
    for job_id in ("a", "b", "c"):
        runner.submit(job_id)
    for _ in range(3):
        work.release.release()
        assert work.finished.acquire(timeout=DEADLINE)

    assert work.done == ["a", "b", "c"]
    runner.close(DEADLINE)


def test_full_queue_is_refused_before_and_at_submission(work: Work) -> None:
    runner = start(work, workers=1, max_queue=1)
    runner.submit("running")
    assert work.started.acquire(timeout=DEADLINE)
    runner.submit("waiting")

    with pytest.raises(QueueFullError):
        runner.check_room()
    with pytest.raises(QueueFullError):
        runner.submit("too many")

    assert runner.waiting == 1
    work.release.release(2)
    runner.close(DEADLINE)


def test_withdrawn_job_does_not_run(work: Work) -> None:
    runner = start(work, workers=1, max_queue=5)
    runner.submit("first")
    assert work.started.acquire(timeout=DEADLINE)
    runner.submit("second")

    assert runner.withdraw("second") is True
    assert runner.withdraw("first") is False
    work.release.release()
    runner.close(DEADLINE)

    assert work.done == ["first"]


def test_failing_job_does_not_end_the_runner(work: Work) -> None:
    runner = start(work, workers=1, max_queue=5)
    for job_id in ("bad", "good"):
        runner.submit(job_id)
        work.release.release()
        assert work.finished.acquire(timeout=DEADLINE)

    assert work.done == ["bad", "good"]
    runner.close(DEADLINE)


def test_closed_runner_takes_nothing(work: Work) -> None:
    runner = start(work, workers=2, max_queue=5)

    runner.close(DEADLINE)

    with pytest.raises(ShuttingDownError):
        runner.submit("late")
