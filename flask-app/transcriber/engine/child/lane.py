"""A lane of the scheduler: one thread that puts batches through the model, and posts what came of each window."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...domain.selftest import SelfTestReport
from .batch_limit import BatchLimit
from .batching import LONG, SHORT
from .decoding.rows import DecodedWindow, DecodingRow
from .faults import OUT_OF_MEMORY, Fault, FaultError, fault_of
from .job import EngineJob
from .memory import give_back

_LOGGER = logging.getLogger("transcriber.engine")

#: Seconds without a batch after which the work counts as over.
_IDLE_SECONDS = 0.5

#: Rows of several jobs through the model.
DecodeBatch = Callable[[Sequence[DecodingRow]], list[DecodedWindow]]


@dataclass(frozen=True, kw_only=True, slots=True)
class LaneWork:
    """What a lane can do: decode a batch, and test the engine."""

    decode: DecodeBatch
    selftest: Callable[[], SelfTestReport]


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """A window on its way, and whose it is."""

    job: EngineJob
    row: DecodingRow


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchOutcome:
    """What became of a window: its text, or a fault."""

    taken: Taken
    decoded: DecodedWindow | None = None
    fault: Fault | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchEnded:
    """To the scheduler: this lane is free again. A window of a job that was stopped meanwhile has no outcome.

    sizes: windows that went through the model together, one number for each time. shrunk: the size that did not
    fit into memory, and the one that goes together from now on.
    """

    lane: Lane
    outcomes: tuple[BatchOutcome, ...]
    sizes: tuple[int, ...] = ()
    shrunk: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SelfTestEnded:
    """To the scheduler: a self-test is over, and this lane is free again."""

    lane: Lane
    test_id: int
    report: SelfTestReport


@dataclass(frozen=True, kw_only=True, slots=True)
class LaneBroke:
    """To the scheduler: the process can't go on."""

    error: Exception


class Lane:
    """Decodes one batch at a time, or tests the engine between two.

    `batch` is the number of the one in work, `serves` the lane of its jobs, `test_id` the number of the test; the
    scheduler's thread keeps all three.
    """

    def __init__(
        self,
        work: LaneWork,
        post: Callable[[BatchEnded | SelfTestEnded | LaneBroke], None],
    ) -> None:
        self.batch: int | None = None
        self.serves: str | None = None
        self.test_id: int | None = None
        self._work = work
        self._post = post
        self._batches: queue.SimpleQueue[list[Taken] | None] = queue.SimpleQueue()
        self._room = BatchLimit()
        self._sizes: list[int] = []
        self._shrunk: tuple[int, int] | None = None

    @property
    def is_free(self) -> bool:
        """Whether it can be given work."""
        return self.batch is None and self.test_id is None

    @property
    def serves_clip(self) -> bool:
        """Whether it is at work on a clip."""
        return self.batch is not None and self.serves == SHORT

    @property
    def keeps_clips_waiting(self) -> bool:
        """Whether it is at work on what a clip should not wait for."""
        return self.test_id is not None or (self.batch is not None and self.serves == LONG)

    def start(self, batch: list[Taken]) -> None:
        """Decode this next; BatchEnded follows."""
        self._batches.put(batch)

    def start_test(self, test_id: int) -> None:
        """Test the engine next; SelfTestEnded follows."""
        self.test_id = test_id
        self._batches.put(None)

    def run(self) -> None:
        """Thread: work until the process ends."""
        try:
            while True:
                batch = self._next_batch()
                self._post(self._ended(batch) if batch is not None else self._tested())
        except Exception as error:  # noqa: BLE001 - the thread's boundary; the scheduler ends the process
            self._post(LaneBroke(error=error))

    def _next_batch(self) -> list[Taken] | None:
        """The next one; None for a self-test. A lane without work for a moment gives its last memory back."""
        try:
            return self._batches.get(timeout=_IDLE_SECONDS)
        except queue.Empty:
            give_back()
            return self._batches.get()

    def _ended(self, batch: list[Taken]) -> BatchEnded:
        self._sizes, self._shrunk = [], None
        outcomes: list[BatchOutcome] = []
        while batch:
            most = self._room.most(len(batch))
            outcomes += self._decode(batch[:most])
            batch = batch[most:]
        give_back()  # what is free between tensors that are not would pile up until the lane is idle
        return BatchEnded(lane=self, outcomes=tuple(outcomes), sizes=tuple(self._sizes), shrunk=self._shrunk)

    def _tested(self) -> SelfTestEnded:
        return SelfTestEnded(lane=self, test_id=self.test_id or 0, report=self._work.selftest())

    def _decode(self, batch: list[Taken]) -> list[BatchOutcome]:
        """Decode; after a failure in halves, so that one bad window, or too little memory, costs one job."""
        batch = [taken for taken in batch if not taken.job.stopped.is_set()]
        if not batch:
            return []
        try:
            decoded = self._work.decode([taken.row for taken in batch])
        except Exception as error:  # noqa: BLE001 - the boundary between jobs; a fault is reported, or ends the process
            return self._decode_halves(batch, fault_of(error))
        self._sizes.append(len(batch))
        return [
            BatchOutcome(taken=taken, decoded=result) for taken, result in zip(batch, decoded, strict=True)
        ]

    def _decode_halves(self, batch: list[Taken], fault: Fault) -> list[BatchOutcome]:
        _LOGGER.error("batch_failed rows=%d code=%s message=%s", len(batch), fault.code, fault.message)
        if fault.sticky:
            raise FaultError(fault)
        if len(batch) == 1:
            return [BatchOutcome(taken=batch[0], fault=fault)]
        if fault.code == OUT_OF_MEMORY:
            first = self._shrunk[0] if self._shrunk else len(batch)
            self._shrunk = (first, self._room.note_failure(len(batch)))
        middle = len(batch) // 2
        return self._decode(batch[:middle]) + self._decode(batch[middle:])
