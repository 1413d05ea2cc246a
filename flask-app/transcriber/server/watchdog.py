"""What systemd hears of the service: READY=1 once a worker serves, then a sign of life while the service is whole.

gunicorn's master speaks, as the unit lets no other process speak; it looks at what the worker noted in shared memory. It
withholds the sign of life when the event loop has stopped, the store does not answer, or a required proof is too old.
"""

from __future__ import annotations

import mmap
import struct
import time
from collections.abc import Callable
from typing import Any

import structlog

logger = structlog.get_logger(__name__)

#: How old the worker's notes may be, in seconds. Both are far above what a busy machine needs.
LOOP_SECONDS = 20.0
STORE_SECONDS = 40.0

#: How often systemd is notified, in seconds; its own limit is WatchdogSec= in the unit.
TELL_SECONDS = 5.0

_FIELDS = struct.Struct("<dd?")


class Vitals:
    """What the worker notes of itself, in memory that it shares with the master. Made before the fork."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 4096)

    def note(self, *, store_at: float, proof_until: float, is_serving: bool) -> None:
        """In the worker. Times of time.monotonic(): when the store answered last, and until when the proof is young."""
        self._memory[: _FIELDS.size] = _FIELDS.pack(store_at, proof_until, is_serving)

    def clear(self) -> None:
        """In the master: another worker begins, and has noted nothing yet."""
        self.note(store_at=0.0, proof_until=0.0, is_serving=False)

    def read(self) -> tuple[float, float, bool]:
        """In the master: store_at, proof_until, is_serving."""
        store_at, proof_until, is_serving = _FIELDS.unpack(self._memory[: _FIELDS.size])
        return store_at, proof_until, is_serving


class Watchdog:
    """In the master: decides each second whether to speak for the service."""

    def __init__(
        self, vitals: Vitals, tell: Callable[[str], object], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._vitals = vitals
        self._send = tell
        self._monotonic = monotonic
        self._is_ready = False
        self._withheld = ""
        self._told_at = float("-inf")

    def look(self, loop_at: float) -> None:
        """loop_at: when the worker's event loop turned last."""
        now = self._monotonic()
        store_at, proof_until, is_serving = self._vitals.read()
        if not self._is_ready:
            if is_serving:
                self._is_ready = True
                self._tell(now, "READY=1\nSTATUS=Serving\nWATCHDOG=1")
            return
        if cause := _cause(now, loop_at, store_at, proof_until):
            if cause != self._withheld:
                logger.critical(
                    "watchdog_withheld",
                    cause=cause,
                    fix="systemd restarts the service: systemctl status transcriber",
                )
                self._send(f"STATUS={cause}")
            self._withheld = cause
        elif now - self._told_at >= TELL_SECONDS:
            self._tell(now, "STATUS=Serving\nWATCHDOG=1" if self._withheld else "WATCHDOG=1")
            self._withheld = ""

    def stopping(self) -> None:
        """The service ends on purpose."""
        self._send("STOPPING=1\nSTATUS=Stopping")

    def _tell(self, now: float, state: str) -> None:
        self._send(state)
        self._told_at = now


class WatchedHeartbeat:
    """A worker's heartbeat file: gunicorn's master reads it once a second, and so looks at the service as often."""

    def __init__(self, heartbeat: Any, look: Callable[[float], None]) -> None:
        self._heartbeat = heartbeat
        self._look = look

    def last_update(self) -> float:
        at = float(self._heartbeat.last_update())
        self._look(at)
        return at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._heartbeat, name)


def _cause(now: float, loop_at: float, store_at: float, proof_until: float) -> str:
    if now - loop_at > LOOP_SECONDS:
        return f"The web worker's event loop has not turned for {LOOP_SECONDS:.0f} s"
    # A worker that took another's place has not asked the store yet; gunicorn's own time-out bounds its start.
    if store_at and now - store_at > STORE_SECONDS:
        return f"The job store has not answered for {STORE_SECONDS:.0f} s"
    if store_at and now > proof_until:
        return "The GPU is required, and its proof is too old"
    return ""
