"""Engines of the pool whose self-tests find what a test tells them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from fake_gpu import make_engine
from standin_selftest import report_of
from transcriber.domain.errors import TranscriberError
from transcriber.domain.ports import EngineInfo
from transcriber.domain.selftest import SelfTestReport
from transcriber.engine.protocol import selftest_report


def report(word: str = "pass", device: str = "cuda", compute_type: str = "float16") -> SelfTestReport:
    """The report of a stand-in's self-test."""
    return selftest_report(report_of(word, device, compute_type))


@dataclass(eq=False)
class TestableEngine:
    """An engine that is up. words: what its next self-tests find; the last goes on. An error is raised."""

    __test__ = False

    info: EngineInfo
    words: list[str | TranscriberError] = field(default_factory=lambda: ["pass"])
    alive: bool = True
    wasted_seconds: float = 0.0
    tests: int = 0
    closed: int = 0
    reference: dict[str, Any] | None = None
    #: Called when a test begins.
    on_test: Callable[[], None] = lambda: None

    def selftest(self, timeout: float) -> SelfTestReport:
        self.tests += 1
        self.on_test()
        word = self.words.pop(0) if len(self.words) > 1 else self.words[0]
        if isinstance(word, TranscriberError):
            raise word
        return report(word, self.info.device, self.info.compute_type).held_to(self.info.device)

    def close(self, grace: float = 2.0) -> None:
        self.alive = False
        self.closed += 1

    def transcribe(self, *arguments: Any, **named: Any) -> Any:
        return iter(())

    def cancel(self, job_id: str) -> None: ...


def engine_of(device: str = "cuda", *words: str | TranscriberError, **changes: Any) -> TestableEngine:
    """A stand-in on this device, admitted with a test that passed."""
    info = make_engine(device=device, warmup_device=device, **changes)
    info = replace(info, selftest=report("pass", device, info.compute_type), proven_at=info.started_at)
    return TestableEngine(info, list(words) or ["pass"])


@dataclass
class FakePool:
    """Engines that are up, and those that were discarded with an error."""

    up: list[TestableEngine] = field(default_factory=list)
    discarded: list[tuple[TestableEngine, TranscriberError | None]] = field(default_factory=list)
    #: How many of those are to be started again by the pool itself.
    revived: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def engines(self) -> tuple[TestableEngine, ...]:
        return tuple(self.up)

    def discard(
        self,
        engine: TestableEngine,
        error: TranscriberError | None = None,
        *,
        blocks: bool = True,
        revives: bool = False,
    ) -> None:
        self.up.remove(engine)
        self.discarded.append((engine, error))
        self.revived += revives or (error is not None and blocks)
