from __future__ import annotations

from datetime import timedelta

import pytest

from job_stores import NOW, make_delivery
from transcriber.domain.jobs import DeliveryStatus
from transcriber.webhooks.tries import ADDRESS_NOT_ALLOWED, RETRY_DELAYS, TryResult, judge


def test_table_doubles_from_a_second_to_an_hour_for_a_day() -> None:
    assert RETRY_DELAYS[:6] == (1, 2, 4, 8, 16, 32)
    assert len(RETRY_DELAYS) == 35
    assert max(RETRY_DELAYS) == 3600
    assert 24 <= sum(RETRY_DELAYS) / 3600 < 24.5


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_2xx_is_delivered(status: int) -> None:
    done = judge(make_delivery(tries=3, last_error="timed_out"), TryResult(status=status), NOW, chance=0.5)

    assert done.status is DeliveryStatus.DELIVERED
    assert (done.tries, done.last_status, done.last_error, done.delivered_at) == (4, status, None, NOW)


@pytest.mark.parametrize(
    ("result", "error"),
    [
        (TryResult(status=500), "refused"),
        (TryResult(status=404), "refused"),
        (TryResult(status=429), "refused"),
        (TryResult(status=103), "refused"),
        (TryResult(status=302), "redirected"),
        (TryResult(error="timed_out"), "timed_out"),
        (TryResult(), "bad_reply"),
    ],
)
def test_any_other_answer_is_tried_again(result: TryResult, error: str) -> None:
    again = judge(make_delivery(), result, NOW, chance=0.5)

    assert again.status is DeliveryStatus.PENDING
    assert (again.tries, again.last_status, again.last_error) == (1, result.status, error)
    assert again.next_try_at == NOW + timedelta(seconds=1)


@pytest.mark.parametrize("result", [TryResult(status=410), TryResult(error=ADDRESS_NOT_ALLOWED)])
def test_receiver_that_is_gone_or_not_allowed_is_given_up_at_once(result: TryResult) -> None:
    over = judge(make_delivery(), result, NOW, chance=0.5)

    assert over.status is DeliveryStatus.GIVEN_UP
    assert over.last_error == (result.error or "gone")


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 4.0), (0.5, 8.0), (0.999, 11.992)])
def test_wait_is_spread_around_the_mean_of_the_table(chance: float, seconds: float) -> None:
    again = judge(make_delivery(tries=3), TryResult(status=500), NOW, chance=chance)

    assert again.next_try_at == NOW + timedelta(seconds=seconds)


def test_last_try_gives_up_and_the_one_before_does_not() -> None:
    before = judge(make_delivery(tries=34), TryResult(status=500), NOW, chance=0.5)
    last = judge(before, TryResult(status=500), NOW, chance=0.5)

    assert (before.tries, before.status) == (35, DeliveryStatus.PENDING)
    assert before.next_try_at == NOW + timedelta(hours=1)
    assert (last.tries, last.status) == (36, DeliveryStatus.GIVEN_UP)
