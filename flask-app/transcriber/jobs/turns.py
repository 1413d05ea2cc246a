"""Whose turn it is: owners take turns, so that one who floods the queue delays the others by at most a share. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar


class Queued(Protocol):
    """A job that waits. A lower rank goes first among those of its owner."""

    @property
    def owner(self) -> str | None: ...

    @property
    def rank(self) -> tuple[int, int]: ...


Job = TypeVar("Job", bound=Queued)


def heads(lane: Iterable[Job]) -> list[Job]:
    """The first job of each owner in a lane that is in the order of rank."""
    found: dict[str | None, Job] = {}
    for job in lane:
        found.setdefault(job.owner, job)
    return list(found.values())


def in_turns(waiting: Sequence[Job], running: Mapping[str | None, int]) -> list[Job]:
    """The order in which they will be taken, as far as it can be foreseen; `waiting` is in the order of rank."""
    before: Counter[str | None] = Counter()
    keyed = []
    for job in waiting:
        keyed.append((before[job.owner] + running.get(job.owner, 0), job.rank, job))
        before[job.owner] += 1
    if len(before) < 2:
        return list(waiting)
    return [job for _, _, job in sorted(keyed, key=lambda each: each[:2])]


class Turns:
    """Remembers how many turns each owner has had. Not safe to use from several threads at once."""

    def __init__(self) -> None:
        self._had: defaultdict[str | None, int] = defaultdict(int)

    def choose(
        self,
        heads: Sequence[Job],
        running: Mapping[str | None, int],
        max_running_of: Callable[[str | None], int],
    ) -> Job | None:
        """Of the first jobs of each owner the one whose turn it is; None where all owners are at their limit.

        It is the turn of who has the fewest jobs at work, then of who has had the fewest turns.
        """
        waiting = {job.owner for job in heads}
        free = [job for job in heads if not _is_at_limit(job.owner, running, max_running_of)]
        if not free:
            return None
        self._welcome(waiting)
        chosen = min(free, key=lambda job: (running.get(job.owner, 0), self._had[job.owner], job.rank))
        self._had[chosen.owner] += 1
        return chosen

    def _welcome(self, waiting: set[str | None]) -> None:
        """Who comes back begins level with the others: turns that were not taken are no credit."""
        known = [self._had[owner] for owner in waiting if owner in self._had]
        floor = min(known, default=0)
        for owner in [owner for owner in self._had if owner not in waiting]:
            del self._had[owner]
        for owner in waiting:
            self._had.setdefault(owner, floor)


def _is_at_limit(
    owner: str | None, running: Mapping[str | None, int], max_running_of: Callable[[str | None], int]
) -> bool:
    limit = max_running_of(owner)
    return bool(limit) and running.get(owner, 0) >= limit
