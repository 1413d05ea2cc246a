"""Where finished jobs ran, remembered for lists: a row of the store does not say, a result has to be read for it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable

from ..domain.jobs import Job, JobStatus
from ..domain.transcript import DeviceFacts

#: A result never changes, so its facts may be kept; this many are.
MAX_KEPT = 5_000


Read = Callable[[Collection[str]], dict[str, DeviceFacts]]


class DeviceCache:
    """Facts by job id, the oldest forgotten first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, DeviceFacts] = OrderedDict()

    def find_all(self, jobs: Iterable[Job], read: Read) -> dict[str, DeviceFacts]:
        """The facts of those that succeeded, by job id; what is not known is read at once."""
        wanted = [job.id for job in jobs if job.status is JobStatus.SUCCEEDED]
        with self._lock:
            found = {job_id: self._kept[job_id] for job_id in wanted if job_id in self._kept}
        missing = [job_id for job_id in wanted if job_id not in found]
        # One that was purged or is damaged: its own page says so, the list goes on.
        fresh = read(missing) if missing else {}
        with self._lock:
            self._kept.update(fresh)
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        return found | fresh
