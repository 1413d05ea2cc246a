"""When waiting jobs will start and running ones end, if all share one machine. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlook:
    """Seconds from now: when each running job ends, and when each waiting one starts."""

    ends: tuple[float, ...]
    starts: tuple[float, ...]


def foresee(running: Sequence[float], waiting: Sequence[float], slots: int) -> Outlook:
    """`running`, `waiting`: seconds that each job would take if it had the machine for itself.

    Jobs in a slot get equal shares of the machine; a slot that is free takes the next one that waits.
    """
    now = 0.0
    active = {index: max(0.0, seconds) for index, seconds in enumerate(running)}
    ends = [0.0] * len(running)
    starts = [0.0] * len(waiting)
    upcoming = 0
    while active or upcoming < len(waiting):
        while upcoming < len(waiting) and len(active) < slots:
            starts[upcoming] = now
            active[len(running) + upcoming] = max(0.0, waiting[upcoming])
            upcoming += 1
        if upcoming == len(waiting) and not any(index < len(running) for index in active):
            break
        share = len(active)
        least = min(active.values())
        now += least * share
        for index in [index for index, left in active.items() if left <= least]:
            del active[index]
            if index < len(running):
                ends[index] = now
        active = {index: left - least for index, left in active.items()}
    return Outlook(ends=tuple(ends), starts=tuple(starts))
