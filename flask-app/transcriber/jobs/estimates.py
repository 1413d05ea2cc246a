"""Estimates: where a queued job stands, and when it will start, by what this machine has done so far."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ..domain.errors import GpuRequiredError, QueueFullError
from ..domain.jobs import Job, QueuePlace
from ..domain.options import TranscriptionRequest
from ..domain.ports import EngineInfo
from .active_job import Progress
from .lengths import HEAD_BYTES, guess_seconds
from .limits import JobLimits
from .outlook import Load, foresee
from .queue import WaitingJob, WorkQueue
from .speeds import Speeds, work_of

#: The least and the longest wait that a client of a full queue is given.
_SOONEST_SECONDS, _LATEST_SECONDS = 1, 600


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """What is expected of a job that waits."""

    seconds: float  #: of audio
    device: str
    model: str


class Estimates:
    """Answers how long. Safe to use from any thread."""

    def __init__(
        self,
        *,
        runner: WorkQueue,
        at_work: Callable[[], list[Progress]],
        device_of: Callable[[TranscriptionRequest], str],
        engines: Callable[[], tuple[EngineInfo, ...]],
        speeds: Speeds,
        limits: JobLimits,
    ) -> None:
        self._runner = runner
        self._at_work = at_work
        self._device_of = device_of
        self._engines = engines
        self._speeds = speeds
        self._limits = limits
        self._lock = threading.Lock()
        self._expected: dict[str, Expected] = {}

    def expect(self, job: Job, head: bytes) -> float:
        """A job is about to wait; its upload begins with these bytes. How long its audio is thought to be."""
        for info in self._engines():
            self._speeds.suggest(info.device, info.model, info.warmup_seconds)
        seconds = guess_seconds(head, job.size_bytes) if job.duration is None else job.duration
        expected = Expected(seconds=seconds, device=self._device(job.request), model=job.request.model)
        with self._lock:
            self._expected[job.id] = expected
        return seconds

    def place(self, job_id: str) -> QueuePlace | None:
        """Where the job stands in its lane; None if it does not wait."""
        line = self._line()
        index = next((i for i, waiting in enumerate(line) if waiting.job_id == job_id), None)
        if index is None:
            return None
        is_short = self._is_short(line[index])
        position = sum(self._is_short(waiting) == is_short for waiting in line[: index + 1])
        return QueuePlace(position=position, seconds=round(self._wait(line[: index + 1]), 1))

    def refine(self, error: QueueFullError) -> QueueFullError:
        """The refusal, with when a place will be free."""
        left = [
            seconds for progress in self._at_work() if (seconds := progress.now().seconds_left) is not None
        ]
        soonest = math.ceil(min(left, default=float(error.retry_after)))
        error.retry_after = min(max(soonest, _SOONEST_SECONDS), _LATEST_SECONDS)
        return error

    def _wait(self, line: list[WaitingJob]) -> float:
        """Seconds until the last of these starts."""
        slots = self._limits.slots
        waiting = [Load(self._seconds(each), self._is_short(each)) for each in line]
        starts = foresee(self._loads(), waiting, long_slots=slots.long, short_slots=slots.short)
        return starts[-1]

    def _loads(self) -> list[Load]:
        """The jobs at work, and those that hold a slot and haven't reported progress yet."""
        held = self._runner.held()
        told = {progress.job.id: progress for progress in self._at_work()}
        loads = [
            Load(self._left(progress), progress.lane == "short", held.get(job_id, False))
            for job_id, progress in told.items()
        ]
        for job_id in held.keys() - told.keys():
            expected = self._find(job_id)
            seconds = 0.0 if expected is None else self._cost(expected)
            loads.append(Load(seconds, self._is_expected_short(expected), held[job_id]))
        return loads

    def _left(self, progress: Progress) -> float:
        """What is left of a job at work; all that was expected of it while its length is not known."""
        expected = self._find(progress.job.id)
        seconds = progress.alone_seconds()
        if seconds is None:
            return self._seconds_of(progress.job) if expected is None else self._cost(expected)
        return seconds

    def _seconds_of(self, job: Job) -> float:
        """What a job costs that is at work, and whose length is not known yet."""
        device = self._device(job.request)
        seconds = guess_seconds(b"", job.size_bytes) if job.duration is None else job.duration
        return work_of(seconds) / self._speeds.rate(device, job.request.model)

    def _seconds(self, waiting: WaitingJob) -> float:
        expected = self._find(waiting.job_id)
        if expected is None:
            return 0.0
        is_longer = waiting.is_long and expected.seconds < self._limits.short_seconds
        return self._cost(replace(expected, seconds=self._limits.short_seconds) if is_longer else expected)

    def _cost(self, expected: Expected) -> float:
        return work_of(expected.seconds) / self._speeds.rate(expected.device, expected.model)

    def _is_short(self, waiting: WaitingJob) -> bool:
        return not waiting.is_long and self._is_expected_short(self._find(waiting.job_id))

    def _is_expected_short(self, expected: Expected | None) -> bool:
        return expected is not None and expected.seconds <= self._limits.short_seconds

    def _find(self, job_id: str) -> Expected | None:
        with self._lock:
            return self._expected.get(job_id)

    def _line(self) -> list[WaitingJob]:
        """Who waits; what was expected of the others is forgotten."""
        line = self._runner.line()
        known = {waiting.job_id for waiting in line} | self._runner.held().keys()
        with self._lock:
            if len(self._expected) > 2 * len(known) + 100:
                self._expected = {job_id: e for job_id, e in self._expected.items() if job_id in known}
        return line

    def _device(self, request: TranscriptionRequest) -> str:
        try:
            return self._device_of(request)
        except GpuRequiredError:
            return "cuda"


def read_head(upload: Path) -> bytes:
    """The first bytes of an upload; none if it can't be read. Blocks on the disk."""
    try:
        with upload.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""
