"""Where finished jobs ran, remembered for lists: a row of the store does not say, a result has to be read for it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from ..domain.errors import TranscriberError
from ..domain.jobs import Job, JobStatus
from ..domain.transcript import Transcription

#: A result never changes, so its facts may be kept; this many are.
MAX_KEPT = 5_000


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceFacts:
    """The device of one finished job."""

    gpu_used: bool
    device: str
    compute_type: str


class DeviceCache:
    """Facts by job id, the oldest forgotten first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, DeviceFacts] = OrderedDict()

    def find(self, job: Job, read: Callable[[str], Transcription]) -> DeviceFacts | None:
        """The facts of a job that succeeded; None for others, and where its result can't be read."""
        if job.status is not JobStatus.SUCCEEDED:
            return None
        with self._lock:
            known = self._kept.get(job.id)
        return known or self._read(job.id, read)

    def _read(self, job_id: str, read: Callable[[str], Transcription]) -> DeviceFacts | None:
        try:
            done = read(job_id)
        except TranscriberError:  # purged or damaged: its own page says so, the list goes on
            return None
        facts = DeviceFacts(gpu_used=done.gpu_used, device=done.device, compute_type=done.compute_type)
        with self._lock:
            self._kept[job_id] = facts
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        return facts
