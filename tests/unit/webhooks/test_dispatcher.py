from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest

import job_stores
from fake_ports import FakeClock
from transcriber.domain.errors import StorageFailedError
from transcriber.domain.jobs import Delivery, DeliveryStatus
from transcriber.jobs.store.memory_outbox import MemoryOutbox
from transcriber.system.clock import SystemClock
from transcriber.webhooks import dispatcher as dispatching
from transcriber.webhooks.dispatcher import Dispatcher
from transcriber.webhooks.tries import ADDRESS_NOT_ALLOWED, TryResult

OK = TryResult(status=204)
BAD = TryResult(status=500)


class FakeSender:
    """Answers each receiver as it is told, and holds the tries to those that are slow."""

    def __init__(self, *results: TryResult) -> None:
        self.results = list(results)
        self.sent: list[str] = []
        self.slow: dict[str, threading.Event] = {}
        self.error: Exception | None = None
        self.at_once: dict[str, int] = defaultdict(int)
        self.most_at_once = 0
        self._lock = threading.Lock()

    def send(self, delivery: Delivery, now: datetime) -> TryResult:
        with self._lock:
            self.sent.append(delivery.id)
            self.at_once[delivery.url] += 1
            self.most_at_once = max(self.most_at_once, self.at_once[delivery.url])
        if delivery.url in self.slow:
            self.slow[delivery.url].wait(10)
        with self._lock:
            self.at_once[delivery.url] -= 1
        if self.error is not None:
            raise self.error
        return self.results.pop(0) if self.results else OK


class BrokenOutbox(MemoryOutbox):
    """An outbox on a disk that can't be written for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.error: Exception | None = None
        self.refused = 0

    def record(self, delivery: Delivery) -> None:
        if self.error is not None:
            self.refused += 1
            raise self.error
        super().record(delivery)


class SlowOutbox(MemoryOutbox):
    """An outbox whose answer is old when it comes: the try that was under way has ended meanwhile."""

    def __init__(self, sender: FakeSender) -> None:
        super().__init__()
        self._sender = sender

    def due(self, now: datetime, limit: int = 20) -> list[Delivery]:
        found = super().due(now, limit)
        if self._sender.sent:
            for event in self._sender.slow.values():
                event.set()
            eventually(lambda: "webhook-sender" not in {thread.name for thread in threading.enumerate()})
        return found


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def outbox() -> MemoryOutbox:
    return MemoryOutbox()


def make_delivery(number: int, clock: FakeClock, **changes: Any) -> Delivery:
    changes = {"created_at": clock.now(), "next_try_at": clock.now()} | changes
    return job_stores.make_delivery(number, **changes)


@contextmanager
def running(
    outbox: MemoryOutbox, sender: FakeSender, clock: FakeClock, **options: Any
) -> Iterator[Dispatcher]:
    dispatcher = Dispatcher(outbox, sender, clock, random.Random(7), **options)
    dispatcher.start()
    try:
        yield dispatcher
    finally:
        for event in sender.slow.values():
            event.set()
        dispatcher.close(5)


def eventually(is_true: Callable[[], bool], *, waking: Dispatcher | None = None) -> None:
    deadline = time.monotonic() + 10
    while not is_true():
        assert time.monotonic() < deadline
        if waking is not None:
            waking.wake()
        time.sleep(0.005)


def only(outbox: MemoryOutbox) -> Delivery:
    (delivery,) = outbox.of_job(job_stores.make_job().id)
    return delivery


def test_delivery_that_waits_at_the_start_is_sent(clock: FakeClock, outbox: MemoryOutbox) -> None:
    outbox.put(make_delivery(1, clock))
    sender = FakeSender()

    with running(outbox, sender, clock):
        eventually(lambda: only(outbox).status is DeliveryStatus.DELIVERED)

    assert sender.sent == ["msg_1"]
    assert only(outbox).delivered_at == clock.now()


def test_new_delivery_is_sent_when_the_dispatcher_is_woken(clock: FakeClock, outbox: MemoryOutbox) -> None:
    sender = FakeSender()

    with running(outbox, sender, clock) as dispatcher:
        outbox.put(make_delivery(1, clock))
        dispatcher.wake()
        eventually(lambda: only(outbox).status is DeliveryStatus.DELIVERED)


def test_failed_try_is_repeated_when_its_time_has_come_under_the_same_id(
    clock: FakeClock, outbox: MemoryOutbox
) -> None:
    outbox.put(make_delivery(1, clock))
    sender = FakeSender(BAD, BAD, OK)

    with running(outbox, sender, clock) as dispatcher:
        eventually(lambda: only(outbox).tries == 1)
        waits = only(outbox).next_try_at - clock.now()
        clock.seconds += 1.5
        dispatcher.wake()
        eventually(lambda: only(outbox).tries == 2)
        clock.seconds += 3
        dispatcher.wake()
        eventually(lambda: only(outbox).status is DeliveryStatus.DELIVERED)

    assert 0.5 <= waits.total_seconds() <= 1.5
    assert sender.sent == ["msg_1"] * 3


def test_real_time_alone_brings_the_next_try(outbox: MemoryOutbox) -> None:
    clock = SystemClock()
    outbox.put(job_stores.make_delivery(1, created_at=clock.now(), next_try_at=clock.now()))
    sender = FakeSender(BAD, BAD, BAD, OK)
    dispatcher = Dispatcher(outbox, sender, clock, random.Random(7), delays=(0.05, 0.05, 0.05))
    dispatcher.start()

    eventually(lambda: only(outbox).status is DeliveryStatus.DELIVERED)
    dispatcher.close(5)

    assert only(outbox).tries == 4


def test_forbidden_receiver_is_given_up_at_once(clock: FakeClock, outbox: MemoryOutbox) -> None:
    outbox.put(make_delivery(1, clock))
    sender = FakeSender(TryResult(error=ADDRESS_NOT_ALLOWED))

    with running(outbox, sender, clock):
        eventually(lambda: only(outbox).status is DeliveryStatus.GIVEN_UP)

    assert (only(outbox).tries, only(outbox).last_error) == (1, "webhook_address_not_allowed")


def test_slow_receiver_holds_up_no_other_and_gets_one_message_at_a_time(
    clock: FakeClock, outbox: MemoryOutbox
) -> None:
    slow = "https://slow.example/hook"
    for number in range(30):
        outbox.put(make_delivery(number, clock, url=slow, job_id="slow"))
    for number in range(30, 60):
        outbox.put(make_delivery(number, clock, url=f"https://{number % 3}.fast.example/", job_id="fast"))
    sender = FakeSender()
    sender.slow[slow] = threading.Event()

    with running(outbox, sender, clock):
        eventually(lambda: all(d.status is DeliveryStatus.DELIVERED for d in outbox.of_job("fast")))
        assert sender.sent.count("msg_0") == 1 and all(d.tries == 0 for d in outbox.of_job("slow"))
        sender.slow[slow].set()
        eventually(lambda: all(d.status is DeliveryStatus.DELIVERED for d in outbox.of_job("slow")))

    assert sorted(sender.sent) == sorted(f"msg_{number}" for number in range(60))
    assert sender.most_at_once == 1


def test_more_slow_receivers_than_senders_take_turns(clock: FakeClock, outbox: MemoryOutbox) -> None:
    count = dispatching.SENDERS + 2
    sender = FakeSender()
    for number in range(count):
        url = f"https://{number}.example/"
        sender.slow[url] = threading.Event()
        outbox.put(make_delivery(number, clock, url=url))

    with running(outbox, sender, clock):
        eventually(lambda: len(sender.sent) == dispatching.SENDERS)
        sender.slow["https://0.example/"].set()
        eventually(lambda: len(sender.sent) == dispatching.SENDERS + 1)

    assert len(set(sender.sent)) == len(sender.sent)


def test_close_lets_a_try_end_and_keeps_what_came_of_it(clock: FakeClock, outbox: MemoryOutbox) -> None:
    delivery = make_delivery(1, clock)
    outbox.put(delivery)
    sender = FakeSender()
    sender.slow[delivery.url] = threading.Event()

    with running(outbox, sender, clock) as dispatcher:
        eventually(lambda: sender.sent == ["msg_1"])
        closing = threading.Thread(target=dispatcher.close, args=(10,))
        closing.start()
        sender.slow[delivery.url].set()
        closing.join(10)

    assert only(outbox).status is DeliveryStatus.DELIVERED


def test_try_that_close_cuts_off_is_repeated_by_the_next_dispatcher_under_the_same_id(
    clock: FakeClock, outbox: MemoryOutbox
) -> None:
    delivery = make_delivery(1, clock)
    outbox.put(delivery)
    sender = FakeSender()
    sender.slow[delivery.url] = threading.Event()

    with running(outbox, sender, clock) as dispatcher:
        eventually(lambda: sender.sent == ["msg_1"])
        dispatcher.close(0.01)
        assert only(outbox).tries == 0
    with running(outbox, sender, clock):
        eventually(lambda: only(outbox).status is DeliveryStatus.DELIVERED)

    assert sender.sent == ["msg_1", "msg_1"]


def test_closed_dispatcher_begins_nothing(clock: FakeClock, outbox: MemoryOutbox) -> None:
    sender = FakeSender()
    with running(outbox, sender, clock) as dispatcher:
        dispatcher.close(5)
        outbox.put(make_delivery(1, clock))
        dispatcher.wake()

    assert sender.sent == [] and only(outbox).tries == 0


def test_outcome_that_the_disk_refuses_is_kept_and_the_message_not_sent_again(
    clock: FakeClock,
) -> None:
    outbox = BrokenOutbox()
    outbox.error = StorageFailedError()
    outbox.put(make_delivery(1, clock))
    sender = FakeSender()

    with running(outbox, sender, clock) as dispatcher:
        eventually(lambda: outbox.refused >= 3, waking=dispatcher)
        outbox.error = None
        eventually(lambda: only(outbox).status is DeliveryStatus.DELIVERED, waking=dispatcher)

    assert sender.sent == ["msg_1"]


def test_answer_of_the_outbox_that_is_overtaken_by_a_try_sends_nothing_twice(clock: FakeClock) -> None:
    sender = FakeSender()
    outbox = SlowOutbox(sender)
    delivery = make_delivery(1, clock)
    sender.slow[delivery.url] = threading.Event()
    outbox.put(delivery)

    with running(outbox, sender, clock) as dispatcher:
        eventually(lambda: sender.sent == ["msg_1"])
        eventually(lambda: only(outbox).status is DeliveryStatus.DELIVERED, waking=dispatcher)

    assert sender.sent == ["msg_1"]


def test_fault_of_the_outbox_with_one_message_stops_no_other(clock: FakeClock) -> None:
    outbox = BrokenOutbox()
    outbox.error = RuntimeError("a fault of ours")
    outbox.put(make_delivery(1, clock))

    with running(outbox, FakeSender(), clock) as dispatcher:
        eventually(lambda: outbox.refused >= 1)
        outbox.error = None
        outbox.put(make_delivery(2, clock))
        eventually(
            lambda: {d.status for d in outbox.of_job(job_stores.make_job().id)} == {DeliveryStatus.DELIVERED},
            waking=dispatcher,
        )


def test_fault_of_the_sender_counts_as_a_failed_try(clock: FakeClock, outbox: MemoryOutbox) -> None:
    outbox.put(make_delivery(1, clock))
    sender = FakeSender()
    sender.error = RuntimeError("a fault of ours")

    with running(outbox, sender, clock):
        eventually(lambda: only(outbox).tries == 1)

    assert only(outbox).status is DeliveryStatus.PENDING
    assert only(outbox).last_error == "connection_failed"


def test_row_that_holds_no_url_does_not_stop_the_others(clock: FakeClock, outbox: MemoryOutbox) -> None:
    outbox.put(make_delivery(1, clock, url="http://[::1"))
    outbox.put(make_delivery(2, clock))

    with running(outbox, FakeSender(), clock):
        eventually(
            lambda: {d.status for d in outbox.of_job(job_stores.make_job().id)} == {DeliveryStatus.DELIVERED}
        )


def test_purged_job_takes_its_try_with_it(clock: FakeClock, outbox: MemoryOutbox) -> None:
    delivery = make_delivery(1, clock)
    outbox.put(delivery)
    sender = FakeSender()
    sender.slow[delivery.url] = threading.Event()

    with running(outbox, sender, clock) as dispatcher:
        eventually(lambda: sender.sent == ["msg_1"])
        outbox.drop(delivery.job_id)
        sender.slow[delivery.url].set()
        outbox.put(make_delivery(2, clock))
        dispatcher.wake()
        eventually(lambda: only(outbox).status is DeliveryStatus.DELIVERED)

    assert only(outbox).id == "msg_2"
