"""The canary: the self-test of live engines, at an interval and on demand, and what follows when one is found unfit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Protocol

import structlog

from ...domain.errors import EngineCrashedError, EngineError, EngineStartError, TranscriberError
from ...domain.ports import Clock, EngineInfo
from ...domain.selftest import FAILED, PASSED, SKIPPED, SelfTestReport
from ...gpu.memory_fallback import is_out_of_memory
from ...gpu.policy import reason_of_engine_failure
from ..slots import PooledEngine
from ..startup import unfit
from .baseline import SpeedBaseline, is_only_slow

logger = structlog.get_logger(__name__)

#: An engine that computed right, and was too slow for the first time: a proof all the same.
SLOW = "slow"

#: How often it is looked whether a test is due, in seconds.
TICK_SECONDS = 5.0

#: Self-tests take at most this share of an engine's time: a slow engine is tested less often.
SHARE = 0.02

#: How soon an engine that was only slow is tested again, in seconds: two in a row make a failure.
AGAIN_SECONDS = 10.0


class LiveEngines(Protocol):
    """What the canary needs of the pool: engines that are up, without borrowing them, and the end of an unfit one."""

    def engines(self) -> tuple[PooledEngine, ...]: ...

    def discard(
        self,
        engine: PooledEngine,
        error: TranscriberError | None = None,
        *,
        blocks: bool = True,
        revives: bool = False,
    ) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthFinding:
    """One self-test of one engine. outcome: passed, failed, slow (once; twice is failed) or skipped.

    report None: it gave none. message: why it was skipped or failed, where no step says so.
    """

    outcome: str
    device: str
    model: str
    compute_type: str
    engine_pid: int | None
    tested_at: datetime
    seconds: float = 0.0
    report: SelfTestReport | None = None
    code: str | None = None
    message: str | None = None
    fix: str | None = None
    proven_at: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the outcome first, then where it ran, each step, and the times."""
        fields = asdict(self)
        report = fields.pop("report") or {}
        return {
            **fields,
            "tested_at": self.tested_at.isoformat(),
            "proven_at": self.proven_at.isoformat() if self.proven_at else None,
            "run_seconds": report.get("run_seconds"),
            "cold_seconds": report.get("cold_seconds"),
            "steps": [dict(step) for step in report.get("steps", ())],
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthListeners:
    """Who receives the findings of the health check.

    observe: every finding, with the device of its engine, and whether it is the word on that device from now on.
    condemned: an engine is ended for this error. has_no_room: a GPU's engine is about to be ended, since one window
    did not fit into the memory there is.
    """

    observe: Callable[[str, HealthFinding, bool], None]
    condemned: Callable[[EngineInfo, TranscriberError], None]
    has_no_room: Callable[[EngineInfo], object]


_Key = tuple[str, str]


class HealthCheck:
    """Tests engines that are up. It borrows none, so it neither wakes an engine nor keeps one."""

    def __init__(
        self,
        *,
        engines: LiveEngines,
        speeds: SpeedBaseline,
        clock: Clock,
        interval: float,
        timeout: float,
        tell: HealthListeners,
    ) -> None:
        """interval: seconds between two tests of an engine; 0: only on demand, and after one that was only slow.

        timeout: of one that says nothing.
        """
        self._engines = engines
        self._speeds = speeds
        self._clock = clock
        self._interval = interval
        self._timeout = timeout
        self._tell = tell
        #: One test at a time.
        self._lock = threading.Lock()
        self._newest: dict[_Key, HealthFinding] = {}
        self._last_proof: datetime | None = None
        #: Engines that were only slow the last time, by pid.
        self._slow: set[int] = set()

    def watch(self, closing: threading.Event) -> None:
        """Thread: test what is due, until the service closes."""
        while not closing.wait(min(TICK_SECONDS, self._interval or TICK_SECONDS)):
            self.round()

    def round(self) -> None:
        """Test each engine that is due."""
        for engine in self._engines.engines():
            try:
                if self._is_due(engine.info):
                    self._test(engine)
            except Exception:  # noqa: BLE001  the thread's boundary: the canary must outlive any fault
                logger.exception("canary_failed")

    def test_now(self, device: str | None = None) -> HealthFinding:
        """Test the engine that serves requests which name no device (the GPU's, else the CPU's), or that of this device.

        Those who ask while a test runs share the next one. No engine is started for it: outcome skipped.
        """
        asked_at = self._clock.now()
        engine = self._choose(device)
        if engine is None:
            return self._unloaded(device)
        with self._lock:
            newest = self._newest.get(_key(engine.info))
            if newest is not None and newest.tested_at > asked_at and newest.engine_pid == engine.info.pid:
                return newest
            return self._run(engine)

    def admitted(self, info: EngineInfo, report: SelfTestReport) -> None:
        """An engine passed at its start; the test of its admission is its newest."""
        finding = self._finding(info, self._clock.monotonic() - report.seconds, outcome=PASSED, report=report)
        self._keep(_key(info), finding)

    def refused(self, device: str, model: str, error: EngineStartError) -> None:
        """An engine did not pass at its start."""
        report = error.selftest
        if report is None:
            return
        reason = reason_of_engine_failure(error)
        finding = HealthFinding(
            outcome=FAILED,
            device=report.device,
            model=model,
            compute_type=report.compute_type,
            engine_pid=None,
            tested_at=self._clock.now(),
            seconds=report.seconds,
            report=report,
            code=reason.code,
            message=reason.message,
            fix=reason.fix,
        )
        # An engine of another model serves on this device, and its tests go on; this one's name came from a request.
        is_served = any(engine.info.device == device for engine in self._engines.engines())
        self._keep((device, model), finding, stands=not is_served)

    def condemn(self, engine: PooledEngine, error: EngineError) -> None:
        """This engine is unfit by another's finding: it goes as one that failed its self-test."""
        with self._lock:
            self._end(engine, EngineStartError(error.message, code=error.code, fix=error.fix))

    @property
    def last_proof(self) -> datetime | None:
        """When the GPU was last proven by any engine; it may be gone since."""
        return self._last_proof

    def facts(self) -> list[dict[str, Any]]:
        """The newest finding of each device and model, plain."""
        return [finding.to_dict() for finding in self._newest.values()]

    def _keep(self, key: _Key, finding: HealthFinding, *, stands: bool = True) -> None:
        if key[0] == "cuda" and finding.outcome in (PASSED, SLOW):
            self._last_proof = finding.proven_at
        self._newest[key] = finding
        self._tell.observe(key[0], finding, stands)

    def _choose(self, device: str | None) -> PooledEngine | None:
        up = [engine for engine in self._engines.engines() if device in (None, engine.info.device)]
        return min(up, key=lambda engine: engine.info.device != "cuda", default=None)

    def _unloaded(self, device: str | None) -> HealthFinding:
        """Nothing is up that could be tested: the last proof stands, with its date."""
        last = next((f for f in self._newest.values() if device in (None, f.device)), None)
        return HealthFinding(
            outcome=SKIPPED,
            device=device or (last.device if last else "none"),
            model=last.model if last else "",
            compute_type=last.compute_type if last else "",
            engine_pid=None,
            tested_at=self._clock.now(),
            message="No engine is loaded, and a self-test starts none; the next request does.",
            proven_at=last.proven_at if last else None,
        )

    def _is_due(self, info: EngineInfo) -> bool:
        """By the time since the newest test, or since the admission."""
        if not self._interval and info.pid not in self._slow:
            return False
        newest = self._newest.get(_key(info))
        is_of_it = newest is not None and newest.engine_pid == info.pid
        if newest is not None and is_of_it:
            last, took = newest.tested_at, newest.seconds
        else:
            last, took = info.proven_at or info.started_at, info.selftest.seconds if info.selftest else 0.0
        wait = AGAIN_SECONDS if info.pid in self._slow else max(self._interval, took / SHARE)
        return self._clock.age(last) >= wait

    def _test(self, engine: PooledEngine) -> HealthFinding:
        with self._lock:
            return self._run(engine)

    def _run(self, engine: PooledEngine) -> HealthFinding:
        """Under the lock: test it, remember and report the finding, and end it if it is unfit."""
        info, begun = engine.info, self._clock.monotonic()
        try:
            report = self._speeds.judge(info, engine.selftest(self._timeout))
        except EngineCrashedError as error:
            # It died, or was ended to make room: the pool knows, and there is nothing to judge.
            finding = self._finding(info, begun, outcome=SKIPPED, error=error)
        except EngineError as error:
            finding = self._finding(info, begun, outcome=FAILED, error=error)
        else:
            finding = self._judged(engine, begun, report)
        self._keep(_key(info), finding)
        if finding.outcome == FAILED:
            self._condemn(engine, finding)
        return finding

    def _judged(self, engine: PooledEngine, begun: float, report: SelfTestReport) -> HealthFinding:
        info = engine.info
        if report.passed:
            self._slow.discard(info.pid)
            return self._finding(info, begun, outcome=PASSED, report=report)
        if is_only_slow(report) and info.pid not in self._slow:
            self._slow.add(info.pid)
            logger.warning("canary_slow", device=info.device, model=info.model, seconds=report.run_seconds)
            return self._finding(info, begun, outcome=SLOW, report=report)
        return self._finding(info, begun, outcome=FAILED, report=report)

    def _finding(
        self,
        info: EngineInfo,
        begun: float,
        *,
        outcome: str,
        report: SelfTestReport | None = None,
        error: EngineError | None = None,
    ) -> HealthFinding:
        failure = unfit(report) if report is not None and report.failure is not None else error
        reason = reason_of_engine_failure(failure) if failure is not None else None
        return HealthFinding(
            outcome=outcome,
            device=report.device if report else info.device,
            model=info.model,
            compute_type=report.compute_type if report else info.compute_type,
            engine_pid=info.pid,
            tested_at=self._clock.now(),
            seconds=round(self._clock.monotonic() - begun, 3),
            report=report,
            code=reason.code if reason else None,
            message=reason.message if reason else None,
            fix=reason.fix if reason else None,
            proven_at=info.proven_at,
        )

    def _condemn(self, engine: PooledEngine, finding: HealthFinding) -> None:
        message = finding.message or "The engine did not pass its self-test."
        self._end(engine, EngineStartError(message, code=finding.code, fix=finding.fix))

    def _end(self, engine: PooledEngine, error: EngineStartError) -> None:
        """The engine goes, and the pool starts another; until that passes, this is why there is none."""
        self._slow.discard(engine.info.pid)
        logger.error(
            "canary_condemned",
            device=engine.info.device,
            model=engine.info.model,
            engine_pid=engine.info.pid,
            code=error.code,
            error=error.message,
            fix=error.fix,
        )
        if engine.info.device == "cuda" and is_out_of_memory(error):
            # As after a job that found no room: the next engine is lighter, and the jobs in this one go on with it.
            self._tell.has_no_room(engine.info)
            self._engines.discard(engine, error, blocks=False, revives=True)
            return
        self._tell.condemned(engine.info, error)
        self._engines.discard(engine, error)


def _key(info: EngineInfo) -> _Key:
    return info.device, info.model
