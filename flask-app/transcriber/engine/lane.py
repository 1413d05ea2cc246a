"""A lane of the batcher: one thread that puts batches through the model, and posts what came of each window."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .arrays import Features, Samples
from .decoding import DecodedWindow, Row
from .faults import OUT_OF_MEMORY, Fault, FaultError, fault_of
from .job import Entry, Job
from .pcm import Pcm
from .room import Room
from .windows import Window

_LOGGER = logging.getLogger("transcriber.engine")

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
    """To the batcher: this lane is free again. A window of a job that was stopped meanwhile has no outcome.

    sizes: windows that went through the model together, one number for each time. shrunk: the size that did not
    fit into memory, and the one that goes together from now on.
    """

    lane: Lane
    outcomes: tuple[Outcome, ...]
    sizes: tuple[int, ...] = ()
    shrunk: tuple[int, int] | None = None


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
        self._room = Room()
        self._sizes: list[int] = []
        self._shrunk: tuple[int, int] | None = None

    def start(self, batch: list[Taken]) -> None:
        """Decode this next; BatchEnded tells the rest."""
        self._batches.put(batch)

    def run(self) -> None:
        """Thread: work until the process ends."""
        try:
            while True:
                self._post(self._work(self._batches.get()))
        except Exception as error:  # noqa: BLE001 - the thread's boundary; the batcher ends the process
            self._post(LaneBroke(error=error))

    def _work(self, batch: list[Taken]) -> BatchEnded:
        self._sizes, self._shrunk = [], None
        outcomes: list[Outcome] = []
        while batch:
            most = self._room.most(len(batch))
            outcomes += self._decode(batch[:most])
            batch = batch[most:]
        return BatchEnded(lane=self, outcomes=tuple(outcomes), sizes=tuple(self._sizes), shrunk=self._shrunk)

    def _decode(self, batch: list[Taken]) -> list[Outcome]:
        """Decode; after a failure in halves, so that one bad window, or too little memory, costs one job."""
        batch = [taken for taken in batch if not taken.job.stopped.is_set()]
        if not batch:
            return []
        try:
            decoded = self._decode_batch([taken.row for taken in batch])
        except Exception as error:  # noqa: BLE001 - the boundary between jobs; a fault is told, or ends the process
            return self._decode_halves(batch, fault_of(error))
        self._sizes.append(len(batch))
        return [self._outcome(taken, result) for taken, result in zip(batch, decoded, strict=True)]

    def _decode_halves(self, batch: list[Taken], fault: Fault) -> list[Outcome]:
        _LOGGER.error("batch_failed rows=%d code=%s message=%s", len(batch), fault.code, fault.message)
        if fault.sticky:
            raise FaultError(fault)
        if len(batch) == 1:
            return [Outcome(taken=batch[0], fault=fault)]
        if fault.code == OUT_OF_MEMORY:
            first = self._shrunk[0] if self._shrunk else len(batch)
            self._shrunk = (first, self._room.note_failure(len(batch)))
        middle = len(batch) // 2
        return self._decode(batch[:middle]) + self._decode(batch[middle:])

    def _outcome(self, taken: Taken, decoded: DecodedWindow) -> Outcome:
        rest = None if decoded.rest is None else self._entry(taken.job, decoded.rest)
        return Outcome(taken=taken, decoded=decoded, rest=rest)

    def _entry(self, job: Job, window: Window) -> Entry:
        samples = Pcm(job.spec.pcm_path, job.spec.samples).read(window.start, window.end)
        return Entry(window=window, features=self._log_mel(samples))
