"""A process that delivers what is in a job store, until its input ends or it is killed: for tests.

webhook_program.py DATABASE [gevent]. At the end it prints the longest time in which nothing else could run.
"""

from __future__ import annotations

import sys

if "gevent" in sys.argv[2:]:
    from gevent import monkey

    monkey.patch_all()

import concurrent.futures
import json
import random
import threading
import time
from pathlib import Path

from transcriber.jobs.store.sqlite import SqliteJobStore
from transcriber.system.clock import SystemClock
from transcriber.webhooks.dispatcher import Dispatcher
from transcriber.webhooks.guard import Guard
from transcriber.webhooks.sender import HttpSender


def native_executor() -> concurrent.futures.Executor:
    if "gevent" in sys.argv[2:]:
        from gevent.threadpool import ThreadPoolExecutor

        executor: concurrent.futures.Executor = ThreadPoolExecutor(1)
        return executor
    return concurrent.futures.ThreadPoolExecutor(1)


def longest_gap(is_over: threading.Event) -> float:
    """How long this thread had to wait beyond the 10 ms that it asked for."""
    longest = 0.0
    while not is_over.is_set():
        began = time.monotonic()
        time.sleep(0.01)
        longest = max(longest, time.monotonic() - began - 0.01)
    return longest


def main() -> None:
    store = SqliteJobStore(Path(sys.argv[1]), native_executor())
    sender = HttpSender(Guard(["127.0.0.0/8", "::1/128"]), version="test")
    dispatcher = Dispatcher(store.outbox, sender, SystemClock(), random.Random())
    dispatcher.start()
    is_over = threading.Event()
    gaps: list[float] = []
    watch = threading.Thread(target=lambda: gaps.append(longest_gap(is_over)))
    watch.start()
    if "gevent" in sys.argv[2:]:
        from gevent.fileobject import FileObjectThread

        FileObjectThread(sys.stdin.buffer).read()
    else:
        sys.stdin.buffer.read()
    dispatcher.close(5)
    is_over.set()
    watch.join()
    store.close()
    print(json.dumps({"gap": gaps[0]}))


if __name__ == "__main__":
    main()
