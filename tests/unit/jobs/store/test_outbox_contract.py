"""What every outbox promises, and that a job ends together with its message; each test runs over each store."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from job_stores import NOW, make_delivery, make_job
from transcriber.domain.jobs import Delivery, DeliveryStatus, Job, JobStatus
from transcriber.jobs.store.memory import MemoryJobStore
from transcriber.jobs.store.sql import SqlJobStore

Store = MemoryJobStore | SqlJobStore
LATER = NOW + timedelta(hours=1)


def running(store: Store, number: int = 0) -> Job:
    job = store.claim(store.add(make_job(number)).id, NOW)
    assert job is not None
    return job


def waiting(store: Store, number: int, due: datetime) -> Delivery:
    """A message of its own job, that is due then."""
    job = running(store, number)
    delivery = make_delivery(number, job, next_try_at=due)
    store.finish(job.id, 1, JobStatus.SUCCEEDED, NOW, delivery=delivery)
    return delivery


def test_a_job_ends_together_with_its_message(store: Store) -> None:
    job = running(store)
    delivery = make_delivery(job=job)

    assert store.finish(job.id, 1, JobStatus.SUCCEEDED, NOW, delivery=delivery) is True

    assert store.outbox.of_job(job.id) == store.outbox.due(NOW) == [delivery]
    assert "whsec_" not in repr(store.outbox.due(NOW))


def test_a_cancelled_job_ends_together_with_its_message(store: Store) -> None:
    job = store.add(make_job())

    assert store.cancel_queued(job.id, NOW, delivery=make_delivery(1)) is True
    assert store.cancel_queued(job.id, NOW, delivery=make_delivery(2)) is False

    assert store.outbox.of_job(job.id) == [make_delivery(1)]


def test_who_does_not_end_the_job_sends_nothing(store: Store) -> None:
    job = running(store)
    store.requeue(job.id, 1)
    store.claim(job.id, NOW)

    assert store.finish(job.id, 1, JobStatus.FAILED, NOW, delivery=make_delivery(1)) is False
    assert store.cancel_queued(job.id, NOW, delivery=make_delivery(2)) is False
    assert store.finish(job.id, 2, JobStatus.SUCCEEDED, NOW, delivery=make_delivery(3)) is True
    assert store.finish(job.id, 2, JobStatus.FAILED, NOW, delivery=make_delivery(4)) is False

    assert [delivery.id for delivery in store.outbox.of_job(job.id)] == ["msg_3"]


def test_a_message_that_cannot_be_kept_leaves_the_job_running(store: Store) -> None:
    waiting(store, 0, NOW)
    job = running(store, 1)

    with pytest.raises(ValueError, match="exists"):
        store.finish(job.id, 1, JobStatus.SUCCEEDED, NOW, delivery=make_delivery(0, job))

    assert store.get(job.id) == job
    assert store.outbox.of_job(job.id) == []


def test_messages_are_due_when_their_time_has_come_oldest_first(store: Store) -> None:
    second, third = waiting(store, 0, NOW + timedelta(seconds=2)), waiting(store, 1, LATER)
    first, same = waiting(store, 2, NOW), waiting(store, 3, NOW)

    assert store.outbox.due(NOW - timedelta(microseconds=1)) == []
    assert store.outbox.due(NOW) == [first, same]
    assert store.outbox.due(LATER) == [first, same, second, third]
    assert store.outbox.due(LATER, limit=3) == [first, same, second]


def test_the_next_message_tells_how_long_to_sleep(store: Store) -> None:
    assert store.outbox.next_due_at() is None
    late = waiting(store, 0, LATER)
    early = waiting(store, 1, NOW)

    assert store.outbox.next_due_at() == NOW
    store.outbox.record(early.evolve(status=DeliveryStatus.DELIVERED, tries=1, delivered_at=NOW))
    assert store.outbox.next_due_at() == LATER
    store.outbox.record(late.evolve(status=DeliveryStatus.GIVEN_UP, tries=9))
    assert store.outbox.next_due_at() is None


def test_a_try_that_failed_is_kept_and_tried_again(store: Store) -> None:
    delivery = waiting(store, 0, NOW)
    failed = delivery.evolve(tries=1, next_try_at=LATER, last_status=503, last_error="it said: ü")

    store.outbox.record(failed)

    assert store.outbox.due(NOW) == []
    assert store.outbox.due(LATER) == store.outbox.of_job(delivery.job_id) == [failed]


@pytest.mark.parametrize("outcome", [DeliveryStatus.DELIVERED, DeliveryStatus.GIVEN_UP])
def test_an_outcome_is_final(store: Store, outcome: DeliveryStatus) -> None:
    delivery = waiting(store, 0, NOW)
    done = delivery.evolve(status=outcome, tries=2, last_status=200, delivered_at=LATER)
    store.outbox.record(done)

    store.outbox.record(delivery.evolve(tries=3, last_error="a late echo of an earlier try"))

    assert store.outbox.of_job(delivery.job_id) == [done]
    assert store.outbox.due(LATER) == []


def test_a_try_does_not_change_what_is_sent(store: Store) -> None:
    delivery = waiting(store, 0, NOW)

    store.outbox.record(delivery.evolve(tries=1, url="https://other.example", secret="x", payload="{}"))

    assert store.outbox.of_job(delivery.job_id) == [delivery.evolve(tries=1)]


def test_messages_of_a_purged_job_go_with_it(store: Store) -> None:
    gone, kept = waiting(store, 0, NOW), waiting(store, 1, NOW)
    store.purge(gone.job_id)

    store.outbox.record(gone.evolve(tries=1))

    assert store.outbox.of_job(gone.job_id) == []
    assert store.outbox.due(LATER) == [kept]


def test_a_retried_job_keeps_its_messages_and_sends_another(store: Store) -> None:
    job = running(store)
    store.finish(job.id, 1, JobStatus.FAILED, NOW, delivery=make_delivery(1))
    store.retry(job.id)
    store.claim(job.id, NOW)
    store.finish(job.id, 2, JobStatus.SUCCEEDED, NOW, delivery=make_delivery(2))

    assert store.outbox.of_job(job.id) == [make_delivery(1), make_delivery(2)]
    assert store.outbox.of_job("job_unknown") == []
