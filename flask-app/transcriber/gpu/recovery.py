"""The watch over a GPU that can't serve: looks again in a child, follows the cause, and takes the GPU back."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from ..system.backoff import Backoff
from .policy import GpuSituation
from .probe.facts import GpuStatus, HardwareFacts
from .probe.launcher import GpuProbe

logger = structlog.get_logger(__name__)

#: Where there is no sign of a GPU at all, the wait between two looks grows to this many intervals.
LONGEST_WAIT = 10

_WAITS = Backoff(2, LONGEST_WAIT)


class GpuRecovery:
    """Looks again at an interval. A machine without any sign of a GPU is asked less and less, until a sign shows."""

    def __init__(
        self,
        *,
        probe: GpuProbe,
        interval: float,
        situation: Callable[[], GpuSituation],
        find_hardware: Callable[[], HardwareFacts],
        take_back: Callable[[], None],
    ) -> None:
        """interval: seconds. find_hardware: asks the file system only. take_back: start the GPU's engine, which proves it."""
        self._probe = probe
        self._interval = interval
        self._situation = situation
        self._find_hardware = find_hardware
        self._take_back = take_back
        #: Rounds to let pass, and how often nothing was found.
        self._left = 0
        self._failures = 0

    def run(self, closing: threading.Event) -> None:
        """Thread: until the service closes."""
        while not closing.wait(self._interval):
            self.round()

    def round(self) -> None:
        """Look again, if there is something to find and the time has come."""
        situation = self._situation()
        before = situation.status
        is_well = before.usable and (situation.proven is not None or situation.failure is None)
        if situation.policy == "off" or is_well:
            self._left = self._failures = 0
            return
        if not self._is_due(before):
            return
        now = self._probe.status(max_age=self._interval / 2)
        if _code(now) != _code(before):
            logger.warning("gpu_cause_changed", before=_code(before), now=_code(now))
        if now.usable and not before.usable:
            self._take_back()

    def _is_due(self, before: GpuStatus) -> bool:
        """At every round where a driver or a card is there; else after waits that double."""
        if before.hardware.present or before.driver.loaded or self._find_hardware() != before.hardware:
            self._left = self._failures = 0
            return True
        if self._left > 0:
            self._left -= 1
            return False
        self._failures += 1
        self._left = int(_WAITS.after(self._failures))
        return True


def _code(status: GpuStatus) -> str:
    return status.cause.code if status.cause else "usable"
