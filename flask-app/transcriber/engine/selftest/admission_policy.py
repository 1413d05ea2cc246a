"""The last part of an engine's admission: its speed beside that of earlier days. Only then is it lent to anybody."""

from __future__ import annotations

import structlog

from ...domain.errors import EngineError, EngineStartError, TranscriberError
from ...domain.selftest import SelfTestReport
from ..slots import PooledEngine
from ..startup import unfit
from .baseline import SpeedBaseline

_log = structlog.get_logger()


class AdmissionPolicy:
    """Lets no engine in that is more than three times too slow twice in a row."""

    def __init__(self, speeds: SpeedBaseline, timeout: float) -> None:
        """timeout: seconds that an engine may be silent while it tests itself."""
        self._speeds = speeds
        self._timeout = timeout

    def admit(self, engine: PooledEngine) -> SelfTestReport | None:
        """What it passed; one that does not pass is ended. Raises EngineStartError.

        To be called on each level of the ladder, so that one that has no room for its second test is followed by a
        lighter one, as after its first.
        """
        try:
            return self._admit(engine)
        except BaseException as error:
            engine.close(0)
            if isinstance(error, EngineError) and not isinstance(error, EngineStartError):
                raise EngineStartError(error.message, code=error.code, fix=error.fix) from error
            raise

    def _admit(self, engine: PooledEngine) -> SelfTestReport | None:
        info = engine.info
        report = self._judged(engine, info.selftest)
        if report is None:
            return None
        if not report.passed:
            _log.warning("selftest_slow", device=info.device, model=info.model, seconds=report.run_seconds)
            report = self._judged(engine, engine.selftest(self._timeout))
        if report is None or not report.passed:
            raise unfit(report)
        _log.info(
            "engine_admitted",
            device=info.device,
            model=info.model,
            compute_type=info.compute_type,
            seconds=report.seconds,
            run_seconds=report.run_seconds,
            cold_seconds=report.cold_seconds,
        )
        try:
            self._speeds.learn(info, report)
        except TranscriberError as error:
            _log.warning("selftest_speed_not_saved", error=error.message)
        return report

    def _judged(self, engine: PooledEngine, report: SelfTestReport | None) -> SelfTestReport | None:
        return None if report is None else self._speeds.judge(engine.info, report)
