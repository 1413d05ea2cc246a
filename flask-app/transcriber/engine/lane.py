"""A lane of the batcher: one thread that puts batches through the model, and posts what came of each window."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .arrays import Features, Samples
from .decoding import DecodedWindow, Row
from .faults import Fault, FaultError, fault_of
from .job import Entry, Job
from .memory import give_back
from .pcm import Pcm
from .windows import Window

_LOGGER = logging.getLogger("transcriber.engine")

#: So long without a batch, and the work is over for now.
_IDLE_SECONDS = 0.5

#: Rows of several jobs through the model.
DecodeBatch = Callable[[Sequence[Row]], list[DecodedWindow]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """A window on its way, and whose it is."""

    job: Job
    row: Row


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of a window: decoded, with what is left of it to decode, or a fault."""

    taken: Taken
    decoded: DecodedWindow | None = None
    rest: Entry | None = None
    fault: Fault | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchEnded:
    """To the batcher: this lane is free again. A window of a job that was stopped meanwhile has no outcome."""

    lane: Lane
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class LaneBroke:
    """To the batcher: the process can't go on."""

    error: Exception


class Lane:
    """Decodes one batch at a time. `batch` is the number of the one in work; the batcher's thread keeps it."""

    def __init__(
        self,
        decode: DecodeBatch,
        log_mel: Callable[[Samples], Features],
        post: Callable[[BatchEnded | LaneBroke], None],
    ) -> None:
        self.batch: int | None = None
        self._decode_batch = decode
        self._log_mel = log_mel
        self._post = post
        self._batches: queue.SimpleQueue[list[Taken]] = queue.SimpleQueue()

    def start(self, batch: list[Taken]) -> None:
        """Decode this next; BatchEnded tells the rest."""
        self._batches.put(batch)

    def run(self) -> None:
        """Thread: work until the process ends."""
        try:
            while True:
                self._post(BatchEnded(lane=self, outcomes=tuple(self._decode(self._next_batch()))))
        except Exception as error:  # noqa: BLE001 - the thread's boundary; the batcher ends the process
            self._post(LaneBroke(error=error))

    def _next_batch(self) -> list[Taken]:
        """The next one. A lane that has nothing to do for a moment gives the memory of the last one back."""
        try:
            return self._batches.get(timeout=_IDLE_SECONDS)
        except queue.Empty:
            give_back()
            return self._batches.get()

    def _decode(self, batch: list[Taken]) -> list[Outcome]:
        """Decode; after a failure in halves, so that one bad window, or too little memory, costs one job."""
        batch = [taken for taken in batch if not taken.job.stopped.is_set()]
        if not batch:
            return []
        try:
            decoded = self._decode_batch([taken.row for taken in batch])
        except Exception as error:  # noqa: BLE001 - the boundary between jobs; a fault is told, or ends the process
            return self._decode_halves(batch, fault_of(error))
        return [self._outcome(taken, result) for taken, result in zip(batch, decoded, strict=True)]

    def _decode_halves(self, batch: list[Taken], fault: Fault) -> list[Outcome]:
        _LOGGER.error("batch_failed rows=%d code=%s message=%s", len(batch), fault.code, fault.message)
        if fault.sticky:
            raise FaultError(fault)
        if len(batch) == 1:
            return [Outcome(taken=batch[0], fault=fault)]
        middle = len(batch) // 2
        return self._decode(batch[:middle]) + self._decode(batch[middle:])

    def _outcome(self, taken: Taken, decoded: DecodedWindow) -> Outcome:
        rest = None if decoded.rest is None else self._entry(taken.job, decoded.rest)
        return Outcome(taken=taken, decoded=decoded, rest=rest)

    def _entry(self, job: Job, window: Window) -> Entry:
        samples = Pcm(job.spec.pcm_path, job.spec.samples).read(window.start, window.end)
        return Entry(window=window, features=self._log_mel(samples))
