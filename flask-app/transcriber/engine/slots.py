"""The places of the engine pool: one for each device and model, with or without an engine in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from ..domain.errors import EngineStartError, ModelNotFoundError, TranscriberError
from ..domain.ports import Engine, EngineInfo
from ..domain.selftest import SelfTestReport
from ..system.backoff import Backoff

#: Longest wait between two tries to start an engine that does not start, in seconds.
LONGEST_BACKOFF_SECONDS = 60.0

_BACKOFF = Backoff(1.0, LONGEST_BACKOFF_SECONDS)

#: Why an engine with nothing wrong was ended.
IDLE, EVICTED, ASKED = "idle", "evicted", "asked"


class PooledEngine(Engine, Protocol):
    """What the pool needs of an engine, besides lending it."""

    @property
    def alive(self) -> bool: ...

    @property
    def wasted_seconds(self) -> float:
        """For how long it has computed unwanted work; 0: it does not."""
        ...

    def selftest(self, timeout: float) -> SelfTestReport:
        """Test it between two batches. Raises EngineFailedError, EngineCrashedError."""
        ...

    def close(self, grace: float = ...) -> None: ...


#: Starts the engine for a device and a model; raises EngineStartError, ModelNotFoundError.
Launch = Callable[[str, str], PooledEngine]


@dataclass(eq=False, slots=True)
class RunningEngine:
    """An engine, since when it is up, how many borrowers it has, and when it was last given back."""

    engine: PooledEngine
    started: float
    last_used: float
    used_at: datetime
    lent: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Rest:
    """An engine that was ended with nothing wrong: its last word, why it was ended ('idle', 'evicted' or 'asked'), and when.

    used_at: when it was last given back. Its proof stands.
    """

    engine: EngineInfo
    why: str
    at: datetime
    used_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class SlotView:
    """One device and model as others see it. state: loaded, loading, unloaded or failed."""

    device: str
    model: str
    state: str
    engine: EngineInfo | None = None
    borrowers: int = 0
    used_at: datetime | None = None
    memory_bytes: int = 0
    rest: Rest | None = None
    error: TranscriberError | None = None


@dataclass(eq=False, slots=True)
class Slot:
    """The place of one device and model."""

    running: RunningEngine | None = None
    starting: bool = False
    #: Bytes that are set aside for it while it starts.
    reserved_bytes: int = 0
    #: Engines taken out of other slots to make room; they end before this one's starts.
    evicted: list[PooledEngine] = field(default_factory=list)
    #: Started at boot, and to be started again whenever it dies.
    keep: bool = False
    #: Its engine was found unfit, and is to be started again until one is fit.
    revive: bool = False
    #: Its engine died or was discarded, so the next start is a restart.
    lost: bool = False
    #: It was ended with nothing wrong: only the next request starts it.
    rest: Rest | None = None
    #: Somebody has waited for its room for long: it takes no further borrowers until that is over.
    is_promised: bool = False
    #: Failures in a row: starts that failed, and engines that died young.
    failures: int = 0
    next_try: float = 0.0
    #: Why the newest start failed, or the newest engine was unfit; None if it is well.
    error: TranscriberError | None = None

    @property
    def is_occupied(self) -> bool:
        return self.starting or self.running is not None

    @property
    def is_idle(self) -> bool:
        """An engine is up and idle."""
        return self.running is not None and self.running.lent == 0

    @property
    def is_neglected(self) -> bool:
        """Down, though it is to be up."""
        wanted = (self.keep and (self.rest is None or self.rest.why == EVICTED)) or self.revive
        return wanted and not self.is_occupied

    def failed_just_now(self, now: float) -> bool:
        """Whether the last start failed, and it is too early to try again. A missing model may come any time."""
        if self.error is None or isinstance(self.error, ModelNotFoundError):
            return False
        return now < self.next_try

    def again(self) -> TranscriberError:
        """The slot's error, to be raised in another thread than the one it came from."""
        error = self.error or EngineStartError()
        return error.with_traceback(None)

    def put_off(self, now: float) -> None:
        """One more failure: the next start has to wait longer."""
        self.failures += 1
        self.next_try = now + _BACKOFF.after(self.failures)

    @property
    def state(self) -> str:
        """In the words of SlotView."""
        if self.starting:
            return "loading"
        if self.running is not None:
            return "loaded"
        return "unloaded" if self.error is None else "failed"
