"""Estimates: where a queued job stands, and when it will start, by what this machine has done so far."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from .domain.errors import GpuRequiredError, QueueFullError
from .domain.jobs import Job, QueuePlace
from .domain.options import TranscriptionRequest
from .domain.ports import EngineInfo
from .jobs.lengths import HEAD_BYTES, guess_seconds
from .jobs.outlook import foresee
from .jobs.runner import Runner, Waiting
from .jobs.speeds import Speeds, work_of
from .progress import Progress
from .running import Limits

#: What a client of a full queue is told, at least and at most.
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
        runner: Runner,
        at_work: Callable[[], list[Progress]],
        device_of: Callable[[TranscriptionRequest], str],
        engines: Callable[[], tuple[EngineInfo, ...]],
        speeds: Speeds,
        limits: Limits,
    ) -> None:
        self._runner = runner
        self._at_work = at_work
        self._device_of = device_of
        self._engines = engines
        self._speeds = speeds
        self._limits = limits
        self._lock = threading.Lock()
        self._expected: dict[str, Expected] = {}

    def expect(self, job: Job, head: bytes) -> None:
        """A job is about to wait; its upload begins with these bytes."""
        for info in self._engines():
            self._speeds.suggest(info.device, info.model, info.warmup_seconds)
        seconds = guess_seconds(head, job.size_bytes) if job.duration is None else job.duration
        expected = Expected(seconds=seconds, device=self._device(job.request), model=job.request.model)
        with self._lock:
            self._expected[job.id] = expected

    def place(self, job_id: str) -> QueuePlace | None:
        """Where the job stands in its lane; None if it does not wait."""
        line = self._line()
        index = next((i for i, waiting in enumerate(line) if waiting.job_id == job_id), None)
        if index is None:
            return None
        is_short = self._is_short(line[index])
        lane = [waiting for waiting in line[: index + 1] if self._is_short(waiting) == is_short]
        return QueuePlace(position=len(lane), seconds=round(self._wait(lane, is_short), 1))

    def refine(self, error: QueueFullError) -> QueueFullError:
        """The refusal, with when a place will be free."""
        left = [
            seconds for progress in self._at_work() if (seconds := progress.now().seconds_left) is not None
        ]
        soonest = math.ceil(min(left, default=float(error.retry_after)))
        error.retry_after = min(max(soonest, _SOONEST_SECONDS), _LATEST_SECONDS)
        return error

    def _wait(self, lane: list[Waiting], is_short: bool) -> float:
        """Seconds until the last of these starts."""
        at_work = self._at_work()
        slots = self._limits.slots.short if is_short else self._limits.slots.long
        own = [progress for progress in at_work if (progress.lane == "short") == is_short]
        others = len(at_work) - len(own)
        outlook = foresee(self._alone(own), [self._seconds(waiting) for waiting in lane], max(1, slots))
        # The other lane takes its share of the machine; short jobs go first in the batches.
        share = 1.0 if not others else 1.5 if is_short else (len(own) + others) / max(1, len(own))
        return outlook.starts[-1] * share

    def _alone(self, progresses: Iterable[Progress]) -> list[float]:
        return [progress.alone_seconds() or self._seconds_of(progress.job) for progress in progresses]

    def _seconds_of(self, job: Job) -> float:
        """What a job costs that is at work, and whose length is not known yet."""
        device = self._device(job.request)
        seconds = guess_seconds(b"", job.size_bytes) if job.duration is None else job.duration
        return work_of(seconds) / self._speeds.rate(device, job.request.model)

    def _seconds(self, waiting: Waiting) -> float:
        expected = self._find(waiting.job_id)
        if expected is None:
            return 0.0
        seconds = max(expected.seconds, self._limits.short_seconds) if waiting.is_long else expected.seconds
        return work_of(seconds) / self._speeds.rate(expected.device, expected.model)

    def _is_short(self, waiting: Waiting) -> bool:
        expected = self._find(waiting.job_id)
        return not waiting.is_long and expected is not None and expected.seconds <= self._limits.short_seconds

    def _find(self, job_id: str) -> Expected | None:
        with self._lock:
            return self._expected.get(job_id)

    def _line(self) -> list[Waiting]:
        """Who waits; what was expected of the others is forgotten."""
        line = self._runner.line()
        known = {waiting.job_id for waiting in line}
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
