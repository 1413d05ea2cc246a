"""The proof of engines, put together: their admission, their canary, and the small files that both go by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from ..domain.errors import EngineStartError, TranscriberError
from ..domain.ports import Clock, EngineInfo
from ..domain.selftest import SelfTestReport
from ..engine.selftest.admission_policy import AdmissionPolicy
from ..engine.selftest.baseline import SpeedBaseline, Write
from ..engine.selftest.health_check import HealthCheck, HealthFinding, HealthListeners, LiveEngines
from ..engine.selftest.references import ReferenceStore
from ..models.finder import LocalModel
from ..observability.metrics import Metrics
from ..service.readiness import EngineStarts

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class SelfTestLimits:
    """Seconds between two self-tests of an engine (0: none), and of silence in one."""

    interval: float
    timeout: float


class SelfTests:
    """One installation's self-tests."""

    def __init__(
        self, *, folder: Path, write: Write, clock: Clock, limits: SelfTestLimits, metrics: Metrics
    ) -> None:
        """folder: for speeds and references; `write` puts a file there, whole."""
        self.references = ReferenceStore(folder, write)
        self._speeds = SpeedBaseline(folder / "speeds.json", write)
        self._clock = clock
        self._limits = limits
        self._metrics = metrics
        self._canary: HealthCheck | None = None
        self.admission = AdmissionPolicy(self._speeds, self, limits.timeout)

    def canary(
        self, engines: LiveEngines, starts: EngineStarts, has_no_room: Callable[[EngineInfo], object]
    ) -> HealthCheck:
        """The canary of these engines; admissions are told to it from now on. has_no_room: see Listeners."""
        self._canary = HealthCheck(
            engines=engines,
            speeds=self._speeds,
            clock=self._clock,
            interval=self._limits.interval,
            timeout=self._limits.timeout,
            tell=HealthListeners(observe=self._observe, condemned=starts.condemn, has_no_room=has_no_room),
        )
        return self._canary

    def admitted(self, info: EngineInfo, report: SelfTestReport) -> None:
        """An engine passed at its start."""
        if self._canary is not None:
            self._canary.admitted(info, report)

    def refused(self, device: str, model: str, error: EngineStartError) -> None:
        """An engine did not pass at its start."""
        if self._canary is not None:
            self._canary.refused(device, model, error)

    def keep_reference(self, model: LocalModel, reference: Mapping[str, Any] | None) -> None:
        """Store what a CPU made of the clip, if an engine had to find out; else the next start finds out anew."""
        if reference is None:
            return
        try:
            self.references.keep(model, reference)
        except TranscriberError as error:
            logger.warning("selftest_reference_not_saved", model=model.name, error=error.message)

    def _observe(self, device: str, finding: HealthFinding, stands: bool) -> None:
        self._metrics.set_canary(finding.outcome, finding.seconds, device=device, stands=stands)
