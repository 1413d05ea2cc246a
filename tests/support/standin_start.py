"""Starts stand-in engines as the service starts real ones, and waits for things to come true."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from transcriber.engine.client import ChildEngine, EngineConfig

STANDIN = Path(__file__).with_name("standin_engine.py")
COMMAND = (sys.executable, str(STANDIN))


class SystemClock:
    """The real time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def age(self, moment: datetime) -> float:
        return max(0.0, (self.now() - moment).total_seconds())

    def before(self, ago: timedelta) -> datetime:
        return self.now() - ago


class HeldClock:
    """Time that moves when the test says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    def age(self, moment: datetime) -> float:
        return max(0.0, (self.now() - moment).total_seconds())

    def before(self, ago: timedelta) -> datetime:
        return self.now() - ago


def config(device: str = "cpu", model: str = "base") -> EngineConfig:
    return EngineConfig(
        model=model,
        model_path=Path("/models") / model,
        device=device,
        device_index=0,
        device_name=None,
        device_uuid=None,
        compute_type="float16" if device == "cuda" else "int8_float32",
        cpu_threads=1,
        cpu_lanes=1,
        batch_size=8,
    )


def start(
    *options: str,
    device: str = "cpu",
    model: str = "base",
    start_timeout: float = 30.0,
    stall_timeout: float | None = None,
    environment: dict[str, str] | None = None,
) -> ChildEngine:
    """A stand-in engine that is ready, with these options."""
    return ChildEngine.start(
        config(device, model),
        {"PATH": os.environ["PATH"], "STANDIN_OPTIONS": shlex.join(options), **(environment or {})},
        clock=SystemClock(),
        start_timeout=start_timeout,
        command=COMMAND,
        stall_timeout=stall_timeout,
    )


def eventually(condition: Callable[[], object], seconds: float = 20.0) -> bool:
    """Whether the condition comes true in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return False


def is_gone(pid: int) -> bool:
    """Whether the process has ended; a zombie has."""
    try:
        return Path("/proc", str(pid), "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
