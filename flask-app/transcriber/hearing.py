"""What one run of the engine says of one job, kept in the job's journal, and what its evidence proves."""

from __future__ import annotations

from dataclasses import replace

from .domain.events import (
    BatchShrunk,
    EngineEvent,
    Finished,
    FinishedWindow,
    LanguageDetected,
    Planned,
    SegmentReady,
    WindowDone,
)
from .domain.ports import Clock, EngineInfo
from .domain.transcript import Receipt, Segment
from .gpu.ladder import shrink_step
from .gpu.policy import DeviceDecision
from .gpu.receipts import NO_DEVICE, Evidence, Verdict, verdict
from .gpu.witness import EngineFacts
from .jobs.journal import Journal


class Hearing:
    """Takes the events of one run in order. Windows of earlier runs, from the journal, count in the receipt."""

    def __init__(self, journal: Journal, info: EngineInfo, decision: DeviceDecision, clock: Clock) -> None:
        self.info = info
        self._journal = journal
        self._decision = decision
        self._clock = clock
        self._begun = clock.monotonic()
        self._own = Evidence()
        self._all = Evidence()
        self._earlier = tuple(journal.state.windows)
        for window in self._earlier:
            self._all.add(WindowDone(index=window.index, device=window.device))
        self._all.begin_attempt(keeps_windows=True)
        self._window: WindowDone | None = None
        self._segments: list[Segment] = []
        #: Until the engine was lent.
        self.load_seconds = 0.0
        #: What was seen of the engine from outside once it was done.
        self.seen = EngineFacts()
        self.finished: Finished | None = None

    def take(self, event: EngineEvent) -> None:
        """Add one event. Raises StorageFullError, StorageFailedError."""
        match event:
            case LanguageDetected():
                self._journal.add_language(event)
            case Planned():
                self._journal.add_plan(event)
            case WindowDone():
                self._end_window()
                self._window = event
                self._own.add(event)
                self._all.add(event)
            case BatchShrunk():
                if self.info.device == "cuda":
                    self._journal.add_step(shrink_step(event.before, event.after))
            case SegmentReady():
                self._segments.append(event.segment)
            case Finished():
                self._end_window()
                self._fill_up_to(self._planned)
                self.finished = event
                self._all.add_peak(event.pool_peak_bytes)

    @property
    def receipt(self) -> Receipt:
        """The evidence of the whole job, beside its plan and the engine that finished it."""
        self._all.planned = self._planned
        return replace(
            self._all.receipt(self.info),
            attempts=self._journal.state.runs,
            partition=self.seen.partition,
            kernels=self.seen.kernels,
            is_jit=self.seen.is_jit,
            libraries=self.seen.libraries,
            nvml=self.seen.nvml,
            steps=tuple(self._journal.state.steps),
        )

    @property
    def judged(self) -> Verdict:
        """Where the job ran, by its evidence."""
        receipt = self.receipt
        if self._earlier and not self._own.devices:
            # This engine had nothing left to do; what it claims of itself says nothing about the windows.
            told = [window.device for window in self._earlier if window.device != NO_DEVICE]
            receipt = replace(receipt, claimed_device=told[-1] if told else self.info.device)
        return verdict(receipt, self._decision)

    @property
    def is_lie(self) -> bool:
        """Whether this engine's own windows belie what it claims."""
        return verdict(self._own.receipt(self.info), self._decision).is_lie

    @property
    def _planned(self) -> int:
        plan = self._journal.state.plan
        return 0 if plan is None else len(plan.windows)

    def _end_window(self) -> None:
        """The segments of a window are whole once the next thing is told."""
        window, self._window = self._window, None
        if window is None:
            return
        segments, self._segments = self._segments, []
        self._fill_up_to(min(window.index, self._planned))
        self._keep(window, segments)

    def _fill_up_to(self, end: int) -> None:
        """Windows that the engine told nothing of: their text, if any, stays, and nothing says where they ran."""
        for index in range(len(self._journal.state.windows), end):
            segments, self._segments = self._segments, []
            self._keep(WindowDone(index=index, device=NO_DEVICE), segments)

    def _keep(self, window: WindowDone, segments: list[Segment]) -> None:
        done = FinishedWindow(index=window.index, device=window.device, segments=tuple(segments))
        self._journal.add_window(done, window.history, self._clock.monotonic() - self._begun)
