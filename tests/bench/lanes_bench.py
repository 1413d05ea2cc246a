"""How long a short clip takes while a long file is at work, beside the time that it takes alone."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from job_watch import delete, get_job, submit_file, wait_for_job
from server import Server

#: The promise: a short clip's answer comes in so many times the time that it takes alone.
LIMIT = 3.0

ROUNDS = 5


@dataclass(frozen=True, kw_only=True)
class Report:
    """Seconds of each round. `is_long_at_work`: the long file had windows done before, and more after."""

    alone: list[float]
    beside: list[float]
    windows_before: int
    windows_after: int

    @property
    def ratio(self) -> float:
        return statistics.median(self.beside) / statistics.median(self.alone)

    @property
    def is_long_at_work(self) -> bool:
        return 0 < self.windows_before < self.windows_after

    def to_dict(self) -> dict[str, Any]:
        return {
            "alone_seconds": [round(each, 2) for each in self.alone],
            "alone_median_seconds": round(statistics.median(self.alone), 2),
            "beside_long_file_seconds": [round(each, 2) for each in self.beside],
            "beside_long_file_median_seconds": round(statistics.median(self.beside), 2),
            "ratio": round(self.ratio, 2),
            "limit": LIMIT,
            "long_file_windows_before": self.windows_before,
            "long_file_windows_after": self.windows_after,
            "ok": self.ratio <= LIMIT and self.is_long_at_work,
        }


def compare(server: Server, clip: Path, long_file: Path, rounds: int = ROUNDS) -> Report:
    """The clip alone, then while the long file is being transcribed; the long job is cancelled at the end."""
    _take(server, clip)  # the first answer of an engine is slower than all others
    alone = [_take(server, clip) for _ in range(rounds)]
    job_id = submit_file(server, long_file)
    at_work = wait_for_job(server, job_id, lambda job: _windows(job) > 0, "the long file has a window", 300)
    beside = [_take(server, clip) for _ in range(rounds)]
    after = wait_for_job(
        server, job_id, lambda job: _windows(job) > _windows(at_work), "the long file goes on", 120
    )
    if get_job(server, job_id)["status"] == "running":
        delete(server, job_id)
    return Report(alone=alone, beside=beside, windows_before=_windows(at_work), windows_after=_windows(after))


def _take(server: Server, clip: Path) -> float:
    begun = time.monotonic()
    answer = server.transcribe(clip)
    if answer.status != 200:
        raise RuntimeError(f"POST /transcribe answered {answer.status}: {answer.text[:300]}")
    return time.monotonic() - begun


def _windows(job: dict[str, Any]) -> int:
    return 0 if job["progress"] is None else int(job["progress"]["windows_done"])
