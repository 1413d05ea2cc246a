"""The jobs that are in one engine child, and since when it computes for none of them."""

from __future__ import annotations

import itertools
import queue
import threading
from dataclasses import dataclass, field

from ..domain.ports import Clock
from .protocol import JOB_ENDS, Message


@dataclass(frozen=True, slots=True)
class Inbox:
    """A job's messages. It is never full, so the reader never waits; None says that the child died."""

    job_id: str
    messages: queue.SimpleQueue[Message | None] = field(default_factory=queue.SimpleQueue)


class ChildJobs:
    """Jobs by their id on the wire, and the batches at work. Safe from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Reentrant: an iterator that is garbage closes its job wherever the collector runs.
        self._lock = threading.RLock()
        self._jobs: dict[str, Inbox] = {}
        #: Jobs that were given up and are not over in the child yet.
        self._draining: set[str] = set()
        self._batches: set[int] = set()
        self._counter = itertools.count(2)
        self._unwanted_since: float | None = None
        self._is_over = False

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def is_computing(self) -> bool:
        """Whether a batch is at work."""
        return bool(self._batches)

    @property
    def wasted_seconds(self) -> float:
        """For how long the child has computed for jobs that were all given up; 0: it does not."""
        since = self._unwanted_since
        return 0.0 if since is None else self._clock.monotonic() - since

    def open(self, job_id: str) -> tuple[str, Inbox] | None:
        """Register the job, under an id that the child has no old news about; None: the child is gone."""
        inbox = Inbox(job_id)
        with self._lock:
            if self._is_over:
                return None
            taken = job_id in self._jobs or job_id in self._draining
            wire_id = f"{job_id}#{next(self._counter)}" if taken else job_id
            self._jobs[wire_id] = inbox
            self._note_waste()
        return wire_id, inbox

    def find(self, job_id: str) -> list[tuple[str, Inbox]]:
        """Where this job is in the child, by its ids on the wire."""
        with self._lock:
            return [(wire_id, inbox) for wire_id, inbox in self._jobs.items() if inbox.job_id == job_id]

    def close(self, wire_id: str) -> bool:
        """Forget the job; whether it is not over in the child, where its news drains away from now on."""
        with self._lock:
            is_unfinished = self._jobs.pop(wire_id, None) is not None and not self._is_over
            if is_unfinished:
                self._draining.add(wire_id)
            self._note_waste()
        return is_unfinished

    def deliver(self, message: Message) -> None:
        """Hand a message to its job."""
        wire_id = message.get("job_id")
        if not isinstance(wire_id, str):
            return
        with self._lock:
            is_last = message["type"] in JOB_ENDS
            inbox = self._jobs.pop(wire_id, None) if is_last else self._jobs.get(wire_id)
            if is_last:
                self._draining.discard(wire_id)
                self._note_waste()
        if inbox is not None:
            inbox.messages.put(message)

    def note_batch(self, message: Message) -> None:
        """A batch began or ended."""
        with self._lock:
            if message["type"] == "batch_started":
                self._batches.add(message.get("batch", 0))
            else:
                self._batches.discard(message.get("batch", 0))
            self._note_waste()

    def end(self) -> list[Inbox]:
        """The child is gone: no job comes in any more. The jobs that wait for it."""
        with self._lock:
            self._is_over = True
            self._note_waste()
            return list(self._jobs.values())

    def _note_waste(self) -> None:
        """Under the lock, after every change of what is in the child."""
        is_computing = bool(self._batches or self._draining) and not self._is_over
        if self._jobs or not is_computing:
            self._unwanted_since = None
        elif self._unwanted_since is None:
            self._unwanted_since = self._clock.monotonic()
