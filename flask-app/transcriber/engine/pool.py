"""The engine children of this service: started when needed, lent, restarted, and ended to make room or when idle."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from ..domain.errors import EngineStartError, ModelBusyError, ShuttingDownError, TranscriberError
from ..domain.ports import Clock, Engine, EngineInfo
from ..models.catalogue import canonical_name
from .eviction import EngineMemory, UnlimitedMemory
from .pool_state import Key, PoolState
from .slots import ASKED, IDLE, Launch, PooledEngine, RunningEngine, Slot, SlotView

__all__ = ["ChildEnginePool", "Launch", "PooledEngine", "SlotView"]

_log = structlog.get_logger()

#: Seconds an engine may go on computing for jobs that were given up.
_WASTE_SECONDS = 10.0

#: Seconds an engine has to end by itself.
_CLOSE_SECONDS = 2.0

#: A job that has waited this many seconds for room gets the next: engines in its way take no new jobs meanwhile.
TURN_SECONDS = 5.0


@dataclass(eq=False, frozen=True, slots=True)
class Ticket:
    """A place in the line for room on this device."""

    device: str


class ChildEnginePool:
    """Keeps engine children, one for each device and model. Implements domain.ports.EnginePool.

    All state is guarded by one condition; engines are started and ended outside it.
    """

    def __init__(
        self,
        *,
        launch: Launch,
        max_engines: int,
        clock: Clock,
        memory: EngineMemory | None = None,
        ttl: float = 0.0,
        busy_timeout: float = 60.0,
        waste_timeout: float = _WASTE_SECONDS,
    ) -> None:
        """memory: what engines may take; None: no limit. ttl: seconds after which an unused engine is ended; 0: never.

        busy_timeout: seconds to wait for room. waste_timeout: seconds an engine may compute for jobs that were given
        up, while it serves no other job.
        """
        self._launch = launch
        self._waste_timeout = waste_timeout
        self._max_engines = max_engines
        self._clock = clock
        self._ttl = ttl
        self._busy_timeout = busy_timeout
        self._changed = threading.Condition()
        self._slots = PoolState(memory=memory or UnlimitedMemory(), max_engines=max_engines, clock=clock)
        #: Who waits for room on which device, in the order of coming.
        self._line: list[Ticket] = []
        self._stopped = threading.Event()
        #: What made the supervisor's last round fail, "" for none.
        self._fault = ""

    @contextmanager
    def lend(self, device: str, model: str) -> Iterator[PooledEngine]:
        """An engine for this device and model, started if need be.

        Raises ModelNotFoundError, EngineStartError (engines_busy when there is no room for it in time,
        memory_too_small when there never will be, else its code names the cause) and ShuttingDownError. A start that
        failed a moment ago is not tried again at once: its error is raised anew.
        """
        running = self._borrow((device, canonical_name(model)))
        try:
            yield running.engine
        finally:
            self._give_back(running)

    def running(self) -> tuple[EngineInfo, ...]:
        """The children that are up now."""
        return tuple(engine.info for engine in self.engines())

    def engines(self) -> tuple[PooledEngine, ...]:
        """The same, not lent: for looking at them without keeping them."""
        with self._changed:
            return self._slots.engines()

    def views(self) -> tuple[SlotView, ...]:
        """Every device and model that was asked for since the start, and what became of its engine."""
        with self._changed:
            return self._slots.views()

    def at_rest(self, device: str) -> EngineInfo | None:
        """The engine of this device that was ended last with nothing wrong, if none was started since."""
        with self._changed:
            return self._slots.rested.get(device)

    def last_start_error(self, device: str) -> TranscriberError | None:
        """Why the newest start on this device failed; None if it succeeded or there was none."""
        with self._changed:
            return self._slots.start_errors.get(device)

    @property
    def restarts(self) -> int:
        """Engines started again after the one before them died or was discarded."""
        return self._slots.restarts

    @property
    def unloads(self) -> dict[str, int]:
        """Engines that were ended with nothing wrong: idle, evicted, asked."""
        with self._changed:
            return dict(self._slots.unloads)

    def discard(
        self,
        engine: Engine,
        error: TranscriberError | None = None,
        *,
        blocks: bool = True,
        revives: bool = False,
    ) -> None:
        """End this child; the next lend starts a fresh one. Jobs of others in it end as crashed.

        error: what it is unfit for; until a fresh one is up this is the error of its device. With it the supervisor
        starts a fresh one after a while, and lends get the error meanwhile. blocks False: the next one may well be fit,
        so a lend starts it at once; revives: and otherwise the supervisor does.
        """
        with self._changed:
            for (device, _), slot in self._slots.items():
                if slot.running is None or slot.running.engine is not engine:
                    continue
                self._slots.lose(slot, slot.running)
                self._changed.notify_all()
                if error is not None:
                    self._slots.start_errors[device] = error
                    slot.error = error if blocks else slot.error
                slot.revive = slot.revive or revives or (error is not None and blocks)
        self._end_dead()

    def ensure(self, device: str, model: str) -> None:
        """Keep an engine for this device and model up from now on, and start it now.

        Raises what `lend` raises; `tend` goes on trying all the same.
        """
        key = (device, canonical_name(model))
        with self._changed:
            self._slots.slot(key).keep = True
        self._give_back(self._borrow(key))

    def unload(self, model: str, device: str | None = None) -> int:
        """End the engines of this model (on this device) that are up; how many there were. The next lend starts one.

        Raises ModelBusyError, and ends none, while one of them is at work or just starting.
        """
        name = canonical_name(model)
        with self._changed:
            wanted = [
                (key, slot)
                for key, slot in self._slots.items()
                if key[1] == name and device in (None, key[0])
            ]
            if any(slot.is_occupied and not slot.is_idle for _, slot in wanted):
                raise ModelBusyError(f"The model {name} is at work, or just starting.")
            engines = self._put_to_rest((key for key, _ in wanted), ASKED)
        self._end_resting(engines)
        return len(engines)

    def tend(self) -> None:
        """One round of the supervisor: forget dead engines, end idle ones, start again those that are to be kept up.

        An engine that only computes for jobs that were given up is ended, and counts as dead.
        It makes no room by ending others: an engine that had to make room stays down until there is some.
        """
        self._lose_wasteful()
        self._end_dead()
        self._unload_idle()
        while (key := self._reserve_neglected()) is not None:
            try:
                self._give_back(self._start(key))
            except TranscriberError as error:
                _log.warning("engine_restart_failed", device=key[0], model=key[1], code=error.code)
        self._end_dead()

    def supervise(self, interval: float = 1.0) -> threading.Thread:
        """Start the thread that tends every `interval` seconds until the pool is closed."""
        thread = threading.Thread(
            target=self._supervise, args=(interval,), name="engine-supervisor", daemon=True
        )
        thread.start()
        return thread

    def close(self) -> None:
        """End all children, side by side. One that is just starting is ended as soon as it is up."""
        with self._changed:
            self._stopped.set()
            engines = self._slots.clear()
            self._changed.notify_all()
        threads = [threading.Thread(target=engine.close, args=(_CLOSE_SECONDS,)) for engine in engines]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._end_dead()

    # Borrowing

    def _borrow(self, key: Key) -> RunningEngine:
        with self._changed:
            running = self._take(key)
        self._end_dead()
        return running or self._start(key)

    def _take(self, key: Key) -> RunningEngine | None:
        """Under the lock: the engine, once it is there; None when the caller is to start it."""
        begun: float | None = None
        ticket = Ticket(key[0])
        try:
            while True:
                if self._stopped.is_set():
                    raise ShuttingDownError()
                self._lose_dead()
                slot = self._slots.slot(key)
                if slot.running is not None and not slot.is_promised:
                    return self._slots.lend(slot.running)
                if slot.starting:
                    self._wait_for_start(slot)
                elif slot.failed_just_now(self._clock.monotonic()):
                    raise slot.again()
                elif slot.running is None and self._reserve(key, ticket):
                    return None
                else:
                    begun = self._clock.monotonic() if begun is None else begun
                    self._wait_for_room(key, ticket, begun)
        finally:
            self._leave_line(ticket)

    def _reserve(self, key: Key, ticket: Ticket) -> bool:
        """Whether it is this one's turn, and there is room. Raises EngineStartError where there never will be."""
        self._slots.check(key)
        return self._is_next(ticket) and self._slots.reserve(key)

    def _wait_for_start(self, slot: Slot) -> None:
        """Wait for somebody else's start; its failure is ours too."""
        while slot.starting and not self._stopped.is_set():
            self._changed.wait()
        if slot.error is not None:
            raise slot.again()

    def _wait_for_room(self, key: Key, ticket: Ticket, begun: float) -> None:
        """Until something changes. The first in line, after a while, has the engines in its way run dry."""
        waited = self._clock.monotonic() - begun
        left = self._busy_timeout - waited
        if left <= 0:
            raise EngineStartError(
                f"No room for {key[1]} on {key[0]}: the engines that are up are at work, and they fill "
                f"WHISPER_MAX_ENGINES={self._max_engines} or the memory that they may take.",
                code="engines_busy",
                fix="Send it again later, or raise WHISPER_MAX_ENGINES or WHISPER_MEMORY_BUDGET_BYTES if memory allows.",
            )
        if ticket not in self._line:
            self._line.append(ticket)
        turn = TURN_SECONDS - waited
        if turn <= 0 and self._is_next(ticket):
            self._slots.promise(key)
        self._changed.wait(min(left, turn) if turn > 0 else left)

    def _is_next(self, ticket: Ticket) -> bool:
        return next((each for each in self._line if each.device == ticket.device), ticket) is ticket

    def _leave_line(self, ticket: Ticket) -> None:
        if ticket in self._line:
            self._line.remove(ticket)
            self._slots.end_promises()
            self._changed.notify_all()

    def _give_back(self, running: RunningEngine) -> None:
        with self._changed:
            self._slots.give_back(running)
            self._changed.notify_all()

    def _reserve_neglected(self) -> Key | None:
        """A slot that is to be kept up and finds room without anybody's going: now ours to start."""
        with self._changed:
            self._lose_dead()
            if self._stopped.is_set() or self._line:
                return None
            return self._slots.reserve_neglected(revives_evicted=not self._ttl)

    # Starting

    def _start(self, key: Key) -> RunningEngine:
        """Start the engine of a reserved slot and lend it to the caller."""
        with self._changed:
            slot = self._slots.find(key)
            evicted, reserved = (slot.evicted, slot.reserved_bytes) if slot else ([], 0)
        try:
            while evicted:
                self._end_resting([evicted.pop()])
            _log.info("engine_starting", device=key[0], model=key[1], reserved_bytes=reserved)
            engine = self._launch(*key)
        except BaseException as error:
            with self._changed:
                self._changed.notify_all()
                self._slots.note_failure(key, error)
            raise
        running = self._note_start(key, engine)
        if running is None:
            engine.close(0)
            raise ShuttingDownError()
        return running

    def _note_start(self, key: Key, engine: PooledEngine) -> RunningEngine | None:
        """Put the engine into its slot, lent to the caller; None when the pool was closed meanwhile."""
        with self._changed:
            self._changed.notify_all()
            return None if self._stopped.is_set() else self._slots.note_start(key, engine)

    # Ending

    def _unload_idle(self) -> None:
        """End the engines that have been unused for as long as the setting says."""
        if not self._ttl:
            return
        with self._changed:
            idle = self._slots.idle_since(self._clock.monotonic() - self._ttl)
            engines = self._put_to_rest(idle, IDLE)
        self._end_resting(engines)

    def _put_to_rest(self, keys: Iterator[Key] | list[Key], why: str) -> list[PooledEngine]:
        """Under the lock."""
        found = [self._slots.put_to_rest(key, why) for key in keys]
        return [engine for engine in found if engine is not None]

    def _end_resting(self, engines: list[PooledEngine]) -> None:
        """End engines that were put to rest: only then is their memory free. Not under the lock."""
        for engine in engines:
            _log.info(
                "engine_unloaded",
                engine_pid=engine.info.pid,
                device=engine.info.device,
                model=engine.info.model,
            )
            engine.close(_CLOSE_SECONDS)
            with self._changed:
                self._slots.ended(engine)
                self._changed.notify_all()

    def _lose_dead(self) -> None:
        """Under the lock: take dead engines out of their slots."""
        if self._slots.lose_dead():
            self._changed.notify_all()

    def _lose_wasteful(self) -> None:
        """Take engines out of their slots that have computed unwanted work for too long."""

        def is_wasteful(running: RunningEngine) -> bool:
            return not running.lent and running.engine.wasted_seconds > self._waste_timeout

        with self._changed:
            if self._slots.lose_those(is_wasteful):
                _log.warning("engine_abandoned", engine_pids=[engine.info.pid for engine in self._slots.dead])
                self._changed.notify_all()

    def _end_dead(self) -> None:
        """Clean up after engines that were taken out of their slots. Not under the lock."""
        while self._slots.dead:
            try:
                engine = self._slots.dead.popleft()
            except IndexError:
                return
            engine.close(0)

    def _supervise(self, interval: float) -> None:
        while not self._stopped.wait(interval):
            self._round()

    def _round(self) -> None:
        try:
            self.tend()
        except Exception as error:  # noqa: BLE001  the thread's boundary: the supervisor must outlive any fault
            # A fault that lasts is met every second: it is logged when it begins.
            if repr(error) != self._fault:
                _log.exception("engine_supervisor_failed")
            self._fault = repr(error)
        else:
            self._fault = ""
