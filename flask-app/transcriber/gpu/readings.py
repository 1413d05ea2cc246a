"""What a GPU says of itself at one moment: memory, load, energy, temperature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuReadings:
    """One device's word; None where it does not report that (a MIG slice reports no utilisation).

    It corroborates and explains; it never proves that a job ran on the GPU.
    """

    uuid: str
    name: str
    read_at: datetime
    memory_used_bytes: int | None = None
    memory_free_bytes: int | None = None
    memory_total_bytes: int | None = None
    #: Of the memory in use, what processes of this service hold, as far as NVML knows them.
    own_bytes: int | None = None
    #: Share of the time in which a kernel ran, 0 to 1.
    utilization: float | None = None
    #: Since the driver was loaded.
    energy_joules: float | None = None
    temperature_celsius: float | None = None


#: Reads the device in use; None when there is none, or it does not answer. Must return at once and may not
#: raise: it is called in the web process, where waiting for a wedged driver would stop everyone. So it gives
#: the newest readings that some thread got from a child, and `read_at` says how old they are.
ReadGpu = Callable[[], GpuReadings | None]
