"""The places of the engine pool: one for each device and model, with or without an engine in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from ..domain.errors import TranscriberError
from ..domain.ports import Engine
from ..domain.selftest import SelfTestReport


class PooledEngine(Engine, Protocol):
    """What the pool needs of an engine, besides lending it."""

    @property
    def alive(self) -> bool: ...

    @property
    def wasted_seconds(self) -> float:
        """For how long it has computed for nobody; 0: it does not."""
        ...

    def selftest(self, timeout: float) -> SelfTestReport:
        """Test it between two batches. Raises EngineFailedError, EngineCrashedError."""
        ...

    def close(self, grace: float = ...) -> None: ...


#: Starts the engine for a device and a model; raises EngineStartError, ModelNotFoundError.
Launch = Callable[[str, str], PooledEngine]


@dataclass(eq=False, slots=True)
class Running:
    """An engine, since when it is up, how many borrowers it has, and when it was last given back."""

    engine: PooledEngine
    started: float
    last_used: float
    lent: int = 0


@dataclass(eq=False, slots=True)
class Slot:
    """The place of one device and model."""

    running: Running | None = None
    starting: bool = False
    #: Engines taken out of other slots to make room; they end before this one's starts.
    evicted: list[PooledEngine] = field(default_factory=list)
    #: Started at boot, and to be started again whenever it dies.
    keep: bool = False
    #: Its engine was found unfit, and is to be started again until one is fit.
    revive: bool = False
    #: Its engine died or was discarded, so the next start is a restart.
    lost: bool = False
    #: Failures in a row: starts that failed, and engines that died young.
    failures: int = 0
    next_try: float = 0.0
    #: Why the newest start failed, or the newest engine was unfit; None if it is well.
    error: TranscriberError | None = None

    @property
    def is_occupied(self) -> bool:
        return self.starting or self.running is not None
