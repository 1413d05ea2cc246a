"""What one run of the engine says of one job, kept in the job's journal, and what its evidence proves."""

from __future__ import annotations

from dataclasses import replace

from ..domain.events import (
    BatchShrunk,
    EngineEvent,
    Finished,
    FinishedWindow,
    LanguageDetected,
    Planned,
    SegmentReady,
    WindowDone,
)
from ..domain.ports import Clock, EngineInfo
from ..domain.transcript import MemoryStep, Receipt, Segment
from ..gpu.degradation_steps import CPU, shrink_step
from ..gpu.policy import DeviceDecision
from ..gpu.receipt.engine_facts import EngineFacts
from ..gpu.receipt.engine_shares import divide, merged
from ..gpu.receipt.evidence import NO_DEVICE, ReceiptVerdict, WindowEvidence, is_cuda, verdict
from ..jobs.files.journal import Journal


class EventRecorder:
    """Takes the events of one run in order. Windows of earlier runs, from the journal, count in the receipt."""

    def __init__(self, journal: Journal, info: EngineInfo, decision: DeviceDecision, clock: Clock) -> None:
        self.info = info
        self._journal = journal
        self._decision = decision
        self._clock = clock
        self._begun = clock.monotonic()
        self._own = WindowEvidence()
        self._all = WindowEvidence()
        for window in journal.state.windows:
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
        state = self._journal.state
        self._all.planned = self._planned
        plain = replace(
            self._all.receipt(self.info),
            attempts=state.runs,
            partition=self.seen.partition,
            kernels=self.seen.kernels,
            is_jit=self.seen.is_jit,
            libraries=self.seen.libraries,
            steps=self._steps,
        )
        is_on_gpu = {index: is_cuda(device) for index, device in self._all.by_window.items()}
        return merged(plain, divide(state.engines, state.window_runs, is_on_gpu), self.seen.nvml)

    @property
    def _steps(self) -> tuple[MemoryStep, ...]:
        """What was given up. The GPU itself was not, where no window ran on the CPU: it fitted after all."""
        is_on_cpu = any(not is_cuda(device) for device in self._all.by_window.values())
        return tuple(step for step in self._journal.state.steps if is_on_cpu or step.code != CPU)

    @property
    def judged(self) -> ReceiptVerdict:
        """Where the job ran, by its evidence."""
        return verdict(self.receipt, self._decision)

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
        done = FinishedWindow(
            index=window.index, device=window.device, segments=tuple(segments), dropped=window.dropped
        )
        self._journal.add_window(done, window.history, self._clock.monotonic() - self._begun)
