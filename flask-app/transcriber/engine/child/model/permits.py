"""So many threads at once in a step that takes much memory; the others in the order in which they came."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Permits:
    """A semaphore that is fair: who gives a permit back and wants another waits behind those who waited before."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._lock = threading.Lock()
        self._waiting: deque[threading.Event] = deque()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold a permit meanwhile."""
        self._take()
        try:
            yield
        finally:
            self._give()

    @property
    def waiting(self) -> int:
        """How many threads wait for one."""
        with self._lock:
            return len(self._waiting)

    def _take(self) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            turn = threading.Event()
            self._waiting.append(turn)
        turn.wait()

    def _give(self) -> None:
        """The permit goes to who waited longest, and is not free in between."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._free += 1
