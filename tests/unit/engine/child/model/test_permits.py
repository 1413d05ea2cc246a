"""Permits: no more at once than there are, in the order of asking."""

from __future__ import annotations

import queue
import threading
import time

from transcriber.engine.child.model.permits import Permits


def test_as_many_as_there_are_go_at_once() -> None:
    permits = Permits(2)

    with permits.one(), permits.one():
        assert permits.waiting == 0


def test_who_comes_again_waits_behind_who_waited() -> None:
    permits = Permits(1)
    order: queue.SimpleQueue[str] = queue.SimpleQueue()
    first_out, second_in = threading.Event(), threading.Event()

    def wait() -> None:
        with permits.one():
            order.put("waited")
            second_in.set()
            first_out.wait(10)

    with permits.one():
        other = threading.Thread(target=wait)
        other.start()
        deadline = time.monotonic() + 10
        while not permits.waiting and time.monotonic() < deadline:
            pass
    # The permit was handed over on leaving; whoever asks now finds none.
    assert second_in.wait(10)
    first_out.set()
    with permits.one():
        order.put("came again")
    other.join(10)

    assert [order.get(), order.get()] == ["waited", "came again"]


def test_permit_comes_back_from_a_step_that_failed() -> None:
    permits = Permits(1)
    for _ in range(3):
        try:
            with permits.one():
                raise ValueError
        except ValueError:
            continue

    with permits.one():
        assert permits.waiting == 0
