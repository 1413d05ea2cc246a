"""Wrong keys slow down their sender, and many of them every address that was not known before."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from ...system.backoff import Backoff

Value = TypeVar("Value")

#: Wrong tries from one address that cost nothing, and the longest wait after further ones, in seconds.
FREE_TRIES = 5
LONGEST_WAIT = 60.0
_WAITS = Backoff(1.0, LONGEST_WAIT)

#: Wrong tries are forgotten after this time without another, in seconds.
FORGET_SECONDS = 900.0

#: How long an address is trusted from which the right key came, in seconds.
KNOWN_SECONDS = 86_400.0

#: Wrong tries from all addresses that cost nothing, and how many more each second: a guesser may have many addresses.
FREE_IN_ALL = 100
MORE_PER_SECOND = 1.0

#: How long the refusal of a known address is held back, in seconds, and how many at a time: else whoever guesses behind
#: a proxy that everyone uses would go on as fast as before.
HELD_SECONDS = 1.0
MOST_HELD = 64

#: Addresses that are remembered; beyond that the one that tried longest ago is forgotten.
MAX_ADDRESSES = 10_000


class SignInThrottle:
    """Judges keys by address. After a few wrong ones, each doubles the wait. Safe to call from any thread.

    While an address waits, nothing that comes from it is looked at, or one could go on trying. An address from which
    the right key came of late is the exception: behind a proxy all clients have one, and nobody may lock them out.
    After many wrong ones from everywhere, all other addresses wait.
    """

    def __init__(
        self, now: Callable[[], float] = time.monotonic, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._now = now
        self._pause = pause
        self._in_all, self._counted_at = 0.0, now()
        self._held = 0
        self._lock = threading.Lock()
        self._wrong: dict[str, tuple[int, float]] = {}
        self._known: dict[str, float] = {}

    def judge(self, address: str, *, is_right: bool) -> float:
        """Count a try. Seconds that this address has to wait before its next one is looked at; 0: this one was."""
        now = self._now()
        with self._lock:
            is_known = self._is_known(address, now)
            wait = self._wait_seconds(address, now)
            if not is_known:
                wait = max(wait, self._wait_for_all(now))
            if wait > 0 and not (is_right and is_known):
                return wait
            if is_right:
                if wait == 0:
                    self._wrong.pop(address, None)
                _put(self._known, address, now)
            else:
                count, at = self._wrong.get(address, (0, now))
                _put(self._wrong, address, (1 if now - at > FORGET_SECONDS else count + 1, now))
                self._in_all += 1
        return 0.0

    def hold_back(self, address: str) -> None:
        """Before the refusal of an address that waits: return at once, or later where that is what slows it down."""
        with self._lock:
            if not self._is_known(address, self._now()) or self._held >= MOST_HELD:
                return
            self._held += 1
        try:
            self._pause(HELD_SECONDS)
        finally:
            with self._lock:
                self._held -= 1

    def _is_known(self, address: str, now: float) -> bool:
        return now - self._known.get(address, -KNOWN_SECONDS) < KNOWN_SECONDS

    def _wait_for_all(self, now: float) -> float:
        """Seconds until one more wrong try from anywhere is free."""
        self._in_all = max(0.0, self._in_all - MORE_PER_SECOND * (now - self._counted_at))
        self._counted_at = now
        return max(0.0, self._in_all + 1 - FREE_IN_ALL) / MORE_PER_SECOND

    def _wait_seconds(self, address: str, now: float) -> float:
        count, at = self._wrong.get(address, (0, 0.0))
        if count < FREE_TRIES:
            return 0.0
        return max(0.0, at + _WAITS.after(count - FREE_TRIES + 1) - now)


def _put(memory: dict[str, Value], address: str, value: Value) -> None:
    """Remember it as the latest; the one that was heard of longest ago goes where there are too many."""
    memory.pop(address, None)
    memory[address] = value
    if len(memory) > MAX_ADDRESSES:
        del memory[next(iter(memory))]
