"""How fast the self-test ran on each device when it ran there first, and whether it is much slower now."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import structlog

from ...domain.ports import EngineInfo
from ...domain.selftest import FAILED, FIXES, NOT_APPLICABLE, SelfTestReport, Step

_log = structlog.get_logger()

#: An engine is too slow when it takes more than this many times what it took first.
SLOWEST = 3.0

#: A file larger than this was not written by us.
_LIMIT_BYTES = 1 << 20

#: Puts bytes into a file, whole. Raises an error of the domain's where the disk does not take them.
Write = Callable[[Path, bytes], None]


class SpeedBaseline:
    """The first measured seconds of each device, model and number format, in one small file of the service's."""

    def __init__(self, path: Path, write: Write) -> None:
        self._path = path
        self._write = write
        self._lock = threading.Lock()

    def judge(self, info: EngineInfo, report: SelfTestReport) -> SelfTestReport:
        """The report with a verdict on its speed; unchanged where speed is not judged, or nothing was measured."""
        step = next((step for step in report.steps if step.name == "fast"), None)
        if step is None or step.outcome == NOT_APPLICABLE or report.run_seconds is None:
            return report
        judged = _judged(step, report.run_seconds, self.find(info))
        return replace(report, steps=tuple(judged if each is step else each for each in report.steps))

    def learn(self, info: EngineInfo, report: SelfTestReport) -> None:
        """Keep the speed of a test that passed, if it is the first for this device, model and number format."""
        if report.run_seconds is None or info.device != "cuda":
            return
        with self._lock:
            known = self._read()
            if _key(info) in known:
                return
            known[_key(info)] = report.run_seconds
            self._write(self._path, json.dumps(known, indent=1, sort_keys=True).encode())
        _log.info("selftest_speed_learned", key=_key(info), seconds=report.run_seconds)

    def find(self, info: EngineInfo) -> float | None:
        """Seconds of the first test; None before it."""
        return self._read().get(_key(info))

    def _read(self) -> dict[str, float]:
        try:
            if self._path.stat().st_size > _LIMIT_BYTES:
                return {}
            known = json.loads(self._path.read_bytes())
            return {str(key): float(seconds) for key, seconds in known.items() if float(seconds) > 0}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}


def is_only_slow(report: SelfTestReport) -> bool:
    """Whether nothing is wrong but the speed, which another test may find better."""
    return report.failure is not None and report.failure.name == "fast"


def _judged(step: Step, seconds: float, baseline: float | None) -> Step:
    numbers = {
        **step.numbers,
        "baseline_seconds": baseline,
        "slowest_seconds": baseline and round(baseline * SLOWEST, 4),
    }
    if baseline is None:
        message = "Nothing was measured here before: this run is what later ones are held against."
        return replace(step, numbers=numbers, message=message)
    if seconds <= baseline * SLOWEST:
        return replace(step, numbers=numbers)
    return replace(
        step,
        outcome=FAILED,
        numbers=numbers,
        code="engine_too_slow",
        message=f"One pass of the self-test took {seconds:.3g} s, and {baseline:.3g} s when it was first measured here.",
        fix=FIXES["engine_too_slow"],
    )


def _key(info: EngineInfo) -> str:
    return f"{info.device_uuid or info.device} {info.model} {info.compute_type}"
