"""How fast this machine transcribes, measured as it works, and kept for the first estimates after a restart."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..domain.errors import StorageFailedError, StorageFullError
from ..domain.ports import Clock
from ..system.durable_files import write_whole

#: What a job costs beside its audio, in seconds of audio: a window is 30 s, however short the clip.
OVERHEAD_SECONDS = 10.0

#: How much audio a job gets done in the time of a warm-up.
WARMUP_AUDIO_SECONDS = 15.0

#: Weight of the newest measurement.
_NEWEST = 0.3

#: Measurements over less than this many seconds say nothing.
_SHORTEST_SECONDS = 0.5

#: Seconds of audio a second on a small CPU, before anything is measured; a GPU does 30 times as much.
_DEFAULTS = (("tiny", 12.0), ("base", 7.0), ("small", 2.5), ("medium", 0.9), ("distil", 1.0), ("large", 0.5))
_DEFAULT = 1.0
_GPU_FACTOR = 30.0


def work_of(duration: float) -> float:
    """What a file of this duration costs, in seconds of audio."""
    return duration + OVERHEAD_SECONDS


@dataclass(frozen=True, slots=True)
class Mark:
    """When a measurement began, and how much had been done by then."""

    device: str
    model: str
    at: float
    done: float


class Speeds:
    """Audio seconds a second, by device and model, over all jobs that run at the same time."""

    def __init__(self, clock: Clock, known: Mapping[str, float] | None = None) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._rates = dict(known or {})
        self._hints: dict[str, float] = {}
        self._done: dict[str, float] = {}

    def rate(self, device: str, model: str) -> float:
        """Measured, else a guess by the model's name."""
        with self._lock:
            key = _key(device, model)
            known = self._rates.get(key) or self._hints.get(key)
        return known or _guess(device, model)

    def suggest(self, device: str, model: str, warmup_seconds: float) -> None:
        """What an engine's warm-up, one window, took: better than a guess by name until a job is measured."""
        if warmup_seconds > 0:
            with self._lock:
                self._hints[_key(device, model)] = WARMUP_AUDIO_SECONDS / warmup_seconds

    def begin(self, device: str, model: str) -> Mark:
        """A job's engine run begins."""
        with self._lock:
            return Mark(device, model, self._clock.monotonic(), self._done.get(_key(device, model), 0.0))

    def advance(self, mark: Mark, work: float) -> None:
        """So much of a job is done."""
        key = _key(mark.device, mark.model)
        with self._lock:
            self._done[key] = self._done.get(key, 0.0) + work

    def end(self, mark: Mark) -> None:
        """The run is over: all that was done meanwhile, by whichever job, is the machine's speed."""
        key = _key(mark.device, mark.model)
        with self._lock:
            seconds = self._clock.monotonic() - mark.at
            work = self._done.get(key, 0.0) - mark.done
            if seconds < _SHORTEST_SECONDS or work <= 0:
                return
            rate, known = work / seconds, self._rates.get(key)
            self._rates[key] = (
                rate
                if known is None
                else math.exp(_NEWEST * math.log(rate) + (1 - _NEWEST) * math.log(known))
            )

    def known(self) -> dict[str, float]:
        """What was measured, to be saved."""
        with self._lock:
            return dict(self._rates)


def load_speeds(path: Path) -> dict[str, float]:
    """What an earlier process measured; nothing when there is no such file, or it is no good."""
    try:
        data = json.loads(path.read_text())
        return {str(key): float(rate) for key, rate in data.items() if float(rate) > 0}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def save_speeds(path: Path, known: Mapping[str, float]) -> None:
    """Keep it. A disk that can't take it is somebody else's news. Blocks on fsync: call it in a native thread."""
    try:
        write_whole(path, json.dumps(known, indent=1).encode())
    except (StorageFullError, StorageFailedError):
        return


def _key(device: str, model: str) -> str:
    return f"{device} {model}"


def _guess(device: str, model: str) -> float:
    name = model.rpartition("/")[2]
    rate = next((rate for part, rate in _DEFAULTS if part in name), _DEFAULT)
    return rate * (_GPU_FACTOR if device == "cuda" else 1.0)
