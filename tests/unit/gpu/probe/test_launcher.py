"""Choosing the device that was asked for, and how long an answer is kept."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from fake_gpu import make_device, make_status
from transcriber.domain.ports import Clock
from transcriber.gpu.probe.facts import GpuStatus
from transcriber.gpu.probe.launcher import GpuProbe, ProbeRequest, as_dict, find_selected

DEVICES = (
    make_device(index=0, uuid="GPU-aaaa1111-0000"),
    make_device(index=1, uuid="GPU-aaaa2222-0000"),
    make_device(index=2, uuid="MIG-bbbb0000-0000", is_mig=True),
)


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        ("0", 0),
        ("1", 1),
        ("GPU-aaaa2222-0000", 1),
        ("gpu-AAAA2222", 1),
        ("MIG-bbbb", 2),
        ("3", None),
        ("GPU-aaaa", None),
        ("GPU-cccc", None),
        ("", None),
    ],
)
def test_device_is_selected_by_index_or_uuid(asked: str, index: int | None) -> None:
    selected = find_selected(DEVICES, asked)

    assert (selected.index if selected else None) == index


class HeldClock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds

    def age(self, moment: datetime) -> float:
        return max(0.0, (self.now() - moment).total_seconds())

    def before(self, ago: timedelta) -> datetime:
        return self.now() - ago


class CountingLook:
    """Answers a probe at once, and counts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, request: ProbeRequest, clock: Clock) -> GpuStatus:
        self.count += 1
        return make_status()


def test_answer_is_kept_until_it_is_too_old() -> None:
    clock, look = HeldClock(), CountingLook()
    probe = GpuProbe(ProbeRequest(environ={}), clock, look)
    assert probe.last is None

    probe.status()
    clock.seconds += 5
    probe.status(max_age=10)
    assert look.count == 1

    clock.seconds += 6
    probe.status(max_age=10)
    assert look.count == 2

    clock.seconds += 1e6
    assert probe.status() is probe.last
    assert look.count == 2


def test_status_is_plain_json() -> None:
    shown = json.loads(json.dumps(as_dict(make_status())))

    assert shown["selected"]["name"] == "NVIDIA L4"
    assert shown["library_dirs"] == ["/venv/nvidia/cublas/lib"]
