"""Patience with a server that went away."""

from __future__ import annotations

import pytest

from transcriber.cli.retries import PAUSES, InterruptedExchangeError, Retries
from transcriber.domain.errors import TranscriberError


class Time:
    """A clock that moves by being slept on."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def retries(time: Time) -> Retries:
    return Retries(60.0, time.monotonic, time.sleep)


def test_pauses_grow_to_a_limit_and_end_in_an_error(time: Time, retries: Retries) -> None:
    with pytest.raises(TranscriberError, match="gone") as caught:
        for _ in range(1000):
            retries.wait(InterruptedExchangeError("gone"))

    assert caught.value.code == "server_unreachable"
    assert time.pauses[:4] == [0.2, 0.4, 0.8, 1.6]
    assert max(time.pauses) == PAUSES.longest
    assert 60 <= time.now <= 60 + PAUSES.longest


def test_answer_gives_all_patience_back(time: Time, retries: Retries) -> None:
    for _ in range(1000):
        retries.wait(InterruptedExchangeError("gone"))
        retries.worked()

    assert set(time.pauses) == {0.2}


def test_pause_that_the_server_asks_for_is_kept(time: Time, retries: Retries) -> None:
    retries.wait(InterruptedExchangeError("stopping", 7.0))

    assert time.pauses == [7.0]


def test_full_queue_is_waited_for_without_end(time: Time, retries: Retries) -> None:
    for _ in range(1000):
        retries.wait(InterruptedExchangeError("full", 30.0, is_busy=True))

    assert time.now == 30_000
