"""NVML's newest answer: at once for whoever asks, however long NVML takes."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from fake_gpu import make_device, make_engine, make_status
from fake_ports import FakeClock
from transcriber.gpu.monitor import FRESH_SECONDS, STALE_SECONDS, GpuMonitor, refreshed
from transcriber.gpu.probe.facts import GpuDevice
from transcriber.gpu.probe.sharing import SharingFacts

FACTS = SharingFacts(
    free_bytes=5_000,
    total_bytes=8_000,
    utilization_percent=37,
    energy_millijoules=5_000_000,
    temperature_celsius=61,
    other_processes=0,
    unseen_processes=0,
    own_processes={"4242": 1},
)


@dataclass
class Nvml:
    """Answers once it is let."""

    facts: SharingFacts = FACTS
    fault: Exception | None = None
    asked: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    go: threading.Event = field(default_factory=threading.Event)

    def __call__(self, device: GpuDevice) -> SharingFacts:
        self.asked.release()
        assert self.go.wait(20)
        if self.fault is not None:
            raise self.fault
        return self.facts


def monitor_of(nvml: Nvml, clock: FakeClock, device: GpuDevice | None) -> GpuMonitor:
    return GpuMonitor(selected=lambda: device, ask=nvml, clock=clock)


def test_a_reader_never_waits_and_has_the_answer_the_next_time() -> None:
    nvml, clock = Nvml(), FakeClock()
    monitor = monitor_of(nvml, clock, make_device())
    thread = threading.Thread(target=monitor.run, daemon=True)
    thread.start()

    assert monitor.read() is None
    assert nvml.asked.acquire(timeout=20)
    assert monitor.read() is None  # NVML has not answered yet
    monitor.close()
    nvml.go.set()
    thread.join(20)

    readings = monitor.read()
    assert readings is not None
    assert (readings.memory_used_bytes, readings.memory_free_bytes, readings.memory_total_bytes) == (
        3_000,
        5_000,
        8_000,
    )
    assert (readings.utilization, readings.energy_joules, readings.temperature_celsius) == (0.37, 5_000.0, 61)
    assert not thread.is_alive()


def test_a_fresh_answer_is_not_asked_for_again() -> None:
    nvml, clock = Nvml(), FakeClock()
    nvml.go.set()
    monitor = monitor_of(nvml, clock, make_device())
    monitor.refresh()
    thread = threading.Thread(target=monitor.run, daemon=True)
    thread.start()
    assert nvml.asked.acquire(timeout=20)

    clock.seconds = FRESH_SECONDS - 1
    monitor.read()
    assert not nvml.asked.acquire(blocking=False)
    clock.seconds = FRESH_SECONDS
    monitor.read()
    assert nvml.asked.acquire(timeout=20)
    monitor.close()


def test_a_fault_leaves_the_last_answer_and_a_gpu_that_is_gone_leaves_none() -> None:
    nvml, clock = Nvml(), FakeClock()
    nvml.go.set()
    devices: list[GpuDevice | None] = [make_device()]
    monitor = GpuMonitor(selected=lambda: devices[0], ask=nvml, clock=clock)
    monitor.refresh()

    nvml.fault = OSError("no more processes")
    monitor.refresh()
    assert monitor.read() is not None
    devices[0] = None
    monitor.refresh()
    assert monitor.read() is None


def test_nvml_has_a_word_only_if_it_was_asked_since_the_engine_started() -> None:
    nvml, clock = Nvml(), FakeClock()
    nvml.go.set()
    monitor = monitor_of(nvml, clock, make_device())
    clock.seconds = 10
    engine = make_engine(started_at=clock.now())
    clock.seconds = 5
    monitor.refresh()

    before = monitor.word_on(engine)
    clock.seconds = 11
    monitor.refresh()
    after = monitor.word_on(engine)

    assert before is not None and before.verdict == "not_available"
    assert after is not None and after.verdict == "agrees"
    clock.seconds = 11 + STALE_SECONDS + 1
    late = monitor.word_on(engine)
    assert late is not None and (late.verdict, "61 s ago" in late.why) == ("not_available", True)
    assert monitor.word_on(make_engine(device="cpu")) is None
    other = monitor.word_on(make_engine(device_uuid="GPU-2", started_at=engine.started_at))
    assert other is not None and other.verdict == "not_available"


def test_diagnostics_shows_the_newest_answer_in_place_of_the_probes() -> None:
    nvml, clock, status = Nvml(), FakeClock(), make_status()
    nvml.go.set()
    monitor = monitor_of(nvml, clock, status.selected)
    assert refreshed(status, monitor.newest) is status
    monitor.refresh()

    newer = refreshed(status, monitor.newest)

    assert newer.selected is not None and newer.selected.sharing is not None
    assert (newer.selected.sharing.free_bytes, newer.devices[0].sharing) == (5_000, newer.selected.sharing)
    assert newer.selected.sharing.read_at == clock.now().isoformat()
