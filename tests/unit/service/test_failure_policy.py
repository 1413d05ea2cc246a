"""What a job waits for, and for how long."""

from __future__ import annotations

from dataclasses import replace

import pytest

from job_bench import make_job
from transcriber.domain.errors import EngineStartError
from transcriber.jobs.active_job import CancellationToken
from transcriber.service.failure_policy import RetryPolicy


class NotedLeash(CancellationToken):
    """Waits no time, and notes how long it was to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[float] = []

    def wait(self, seconds: float) -> None:
        self.waited.append(seconds)


def retry_policy(*, is_awaited: bool = False) -> tuple[RetryPolicy, NotedLeash]:
    cancellation = NotedLeash()
    return RetryPolicy(
        replace(make_job(), is_awaited=is_awaited), cancellation, lambda faults, kills: None
    ), cancellation


@pytest.mark.parametrize("code", ["numbers_differ", "engine_too_slow", "selftest_timeout"])
def test_job_that_needs_the_gpu_waits_for_the_engine_after_an_unfit_one(code: str) -> None:
    given, cancellation = retry_policy()
    error = EngineStartError("It is unfit.", code=code)

    answers = [given.may_wait_for_engine(error, needs_gpu=True) for _ in range(7)]

    assert answers == [True] * 6 + [False]
    assert sum(cancellation.waited) == 61


def test_job_that_may_leave_the_gpu_does_not_wait_for_an_unfit_engine() -> None:
    given, cancellation = retry_policy()

    assert not given.may_wait_for_engine(EngineStartError("It is unfit.", code="numbers_differ"))
    assert cancellation.waited == []


def test_who_waits_on_a_connection_is_answered_at_once() -> None:
    given, _ = retry_policy(is_awaited=True)

    assert not given.may_wait_for_engine(EngineStartError("Unfit.", code="words_differ"), needs_gpu=True)


def test_cause_that_stays_is_not_waited_for() -> None:
    given, _ = retry_policy()

    assert not given.may_wait_for_engine(EngineStartError("Gone.", code="cublas_missing"), needs_gpu=True)
