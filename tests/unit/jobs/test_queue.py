"""The runner: bounded, in order, with slots that long jobs never hold, and not ended by a job that fails."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fake_ports import FakeClock
from standin_start import eventually
from transcriber.domain.errors import QueueFullError, ShuttingDownError
from transcriber.jobs.queue import JobQueue, Slots, WaitingJob

DEADLINE = 5.0


class Work:
    """Jobs that wait until they are let go. Those whose names begin with 's' are short."""

    def __init__(self) -> None:
        self.started = threading.Semaphore(0)
        self.release = threading.Semaphore(0)
        self.finished = threading.Semaphore(0)
        self.begun: list[str] = []
        self.done: list[str] = []
        self.looked: list[str] = []

    def look(self, waiting: WaitingJob) -> bool | None:
        self.looked.append(waiting.job_id)
        if waiting.job_id.startswith("gone"):
            return None
        if waiting.job_id.startswith("odd"):
            raise RuntimeError(waiting.job_id)
        if waiting.job_id.startswith("held"):
            assert self.release.acquire(timeout=DEADLINE)
        return waiting.job_id.startswith("s")

    def run(self, waiting: WaitingJob) -> None:
        self.begun.append(waiting.job_id)
        self.started.release()
        assert self.release.acquire(timeout=DEADLINE)
        self.done.append(waiting.job_id)
        self.finished.release()
        if waiting.job_id.startswith("bad"):
            raise RuntimeError(waiting.job_id)


class Bench:
    def __init__(self, work: Work, runner: JobQueue, clock: FakeClock) -> None:
        self.work, self.runner, self.clock = work, runner, clock
        self.number = 0

    def put(self, *job_ids: str, priority: int = 0, delay: float = 0.0) -> None:
        for job_id in job_ids:
            self.number += 1
            self.runner.put(WaitingJob(job_id=job_id, number=self.number, priority=priority), delay=delay)

    def begun(self, count: int) -> list[str]:
        assert eventually(lambda: len(self.work.begun) >= count, DEADLINE)
        return self.work.begun

    def let_all_go(self, count: int) -> list[str]:
        self.work.release.release(count)
        for _ in range(count):
            assert self.work.finished.acquire(timeout=DEADLINE)
        return self.work.done


@contextmanager
def running(*, long: int = 1, short: int = 0, max_queue: int = 10) -> Iterator[Bench]:
    work, clock = Work(), FakeClock()
    slots = Slots(long=long, short=short, max_queue=max_queue)
    runner = JobQueue(look=work.look, run=work.run, slots=slots, clock=clock)
    runner.start()
    try:
        yield Bench(work, runner, clock)
    finally:
        runner.stop()
        work.release.release(100)
        runner.join(DEADLINE)


def test_jobs_run_in_the_order_they_came() -> None:
    with running() as bench:
        bench.put("a", "b", "c")

        assert bench.let_all_go(3) == ["a", "b", "c"]


def test_higher_priority_goes_first_and_never_interrupts() -> None:
    with running() as bench:
        bench.put("running")
        bench.begun(1)
        bench.put("late", priority=-5)
        bench.put("plain", "plain too")
        bench.put("urgent", priority=5)

        assert bench.let_all_go(5) == ["running", "urgent", "plain", "plain too", "late"]


def test_short_job_does_not_wait_behind_long_ones() -> None:
    with running(long=1, short=1) as bench:
        bench.put("long 1", "long 2", "long 3", "short")

        assert bench.begun(2) == ["long 1", "short"]
        assert eventually(
            lambda: [each.job_id for each in bench.runner.line() if each.is_long] == ["long 2", "long 3"]
        )


def test_long_jobs_never_take_the_short_slots() -> None:
    with running(long=1, short=2) as bench:
        bench.put("long 1", "long 2", "long 3")
        bench.begun(1)

        assert eventually(lambda: len(bench.work.looked) == 2)
        assert bench.work.begun == ["long 1"]
        assert bench.let_all_go(3) == ["long 1", "long 2", "long 3"]


def test_slots_are_told_with_those_who_hold_them() -> None:
    with running(long=1, short=1) as bench:
        bench.put("s in a long slot")
        bench.begun(1)
        bench.put("long", "s in a short slot")
        bench.begun(2)

        assert bench.runner.held() == {"s in a long slot": False, "s in a short slot": True}
        bench.let_all_go(3)
        assert eventually(lambda: bench.runner.held() == {})


def test_free_long_slot_takes_any_job_without_looking() -> None:
    with running(long=2, short=1) as bench:
        bench.put("short", "long")
        bench.begun(2)

        assert bench.work.looked == []


def test_job_that_is_gone_when_looked_at_is_dropped() -> None:
    with running(long=1, short=1) as bench:
        bench.put("long", "gone")

        assert eventually(lambda: bench.work.looked == ["gone"] and bench.runner.waiting == 0)


def test_job_that_can_not_be_looked_at_waits_for_a_long_slot() -> None:
    with running(long=1, short=1) as bench:
        bench.put("long", "odd")

        assert eventually(lambda: [each.is_long for each in bench.runner.line()] == [True])


def test_job_that_is_looked_at_still_waits() -> None:
    with running(long=1, short=1) as bench:
        bench.put("long", "held", "next")
        assert eventually(lambda: bench.work.looked == ["held"])

        assert [each.job_id for each in bench.runner.line()] == ["held", "next"]


def test_full_queue_is_refused_before_and_at_submission() -> None:
    with running(max_queue=1) as bench:
        bench.put("running")
        bench.begun(1)
        bench.runner.reserve()

        with pytest.raises(QueueFullError):
            bench.runner.check_room()
        with pytest.raises(QueueFullError):
            bench.runner.reserve()

        bench.runner.release()
        bench.runner.check_room()


def test_stored_job_is_queued_even_if_the_queue_is_full() -> None:
    with running(max_queue=0) as bench:
        bench.put("running", "taken up", "taken up too")

        assert len(bench.let_all_go(3)) == 3


def test_withdrawn_job_does_not_run() -> None:
    with running() as bench:
        bench.put("first")
        bench.begun(1)
        bench.put("second")
        bench.put("third", delay=60)

        assert [bench.runner.withdraw(job_id) for job_id in ("first", "second", "third")] == [
            False,
            True,
            True,
        ]
        assert bench.runner.waiting == 0


def test_delayed_job_runs_when_its_time_has_come() -> None:
    with running() as bench:
        bench.put("later", delay=30)
        bench.put("now")
        assert bench.let_all_go(1) == ["now"]

        bench.clock.seconds = 31.0
        bench.runner.wake()

        assert bench.let_all_go(1) == ["now", "later"]


def test_failing_job_does_not_end_the_runner() -> None:
    with running() as bench:
        bench.put("bad", "good")

        assert bench.let_all_go(2) == ["bad", "good"]


def test_stopped_runner_begins_and_takes_nothing() -> None:
    with running() as bench:
        bench.put("running")
        bench.begun(1)
        bench.put("waiting")

        bench.runner.stop()
        bench.let_all_go(1)
        bench.runner.join(DEADLINE)

        assert bench.work.done == ["running"]
        assert bench.runner.waiting == 1
        with pytest.raises(ShuttingDownError):
            bench.runner.reserve()
