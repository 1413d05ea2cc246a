"""When waiting jobs will start, if all share one machine and take the runner's slots as the runner gives them. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

#: What short jobs get of the machine together while long ones are at work: they go first in the batches.
SHORT_SHARE = 0.7


@dataclass(frozen=True, slots=True)
class Load:
    """One job. seconds: what it would take if it had the machine for itself."""

    seconds: float
    is_short: bool = False
    #: Of a job at work: whether it holds one of the short slots.
    in_short_slot: bool = False


@dataclass(slots=True)
class _Active:
    left: float
    is_short: bool
    in_short_slot: bool


def foresee(
    running: Iterable[Load], waiting: Sequence[Load], *, long_slots: int, short_slots: int
) -> list[float]:
    """Seconds from now at which each of the waiting jobs starts.

    A long slot that is free takes the next job of any kind; while none is, the short slots take the next short one.
    """
    slots = _FreeSlots(long_slots, short_slots, running)
    starts = [0.0] * len(waiting)
    upcoming = deque(enumerate(waiting))
    aside: deque[tuple[int, Load]] = deque()
    now = 0.0
    while True:
        for index in slots.fill(upcoming, aside):
            starts[index] = now
        if not upcoming and not aside:
            return starts
        now += slots.run_until_one_ends()


class _FreeSlots:
    """The slots, and the jobs in them."""

    def __init__(self, long_slots: int, short_slots: int, running: Iterable[Load]) -> None:
        self._long_slots = max(1, long_slots)
        self._short_slots = short_slots
        self._active = [
            _Active(max(0.0, load.seconds), load.is_short, load.in_short_slot) for load in running
        ]

    def fill(self, upcoming: deque[tuple[int, Load]], aside: deque[tuple[int, Load]]) -> list[int]:
        """Take jobs while slots are free; those that the short slots refuse are put aside for the long ones."""
        started = []
        while upcoming or aside:
            if self._count(in_short_slot=False) < self._long_slots:
                is_aside_first = bool(aside) and (not upcoming or aside[0][0] < upcoming[0][0])
                index, load = (aside if is_aside_first else upcoming).popleft()
                in_short_slot = False
            elif upcoming and self._count(in_short_slot=True) < self._short_slots:
                index, load = upcoming.popleft()
                if not load.is_short:
                    aside.append((index, load))
                    continue
                in_short_slot = True
            else:
                break
            started.append(index)
            self._active.append(_Active(max(0.0, load.seconds), load.is_short, in_short_slot))
        return started

    def run_until_one_ends(self) -> float:
        """The seconds until then."""
        shorts = sum(active.is_short for active in self._active)
        longs = len(self._active) - shorts
        short_rate = (SHORT_SHARE if longs else 1.0) / max(1, shorts)
        long_rate = (1 - SHORT_SHARE if shorts else 1.0) / max(1, longs)
        rates = [short_rate if active.is_short else long_rate for active in self._active]
        first, span = min(
            (
                (i, active.left / rate)
                for i, (active, rate) in enumerate(zip(self._active, rates, strict=True))
            ),
            key=lambda pair: pair[1],
        )
        for active, rate in zip(self._active, rates, strict=True):
            active.left = max(0.0, active.left - span * rate)
        del self._active[first]
        return span

    def _count(self, *, in_short_slot: bool) -> int:
        return sum(active.in_short_slot == in_short_slot for active in self._active)
