"""The system's clock, and what is certain of the time although it jumps.

The wall clock may be set while the service runs: by NTP after a start without a battery, by hand, by a guest that was
paused. What is measured in seconds goes by the steady clock, which is never set and runs on in sleep. For moments
that were written down by the wall clock, the jumps are remembered.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

logger = structlog.get_logger(__name__)

#: Where the kernel says which boot this is: the steady clock begins anew with each.
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

#: A wall clock that is further off than this, in seconds, was set; slower corrections are no matter.
JUMP_SECONDS = 30.0

#: Of the time between two boots only this much counts as passed, in seconds: the wall clock alone speaks for it, and one
#: that is wrong would make everything old at once.
MOST_UNSEEN_SECONDS = 86_400.0

#: Jumps that are remembered.
MAX_EPOCHS = 50


def boot_id() -> str:
    """Which boot of this machine this is; empty where the kernel does not say."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def _boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Epoch:
    """The time between two jumps: from when, how far the wall clock is ahead of the steady one, and its least stamp."""

    begun: float
    offset: float
    first_stamp: float


class SystemClock:
    """Wall clock in UTC, a steady one, and how old moments of the first are by the second. Safe to call from any thread."""

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = _boottime,
        *,
        boot: str = "",
        kept: bytes = b"",
    ) -> None:
        """`kept`: what an earlier process noted by `to_bytes`; `boot`: which boot this is."""
        self._wall = wall
        self._steady = steady
        self._boot = boot
        self._seen = steady()
        self._epochs: tuple[Epoch, ...] = (Epoch(self._seen, wall() - self._seen, float("-inf")),)
        if kept:
            self._take_up(kept)

    def now(self) -> datetime:
        """UTC, with a zone."""
        self._look()
        return datetime.fromtimestamp(self._wall(), UTC)

    def monotonic(self) -> float:
        """Seconds of a clock that is never set."""
        return time.monotonic()

    def age(self, moment: datetime) -> float:
        """Seconds since a moment that was written down by this clock; never negative."""
        steady, stamp = self._look(), moment.timestamp()
        ends = [*(epoch.begun + before.offset for before, epoch in _pairs(self._epochs)), float("inf")]
        for epoch, end in zip(reversed(self._epochs), reversed(ends), strict=True):
            if epoch.first_stamp <= stamp <= end:
                return max(0.0, steady - (stamp - epoch.offset))
        return 0.0

    def before(self, ago: timedelta) -> datetime:
        """The moment this many seconds ago: whatever was written down before it is older, however the clock was set meanwhile."""
        then = self._look() - ago.total_seconds()
        number = max((n for n, epoch in enumerate(self._epochs) if epoch.begun <= then), default=0)
        later = [epoch.first_stamp for epoch in self._epochs[number + 1 :]]
        return datetime.fromtimestamp(min([then + self._epochs[number].offset, *later]), UTC)

    def to_bytes(self) -> bytes:
        """What the next process has to know."""
        steady = self._look()
        epochs = [asdict(epoch) for epoch in self._epochs]
        epochs[0]["first_stamp"] = None
        return json.dumps(
            {"boot_id": self._boot, "steady": steady, "wall": self._wall(), "epochs": epochs}
        ).encode()

    def _look(self) -> float:
        """The steady time now, with a jump of the wall clock noted."""
        steady = self._steady()
        offset = self._wall() - steady
        seconds = offset - self._epochs[-1].offset
        if abs(seconds) > JUMP_SECONDS:
            # It was set at some time since the last look: stamps since then may be of the new time already.
            self._epochs = _bounded((*self._epochs, Epoch(steady, offset, self._seen + offset)))
            logger.warning("clock_was_set", seconds=round(seconds))
        self._seen = steady
        return steady

    def _take_up(self, kept: bytes) -> None:
        try:
            noted = json.loads(kept)
            shift = self._shift(noted)
            epochs = tuple(_epoch(one, shift) for one in noted["epochs"])
            seen = noted["steady"] + shift
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            logger.warning("clock_not_read", error=str(error))
            return
        if epochs:
            self._epochs, self._seen = epochs, seen
            self._look()

    def _shift(self, noted: dict[str, Any]) -> float:
        """How much further the steady clock would be, had it begun with this boot."""
        is_same_boot = bool(self._boot) and noted["boot_id"] == self._boot and noted["steady"] <= self._seen
        if is_same_boot:
            return 0.0
        unseen = min(max(0.0, self._wall() - noted["wall"]), MOST_UNSEEN_SECONDS)
        return float(self._seen - unseen - noted["steady"])


def _epoch(noted: dict[str, Any], shift: float) -> Epoch:
    first = float("-inf") if noted["first_stamp"] is None else float(noted["first_stamp"])
    return Epoch(float(noted["begun"]) + shift, float(noted["offset"]) - shift, first)


def _bounded(epochs: tuple[Epoch, ...]) -> tuple[Epoch, ...]:
    """Without the second one where there are too many: its time counts as the first one's, and nothing as older."""
    if len(epochs) <= MAX_EPOCHS:
        return epochs
    first, second, *rest = epochs
    return (replace(first, offset=min(first.offset, second.offset)), *rest)


def _pairs(epochs: tuple[Epoch, ...]) -> list[tuple[Epoch, Epoch]]:
    return list(zip(epochs, epochs[1:], strict=False))
