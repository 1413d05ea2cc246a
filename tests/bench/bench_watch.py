"""What a process tree uses while a benchmark runs: CPU time, memory, and the GPU's utilisation where there is one."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from job_watch import cpu_seconds
from server import descendants, tree_memory_bytes

_INTERVAL = 0.5


@dataclass(frozen=True, kw_only=True)
class Usage:
    """cpu_seconds of the tree, its largest memory, and the GPU's mean utilisation; None: no GPU."""

    cpu_seconds: float
    peak_bytes: int
    gpu_percent: float | None


class Watch:
    """Watches the trees of `pids` inside a with block; `usage` afterwards."""

    def __init__(self, pids: Sequence[int], *, gpu: bool) -> None:
        self._pids = pids
        self._gpu = gpu and shutil.which("nvidia-smi") is not None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._peak = 0
        self._percents: list[float] = []

    def __enter__(self) -> Watch:
        self._begun = self._cpu()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        percents = self._percents
        self.usage = Usage(
            cpu_seconds=self._cpu() - self._begun,
            peak_bytes=self._peak,
            gpu_percent=sum(percents) / len(percents) if percents else None,
        )

    def _sample(self) -> None:
        while True:
            self._peak = max(self._peak, sum(tree_memory_bytes(pid) for pid in self._pids))
            if self._gpu:
                self._percents.append(_gpu_percent())
            if self._over.wait(_INTERVAL):
                return

    def _cpu(self) -> float:
        """CPU time of the processes that are there, and of those that came and went, which their parents count."""
        return sum(cpu_seconds(one) for pid in self._pids for one in (pid, *descendants(pid)))


def _gpu_percent() -> float:
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    return max(float(line) for line in done.stdout.split())
