"""Wrong keys slow down whoever sends them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

#: Wrong tries from one address that cost nothing, and the longest wait after further ones, in seconds.
FREE_TRIES = 5
LONGEST_WAIT = 60.0

#: Wrong tries are forgotten after this time without another, in seconds.
FORGET_SECONDS = 900.0

#: Addresses that are remembered; beyond that the one that tried longest ago is forgotten.
MAX_ADDRESSES = 10_000


class Tries:
    """Counts wrong keys by address. After a few, each doubles the wait. Safe to call from any thread."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._wrong: dict[str, tuple[int, float]] = {}

    def wait_seconds(self, address: str) -> float:
        """How long this address has to wait before its next try; 0: not at all."""
        with self._lock:
            count, at = self._wrong.get(address, (0, 0.0))
        if count < FREE_TRIES:
            return 0.0
        wait = min(2.0 ** (count - FREE_TRIES), LONGEST_WAIT)
        return max(0.0, at + wait - self._now())

    def note_wrong(self, address: str) -> None:
        """Remember a wrong try."""
        now = self._now()
        with self._lock:
            count, at = self._wrong.pop(address, (0, now))
            self._wrong[address] = (1 if now - at > FORGET_SECONDS else count + 1, now)
            if len(self._wrong) > MAX_ADDRESSES:
                del self._wrong[next(iter(self._wrong))]

    def forget(self, address: str) -> None:
        """The right key came."""
        with self._lock:
            self._wrong.pop(address, None)
