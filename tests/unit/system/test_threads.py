"""Native threads: values and errors come back to the caller, and under gevent nothing is printed beside the log."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError

import pytest

from transcriber.domain.errors import StorageFullError
from transcriber.system.threads import NativeExecutor

UNDER_GEVENT = """
from gevent import monkey; monkey.patch_all()
import sys; sys.path.insert(0, sys.argv[1])
import gevent
from transcriber.domain.errors import StorageFullError
from transcriber.system.threads import NativeExecutor

def fail():
    raise StorageFullError()

native = NativeExecutor(2)
caught = 0
for _ in range(5):
    try:
        native.submit(fail).result()
    except StorageFullError:
        caught += 1
future = native.submit(fail)
error = future.exception(5)
told = []
future.add_done_callback(told.append)
gevent.sleep(0)
print(caught, type(error).__name__, future.done(), told == [future])
print(native.submit(lambda a, b: a + b, 2, b=3).result(5), list(native.map(abs, [-1, -2])))
native.shutdown()
"""


@pytest.fixture
def native() -> Iterator[NativeExecutor]:
    with NativeExecutor(1) as executor:
        yield executor


def fail() -> None:
    raise StorageFullError("No room.")


def test_value_comes_back(native: NativeExecutor) -> None:
    assert native.submit(divmod, 7, 2).result(5) == (3, 1)
    assert list(native.map(abs, [-1, -2])) == [1, 2]


def test_error_comes_back_each_time_it_is_asked_for(native: NativeExecutor) -> None:
    future = native.submit(fail)

    for _ in range(2):
        with pytest.raises(StorageFullError, match="No room"):
            future.result(5)
    assert isinstance(future.exception(5), StorageFullError)
    assert future.done()


def test_work_that_waits_can_be_cancelled_and_callbacks_get_its_own_future(native: NativeExecutor) -> None:
    go, told = threading.Event(), threading.Event()
    busy, waiting = native.submit(go.wait, 10), native.submit(fail)
    seen: list[object] = []
    busy.add_done_callback(lambda future: (seen.append(future), told.set()))

    assert waiting.cancel()
    go.set()

    with pytest.raises(CancelledError):
        waiting.result(5)
    assert told.wait(5) and seen == [busy]


def test_under_gevent_an_expected_error_prints_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", UNDER_GEVENT, str(next(p for p in sys.path if p.endswith("flask-app")))],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.stderr == ""
    assert done.stdout.splitlines() == ["5 StorageFullError True True", "5 [1, 2]"]
