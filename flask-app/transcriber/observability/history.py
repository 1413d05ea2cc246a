"""What went on in the last hour, minute by minute: speed, queue, use of the GPU. In memory, for the diagnostics page."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ..domain.errors import TranscriberError
from ..domain.jobs import Job
from ..domain.ports import Clock
from ..domain.transcript import Transcription

#: How far back it goes.
MINUTES = 60

#: How often the service is looked at, in seconds.
SAMPLE_SECONDS = 15.0


@dataclass(slots=True)
class Minute:
    """One minute. RTF: seconds of work for each second of audio; gpu_use: shares from 0 to 1."""

    rtf_gpu: list[float] = field(default_factory=list)
    rtf_cpu: list[float] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    at_work: list[int] = field(default_factory=list)
    gpu_use: list[float] = field(default_factory=list)


class History:
    """Forgets what is older than an hour. Safe to call from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._minutes: dict[int, Minute] = {}
        #: The last job that ended well.
        self.last: Transcription | None = None

    def note_job(self, job: Job, transcription: Transcription | None, error: TranscriberError | None) -> None:
        """A job has ended; only a transcription says how fast it was."""
        if transcription is None:
            return
        self.last = transcription
        if transcription.rtfx > 0:
            with self._lock:
                now = self._now()
                speeds = now.rtf_gpu if transcription.gpu_used else now.rtf_cpu
                speeds.append(1 / transcription.rtfx)

    def note_state(self, *, waiting: int, at_work: int, gpu_use: float | None) -> None:
        """The service at this moment. gpu_use: None where no GPU says."""
        with self._lock:
            now = self._now()
            now.waiting.append(waiting)
            now.at_work.append(at_work)
            if gpu_use is not None:
                now.gpu_use.append(gpu_use)

    def facts(self) -> dict[str, Any]:
        """Plain values. Each list has one value a minute, the oldest first; None where nothing is known."""
        with self._lock:
            latest = self._minute_number()
            minutes = [
                self._minutes.get(number, Minute()) for number in range(latest - MINUTES + 1, latest + 1)
            ]
        on_gpu, on_cpu = _all(m.rtf_gpu for m in minutes), _all(m.rtf_cpu for m in minutes)
        return {
            "until": self._clock.now().isoformat(),
            "jobs": len(on_gpu) + len(on_cpu),
            "jobs_on_gpu": len(on_gpu),
            "rtf_median": _median([*on_gpu, *on_cpu]),
            "rtf_gpu": [_median(m.rtf_gpu) for m in minutes],
            "rtf_cpu": [_median(m.rtf_cpu) for m in minutes],
            "waiting": [_of(max, m.waiting) for m in minutes],
            "at_work": [_of(max, m.at_work) for m in minutes],
            "gpu_use": [_of(statistics.fmean, m.gpu_use) for m in minutes],
        }

    def _now(self) -> Minute:
        """This minute. Call it with the lock held."""
        number = self._minute_number()
        if number not in self._minutes:
            self._minutes = {n: m for n, m in self._minutes.items() if n > number - MINUTES}
            self._minutes[number] = Minute()
        return self._minutes[number]

    def _minute_number(self) -> int:
        return int(self._clock.monotonic() // 60)


def _all(lists: Iterable[list[float]]) -> list[float]:
    return [value for one in lists for value in one]


def _median(values: list[float]) -> float | None:
    return _of(statistics.median, values)


def _of(measure: Callable[[Any], float], values: list[Any]) -> float | None:
    return round(measure(values), 4) if values else None
