"""The selected GPU as NVML shows it now, asked in a child and on a thread of its own, so that no request waits for a driver.

A read returns the newest answer at once, however old, and thereby requests a newer one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import structlog

from ..domain.ports import Clock, EngineInfo
from ..domain.transcript import Corroboration
from .environment import child_environment
from .probe.facts import GpuDevice, GpuStatus
from .probe.nvml import ask_sharing
from .probe.sharing import SharingFacts
from .readings import GpuReadings
from .receipt.corroboration import corroborate, not_asked

logger = structlog.get_logger(__name__)

#: An answer younger than this is good enough for everyone, in seconds.
FRESH_SECONDS = 5.0

#: Seconds after which a reading is too old to say anything about a job that ends now.
STALE_SECONDS = 60.0

#: Asks NVML about one device. May take seconds; does not raise.
AskNvml = Callable[[GpuDevice], SharingFacts]


@dataclass(frozen=True, kw_only=True, slots=True)
class MonitorAnswer:
    """What NVML said of a device, and when."""

    device: GpuDevice
    facts: SharingFacts
    read_at: datetime


class GpuMonitor:
    """Keeps NVML's newest answer. `run` is a thread's body; all else returns at once."""

    def __init__(self, *, selected: Callable[[], GpuDevice | None], ask: AskNvml, clock: Clock) -> None:
        """selected: the device in use; None while there is none; then nothing is asked."""
        self._selected = selected
        self._ask = ask
        self._clock = clock
        self._wake = threading.Event()
        self._is_closed = False
        self.newest: MonitorAnswer | None = None

    def read(self) -> GpuReadings | None:
        """The newest readings, for /metrics; asks for newer ones."""
        self.nudge()
        return None if self.newest is None else readings(self.newest)

    def nudge(self) -> None:
        """Somebody wants to know: ask again soon, if the newest answer is not fresh."""
        if not self._is_fresh():
            self._wake.set()

    def word_on(self, engine: EngineInfo) -> Corroboration | None:
        """NVML's word on whether this engine is on the GPU; None for an engine that does not say it is."""
        if engine.device != "cuda":
            return None
        answer = self.newest
        self.nudge()
        if answer is None or answer.read_at < engine.started_at:
            self._wake.set()
            return not_asked("NVML was not asked since this engine started")
        age = self._clock.age(answer.read_at)
        if age > STALE_SECONDS:
            return not_asked(f"NVML was last asked {age:.0f} s ago")
        if answer.device.uuid != engine.device_uuid:
            return not_asked("the engine runs on another device than the one selected")
        return corroborate(answer.facts, engine.pid)

    def run(self) -> None:
        """Thread: ask whenever somebody wants to know, until it is closed."""
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._is_closed:
                return
            self.refresh()

    def refresh(self) -> None:
        """Ask NVML now, and wait for it."""
        try:
            device = self._selected()
            if device is None:
                self.newest = None
                return
            facts = self._ask(device)
        except Exception:  # noqa: BLE001  the thread's boundary: readings must outlive any fault
            logger.exception("gpu_readings_failed")
            return
        self.newest = MonitorAnswer(device=device, facts=facts, read_at=self._clock.now())

    def close(self) -> None:
        """End the thread."""
        self._is_closed = True
        self._wake.set()

    def _is_fresh(self) -> bool:
        answer = self.newest
        return answer is not None and self._clock.age(answer.read_at) < FRESH_SECONDS


def ask_nvml(device: GpuDevice, environ: Mapping[str, str]) -> SharingFacts:
    """NVML's facts about a device, from a child of this process, which is the service."""
    lifeline, held = os.pipe()
    try:
        return ask_sharing([device], os.getpid(), lifeline, child_environment(environ), Path("/"))[0]
    finally:
        os.close(lifeline)
        os.close(held)


def refreshed(status: GpuStatus, answer: MonitorAnswer | None) -> GpuStatus:
    """The probe's facts with NVML's newest answer about the selected device in place of that of the probe."""
    selected = status.selected
    if answer is None or selected is None or answer.device.uuid != selected.uuid:
        return status
    newer = replace(selected, sharing=replace(answer.facts, read_at=answer.read_at.isoformat()))
    devices = tuple(newer if device.uuid == newer.uuid else device for device in status.devices)
    return replace(status, selected=newer, devices=devices)


def readings(answer: MonitorAnswer) -> GpuReadings:
    """NVML's answer in the units of the metrics."""
    facts = answer.facts
    used = None
    if facts.total_bytes is not None and facts.free_bytes is not None:
        used = facts.total_bytes - facts.free_bytes
    return GpuReadings(
        uuid=answer.device.uuid,
        name=answer.device.name,
        read_at=answer.read_at,
        memory_used_bytes=used,
        memory_free_bytes=facts.free_bytes,
        memory_total_bytes=facts.total_bytes,
        own_bytes=sum(size or 0 for size in facts.own_processes.values()),
        utilization=None if facts.utilization_percent is None else facts.utilization_percent / 100,
        energy_joules=None if facts.energy_millijoules is None else facts.energy_millijoules / 1000,
        temperature_celsius=facts.temperature_celsius,
    )
