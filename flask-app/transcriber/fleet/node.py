"""A node of the fleet: how its service queues, works, and looks at what is done elsewhere."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from ..domain.errors import (
    JobCancelledError,
    QueueFullError,
    QueueShareFullError,
    ShuttingDownError,
    TranscriberError,
)
from ..domain.jobs import Job, JobProgress, JobStatus
from ..domain.transcript import Transcription
from ..jobs.active_job import CancellationToken, StopReason
from ..jobs.files.journal import Journal, JournalState
from ..jobs.queue import Slots, WaitingJob
from ..jobs.store.postgres.fleet import FleetStore, Lengths, WorkerRow
from ..jobs.store.postgres.store import PostgresJobStore
from ..service.completion import Storage
from ..service.node import WorkPlace
from .files import AttemptResults, SharedSpool
from .tickets import QUEUES, Tickets, TicketWorker, queue_of

logger = structlog.get_logger(__name__)

#: How often a worker says that its jobs go on, and hears which don't, in seconds.
BEAT_SECONDS = 1.0

#: A job whose worker has been silent for so long goes to another one.
SILENT_SECONDS = 15.0

#: How many missing tickets a worker writes at once: a queue is begun at many slots, and then they come one by one.
MOST_TICKETS = 1000

#: How often workers look for such jobs, and for jobs without a ticket, in seconds.
RESCUE_SECONDS = 5.0

#: A worker that has been silent for so long is not counted any more.
GONE_SECONDS = 15.0

#: How old a count of jobs or a list of workers may be, in seconds.
LOOK_SECONDS = 0.5


class FleetNode:
    """What every node has: the shared tables, files and tickets."""

    def __init__(
        self, store: PostgresJobStore, tickets: Tickets, slots: Slots, *, short_seconds: float
    ) -> None:
        self.store = store
        self.fleet: FleetStore = store.fleet
        self.tickets = tickets
        self.slots = slots
        self.short_seconds = short_seconds
        self._closing = threading.Event()
        self._seen: tuple[float, Any] = (0.0, None)
        self._workers: tuple[float, list[WorkerRow]] = (0.0, [])

    # The queue of jobs: WorkQueue

    def check_room(self, owner: str | None = None) -> None:
        """Raises QueueFullError, ShuttingDownError: by the jobs table, so that all nodes refuse at the same length."""
        if self._closing.is_set():
            raise ShuttingDownError()
        waiting = self.waiting
        if waiting >= self.slots.max_queue + self._capacity():
            raise QueueFullError(f"{waiting} jobs wait; no more than {self.slots.max_queue} may.")
        share = self.slots.max_queue_of_owner
        if owner is None or share is None:
            return
        own = self.store.counts(owner=owner)[JobStatus.QUEUED]
        if own >= share:
            raise QueueShareFullError(f"{own} of your jobs wait; no more than {share} of one key may.")

    def reserve(self, owner: str | None = None) -> None:
        """See check_room; between nodes nothing is reserved, so that a few more than the limit may wait."""
        self.check_room(owner)

    def release(self) -> None:
        """Nothing was reserved."""

    def put(self, waiting: WaitingJob, *, delay: float = 0.0) -> None:
        """A job waits in the jobs table: say so."""
        if waiting.seconds is not None:
            self.fleet.expect(waiting.job_id, waiting.seconds)
        if delay > 0:
            self.fleet.wait(waiting.job_id, delay)
        is_short = waiting.seconds is not None and waiting.seconds <= self.short_seconds
        queue = queue_of(is_short=is_short, needs_gpu=waiting.needs_gpu)
        self.tickets.write(queue, delay=delay)

    def withdraw(self, job_id: str) -> bool:
        """A ticket names no job; one too many finds nothing."""
        return False

    def wake(self) -> None:
        """The database has the time."""

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        return self.store.counts()[JobStatus.QUEUED]

    def line(self) -> list[WaitingJob]:
        """The jobs that wait, the next one first; no more than the queue takes."""
        at, line = self._seen
        if time.monotonic() - at > LOOK_SECONDS:
            line = self.fleet.line(self.slots.max_queue + 100)
            self._seen = (time.monotonic(), line)
        return list(line)

    def held(self) -> dict[str, bool]:
        """Slots are the workers'."""
        return {}

    def start(self) -> None:
        """A web node works on nothing."""

    def stop(self) -> None:
        self._closing.set()

    def join(self, timeout: float) -> None:
        """Nothing runs here."""

    # What is done elsewhere

    def progress(self, job_id: str) -> JobProgress | None:
        """How far the job is, by its worker's last word."""
        found = self.fleet.progress(job_id)
        return None if found is None else JobProgress(**found)

    def journaled(self, job_id: str) -> JournalState:
        """What is done of the job."""
        state = JournalState()
        for _, line in self.fleet.lines(job_id):
            add_line(state, line)
        return state

    def workers(self) -> list[WorkerRow]:
        """The workers that live."""
        at, workers = self._workers
        if time.monotonic() - at > LOOK_SECONDS:
            workers = [worker for worker in self.fleet.workers() if worker.age < GONE_SECONDS]
            self._workers = (time.monotonic(), workers)
        return workers

    def open_journal(self, job: Job, cancellation: CancellationToken) -> Journal:
        """A web node works on nothing."""
        raise ShuttingDownError()

    def keep_result(self, job: Job, transcription: Transcription) -> None:
        """A web node has no results of its own."""
        raise ShuttingDownError()

    def _capacity(self) -> int:
        """How many jobs the workers could begin at once: those don't count as waiting."""
        return sum(
            int(worker.facts.get("slots", 0)) - int(worker.facts.get("running", 0))
            for worker in self.workers()
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerIdentity:
    """Who a worker is, the database that it gets its tickets from, and which jobs it takes."""

    id: str
    url: str
    takes: Lengths


class WorkerNode(FleetNode):
    """A fleet worker: claims jobs, works on them on scratch of its own, and says so."""

    def __init__(
        self,
        store: PostgresJobStore,
        tickets: Tickets,
        slots: Slots,
        *,
        identity: WorkerIdentity,
        shared: SharedSpool,
        results: AttemptResults,
    ) -> None:
        takes = identity.takes
        super().__init__(store, tickets, slots, short_seconds=takes.short_seconds)
        self.id = identity.id
        self._shared = shared
        self._results = results
        lanes = {takes: slots.long}
        if takes.takes_short and slots.short:
            # Slots of their own: a short job does not wait behind long ones.
            lanes[replace(takes, takes_long=False)] = slots.short
        self._runners = [
            TicketWorker(identity.url, identity.id, count, partial(self._use_ticket, lane), _queues(lane))
            for lane, count in lanes.items()
        ]
        self._slots = sum(lanes.values())
        self._lock = threading.Lock()
        #: The jobs that were claimed here, each with its attempt.
        self._claimed: dict[str, int] = {}
        #: Set once the service is assembled.
        self.place: WorkPlace | None = None
        self.storage: Storage | None = None
        #: Whether this worker may take a job; what it says of itself.
        self.is_able: Callable[[], bool] = lambda: True
        self.facts: Callable[[], Mapping[str, Any]] = dict
        self.has_gpu: Callable[[], bool] = lambda: False

    def start(self) -> None:
        """Take tickets."""
        for runner in self._runners:
            runner.start()
        for name, seconds, do in (
            ("beat", BEAT_SECONDS, self._beat),
            ("rescue", RESCUE_SECONDS, self._rescue),
        ):
            threading.Thread(
                target=self._repeat, args=(seconds, do), name=f"fleet-{name}", daemon=True
            ).start()

    def stop(self) -> None:
        """Claim no more; what runs goes on until it is handed back."""
        super().stop()
        for runner in self._runners:
            runner.stop()

    def join(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        for runner in self._runners:
            runner.join(max(0.0, deadline - time.monotonic()))

    def open_journal(self, job: Job, cancellation: CancellationToken) -> Journal:
        """The job's files and what is done of it, on scratch; every line goes into the database as well.

        Raises UploadGoneError, StorageFullError, StorageFailedError, and from a call to the journal JobCancelledError
        when the attempt is not the current one any more.
        """
        storage = self._storage()
        spool = storage.spool
        storage.run(spool.remove, job.id)
        folder = spool.create(job.id)
        storage.run(self._shared.copy_to, folder, job.id)
        state = JournalState()
        lines = "".join(f"{line}\n" for _, line in self.fleet.lines(job.id) if add_line(state, line))
        storage.run(spool.journal_path(job.id).write_text, lines)

        # Lines that the database did not take come before the next ones: a window without the one before it is of no use.
        unsent: list[str] = []

        def ship(lines: list[bytes]) -> None:
            unsent.extend(line.decode().rstrip("\n") for line in lines)
            if not self.fleet.add_lines(job.id, job.attempts, unsent):
                cancellation.pull(StopReason.LOST)
                raise JobCancelledError()
            unsent.clear()

        return Journal.open(spool.journal_path(job.id), storage.native, ship=ship)

    def keep_result(self, job: Job, transcription: Transcription) -> None:
        """Put the result where all nodes find it, under its attempt: one that was given up overwrites nothing."""
        self._results.save_attempt(transcription, job.attempts)

    def _use_ticket(self, lane: Lengths) -> None:
        """In a thread of the ticket's: work on the job whose turn it is, if there is one."""
        if self._closing.is_set():
            return
        if not self.is_able():
            # Leave it to others; a ticket that is missed then is written anew.
            self._closing.wait(BEAT_SECONDS)
            return
        try:
            job = self.fleet.claim_next(self.id, has_gpu=self.has_gpu(), lengths=lane)
        except TranscriberError as error:
            logger.warning("claim_failed", code=error.code, error=error.message)
            return
        if job is None or self.place is None:
            return
        with self._lock:
            self._claimed[job.id] = job.attempts
        try:
            self.place.work_on(job)
        finally:
            with self._lock:
                if self._claimed.get(job.id) == job.attempts:
                    del self._claimed[job.id]
            self._storage().run(self._storage().spool.remove, job.id)

    def _beat(self) -> None:
        with self._lock:
            claimed = dict(self._claimed)
        place = self.place
        if place is None:
            return
        runs = []
        for job_id, attempt in claimed.items():
            progress = place.progress_of(job_id)
            runs.append((job_id, attempt, asdict(progress.now()) if progress else None))
        lost = self.fleet.beat(runs) if runs else set()
        for job_id in lost:
            with self._lock:
                # A job that ended meanwhile is no loss.
                is_here = self._claimed.get(job_id) == claimed[job_id]
            if is_here:
                place.stop_work(job_id, StopReason.LOST)
        self.fleet.report(self.id, {**self.facts(), "slots": self._slots, "running": len(claimed)})

    def _rescue(self) -> None:
        rescued = self.fleet.rescue(SILENT_SECONDS)
        for job_id in rescued:
            logger.warning("job_rescued", job_id=job_id, silent_seconds=SILENT_SECONDS)
        waiting = self.tickets.waiting()
        for (is_short, needs_gpu), count in self.fleet.ready(self.short_seconds).items():
            queue = queue_of(is_short=is_short, needs_gpu=needs_gpu)
            self.tickets.write(queue, min(count - waiting.get(queue, 0), MOST_TICKETS))

    def _repeat(self, seconds: float, do: Callable[[], None]) -> None:
        while not self._closing.wait(seconds):
            try:
                do()
            except TranscriberError as error:
                logger.warning("fleet_not_reached", code=error.code, error=error.message)
            except Exception:  # noqa: BLE001  a thread's boundary: the next round may do better
                logger.exception("fleet_round_failed")

    def _storage(self) -> Storage:
        if self.storage is None:
            raise ShuttingDownError()
        return self.storage


def add_line(state: JournalState, line: str) -> bool:
    """Add a line of the store's journal; False, and nothing, for one that doesn't go with those before it."""
    try:
        state.apply(json.loads(line), Path("/"))
    except (ValueError, KeyError, TypeError):
        return False
    return True


def _queues(lane: Lengths) -> list[str]:
    taken = [name for name, takes in (("short", lane.takes_short), ("long", lane.takes_long)) if takes]
    return [queue for queue in QUEUES if queue.partition("-")[0] in taken]
