"""The runner: bounded lanes of waiting jobs, and the threads that work on them.

A job is new until it is known whether it is short. Long slots take new and long jobs, the oldest first. The short
slots, which no long job ever holds, look at what waits while all long slots are at work: a short job they run at
once, a long one they put aside for the long slots.
"""

from __future__ import annotations

import bisect
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from ..domain.errors import QueueFullError, QueueShareFullError, ShuttingDownError
from ..domain.ports import Clock
from .turns import Turns, heads, in_turns

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Slots:
    """How many jobs are worked on at once, and how many may wait."""

    long: int
    short: int
    max_queue: int
    #: How many of those that wait may be of one owner; None: as many as may wait.
    max_queue_of_owner: int | None = None
    #: How many jobs of an owner may be worked on at once; 0: no limit.
    max_running_of: Callable[[str | None], int] = lambda owner: 0


@dataclass(frozen=True, kw_only=True, slots=True)
class WaitingJob:
    """A job that waits. Higher priority first, then the order of acceptance."""

    job_id: str
    number: int
    priority: int = 0
    #: Known to be no short one.
    is_long: bool = False
    #: Whose it is; owners take turns. None: the admins'.
    owner: str | None = None
    #: How long its audio is thought to be, where that is known.
    seconds: float | None = None
    needs_gpu: bool = False

    @property
    def rank(self) -> tuple[int, int]:
        return -self.priority, self.number


class WorkQueue(Protocol):
    """Where jobs wait that are stored: in this process, or for all nodes of a fleet."""

    def start(self) -> None: ...

    def check_room(self, owner: str | None = None) -> None:
        """Raises QueueFullError, ShuttingDownError: so that an upload is refused before it is read."""
        ...

    def reserve(self, owner: str | None = None) -> None:
        """Keep a place for a job that is about to be stored. Raises QueueFullError, ShuttingDownError."""
        ...

    def release(self) -> None:
        """Give a reserved place back."""
        ...

    def put(self, waiting: WaitingJob, *, delay: float = 0.0) -> None:
        """Queue a job that is stored, full or not. `delay`: seconds before it is taken."""
        ...

    def withdraw(self, job_id: str) -> bool:
        """Take a job that still waits out of the queue; False if it is not there."""
        ...

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        ...

    def line(self) -> list[WaitingJob]:
        """The jobs that wait, the next one first."""
        ...

    def held(self) -> dict[str, bool]:
        """The jobs that have a slot, and whether it is a short one."""
        ...

    def stop(self) -> None:
        """Begin no more jobs. What waits stays in the store."""
        ...

    def join(self, timeout: float) -> None:
        """Give the jobs that run up to `timeout` seconds."""
        ...


class JobQueue:
    """Calls `run` for every job. `look` says whether it is short; None: it waits no more, or elsewhere."""

    def __init__(
        self,
        *,
        look: Callable[[WaitingJob], bool | None],
        run: Callable[[WaitingJob], None],
        slots: Slots,
        clock: Clock,
    ) -> None:
        self._look = look
        self._run = run
        self._slots = slots
        self._clock = clock
        self._changed = threading.Condition()
        self._closing = False
        #: Each in the order of rank.
        self._new: list[WaitingJob] = []
        self._long: list[WaitingJob] = []
        #: Not to be taken before this time.
        self._later: list[tuple[float, WaitingJob]] = []
        #: Being looked at, by the short slots.
        self._looked_at: list[WaitingJob] = []
        #: Jobs that have a slot: whether it is a short one.
        self._held: dict[str, bool] = {}
        #: Whose they are, and how often each owner has had a turn.
        self._owners: dict[str, str | None] = {}
        self._turns = Turns()
        self._reserved = 0
        self._idle_long = slots.long
        self._idle_short = slots.short
        self._threads = [
            threading.Thread(target=self._work_long, name=f"runner-long-{i}", daemon=True)
            for i in range(slots.long)
        ] + [
            threading.Thread(target=self._work_short, name=f"runner-short-{i}", daemon=True)
            for i in range(slots.short)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def check_room(self, owner: str | None = None) -> None:
        """Raises QueueFullError, ShuttingDownError: so that an upload is refused before it is read."""
        with self._changed:
            self._refuse_if_full(owner)

    def reserve(self, owner: str | None = None) -> None:
        """Keep a place for a job that is about to be stored. Raises QueueFullError, ShuttingDownError."""
        with self._changed:
            self._refuse_if_full(owner)
            self._reserved += 1

    def release(self) -> None:
        """Give a reserved place back."""
        with self._changed:
            self._reserved -= 1

    def put(self, waiting: WaitingJob, *, delay: float = 0.0) -> None:
        """Queue a job that is stored, full or not. `delay`: seconds before it is taken."""
        with self._changed:
            if delay > 0:
                self._later.append((self._clock.monotonic() + delay, waiting))
            else:
                bisect.insort(self._new, waiting, key=_rank)
            self._changed.notify_all()

    def withdraw(self, job_id: str) -> bool:
        """Take a job that still waits out of the queue; False if it is not there."""
        with self._changed:
            before = len(self._new) + len(self._long) + len(self._later)
            self._new = [each for each in self._new if each.job_id != job_id]
            self._long = [each for each in self._long if each.job_id != job_id]
            self._later = [each for each in self._later if each[1].job_id != job_id]
            return len(self._new) + len(self._long) + len(self._later) < before

    def wake(self) -> None:
        """Look at the time again."""
        with self._changed:
            self._changed.notify_all()

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        with self._changed:
            return len(self._new) + len(self._long) + len(self._later)

    def line(self) -> list[WaitingJob]:
        """The jobs that wait, the next one first."""
        with self._changed:
            later = [waiting for _, waiting in self._later]
            waiting = sorted([*self._new, *self._looked_at, *self._long, *later], key=_rank)
            return in_turns(waiting, Counter(self._owners.values()))

    def held(self) -> dict[str, bool]:
        """The jobs that have a slot, and whether it is a short one."""
        with self._changed:
            return dict(self._held)

    def stop(self) -> None:
        """Begin no more jobs. What waits stays in the store."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def join(self, timeout: float) -> None:
        """Give the jobs that run up to `timeout` seconds."""
        deadline = self._clock.monotonic() + timeout
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - self._clock.monotonic()))

    def _refuse_if_full(self, owner: str | None) -> None:
        if self._closing:
            raise ShuttingDownError()
        waiting = len(self._new) + len(self._long) + len(self._later) + self._reserved
        if waiting >= self._slots.max_queue + self._idle_long + self._idle_short:
            raise QueueFullError(f"{waiting} jobs wait; no more than {self._slots.max_queue} may.")
        share = self._slots.max_queue_of_owner
        if owner is None or share is None:
            return
        later = [waiting for _, waiting in self._later]
        own = sum(each.owner == owner for each in (*self._new, *self._long, *later))
        if own >= share:
            raise QueueShareFullError(f"{own} of your jobs wait; no more than {share} of one key may.")

    # The threads

    def _work_long(self) -> None:
        while (waiting := self._next_long()) is not None:
            self._call(self._run, waiting)
            with self._changed:
                self._let_go(waiting)
                self._idle_long += 1
                self._changed.notify_all()

    def _work_short(self) -> None:
        while (waiting := self._next_new()) is not None:
            if self._is_short(waiting):
                self._call(self._run, waiting)
            with self._changed:
                self._let_go(waiting)
                self._idle_short += 1
                self._changed.notify_all()

    def _is_short(self, waiting: WaitingJob) -> bool:
        """Look at it; a job that is not short, or can't be looked at, is put aside for the long slots."""
        try:
            is_short = self._look(waiting)
        except Exception:  # noqa: BLE001  a thread's boundary: one job may not end the runner
            logger.exception("queue_look_failed", job_id=waiting.job_id)
            is_short = False
        with self._changed:
            self._looked_at.remove(waiting)
            if is_short:
                self._held[waiting.job_id] = True
            if is_short is False:
                bisect.insort(self._long, replace(waiting, is_long=True), key=_rank)
        return is_short is True

    def _call(self, run: Callable[[WaitingJob], None], waiting: WaitingJob) -> None:
        try:
            run(waiting)
        except Exception:  # noqa: BLE001  a thread's boundary: one job may not end the runner
            logger.exception("queue_job_failed", job_id=waiting.job_id)

    def _next_long(self) -> WaitingJob | None:
        with self._changed:
            while not self._closing:
                self._admit_due()
                waiting = self._choose(self._new, self._long)
                if waiting is not None:
                    self._idle_long -= 1
                    self._changed.notify_all()
                    self._held[waiting.job_id] = False
                    return waiting
                self._changed.wait(self._until_due())
            return None

    def _next_new(self) -> WaitingJob | None:
        with self._changed:
            while not self._closing:
                self._admit_due()
                # A long slot that is free takes the job itself, whatever its length.
                if self._idle_long == 0 and (waiting := self._choose(self._new)) is not None:
                    self._idle_short -= 1
                    self._looked_at.append(waiting)
                    return waiting
                self._changed.wait(self._until_due())
            return None

    def _choose(self, *lanes: list[WaitingJob]) -> WaitingJob | None:
        """Under the lock: take the job whose turn it is out of its lane."""
        running = Counter(self._owners.values())
        candidates = [waiting for lane in lanes for waiting in heads(lane)]
        chosen = self._turns.choose(candidates, running, self._slots.max_running_of)
        if chosen is None:
            return None
        next(lane for lane in lanes if chosen in lane).remove(chosen)
        self._owners[chosen.job_id] = chosen.owner
        return chosen

    def _let_go(self, waiting: WaitingJob) -> None:
        """Under the lock: the job has no slot any more."""
        self._held.pop(waiting.job_id, None)
        self._owners.pop(waiting.job_id, None)

    def _admit_due(self) -> None:
        """Under the lock: queue those whose time has come."""
        now = self._clock.monotonic()
        due = [waiting for at, waiting in self._later if at <= now]
        if due:
            self._later = [each for each in self._later if each[0] > now]
            for waiting in due:
                bisect.insort(self._new, waiting, key=_rank)
            self._changed.notify_all()

    def _until_due(self) -> float | None:
        if not self._later:
            return None
        return max(0.0, min(at for at, _ in self._later) - self._clock.monotonic())


def _rank(waiting: WaitingJob) -> tuple[int, int]:
    return waiting.rank
