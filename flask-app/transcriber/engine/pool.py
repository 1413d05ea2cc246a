"""The engine children of this service: started when needed, lent, restarted, and ended to make room."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from ..domain.errors import EngineStartError, ModelNotFoundError, ShuttingDownError, TranscriberError
from ..domain.ports import Clock, Engine, EngineInfo
from .catalogue import canonical_name
from .slots import Launch, PooledEngine, Running, Slot

__all__ = ["ChildEnginePool", "Launch", "PooledEngine"]

_log = structlog.get_logger()

#: Longest wait between two tries to start an engine that does not start.
_LONGEST_BACKOFF_SECONDS = 60.0

#: Seconds an engine may go on computing for jobs that were given up.
_WASTE_SECONDS = 10.0

#: Seconds an engine has to end by itself.
_CLOSE_SECONDS = 2.0


_Key = tuple[str, str]


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
        busy_timeout: float = 60.0,
        waste_timeout: float = _WASTE_SECONDS,
    ) -> None:
        """waste_timeout: seconds an engine may compute for jobs that were given up, while it serves nobody else."""
        self._launch = launch
        self._waste_timeout = waste_timeout
        self._max_engines = max_engines
        self._clock = clock
        self._busy_timeout = busy_timeout
        self._changed = threading.Condition()
        self._slots: dict[_Key, Slot] = {}
        #: Taken out of their slots, still to be cleaned up after.
        self._dead: deque[PooledEngine] = deque()
        self._start_errors: dict[str, TranscriberError] = {}
        #: By device: what was ended with nothing wrong.
        self._rested: dict[str, EngineInfo] = {}
        self._stopped = threading.Event()
        #: Engines started again after the one before them died or was discarded.
        self.restarts = 0

    @contextmanager
    def lend(self, device: str, model: str) -> Iterator[PooledEngine]:
        """An engine for this device and model, started if need be.

        Raises ModelNotFoundError, EngineStartError (engines_busy when there is no room for it in time, else
        its code names the cause) and ShuttingDownError. A start that failed a moment ago is not tried again
        at once: its error is raised anew.
        """
        running = self._borrow((device, canonical_name(model)))
        try:
            yield running.engine
        finally:
            self._give_back(running)

    def running(self) -> tuple[EngineInfo, ...]:
        """The children that are up now."""
        with self._changed:
            return tuple(engine.info for engine in self.engines())

    def engines(self) -> tuple[PooledEngine, ...]:
        """The same, as engines that nobody borrows: for looking at them without keeping them."""
        with self._changed:
            engines = [slot.running.engine for slot in self._slots.values() if slot.running]
        return tuple(engine for engine in engines if engine.alive)

    def at_rest(self, device: str) -> EngineInfo | None:
        """The engine of this device that was ended to make room, with nothing wrong and none started since."""
        with self._changed:
            return self._rested.get(device)

    def last_start_error(self, device: str) -> TranscriberError | None:
        """Why the newest start on this device failed; None if it succeeded or there was none."""
        with self._changed:
            return self._start_errors.get(device)

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
        so a lend starts it at once; revives: and the supervisor does where nobody else has.
        """
        with self._changed:
            for (device, _), slot in self._slots.items():
                if slot.running is None or slot.running.engine is not engine:
                    continue
                self._lose(slot, slot.running)
                if error is not None:
                    self._start_errors[device] = error
                    slot.error = error if blocks else slot.error
                slot.revive = slot.revive or revives or (error is not None and blocks)
        self._end_dead()

    def ensure(self, device: str, model: str) -> None:
        """Keep an engine for this device and model up from now on, and start it now.

        Raises what `lend` raises; `tend` goes on trying all the same.
        """
        key = (device, canonical_name(model))
        with self._changed:
            self._slots.setdefault(key, Slot()).keep = True
        self._give_back(self._borrow(key))

    def tend(self) -> None:
        """One round of the supervisor: forget dead engines, start again those that are to be kept up.

        An engine that goes on computing for given up jobs, and serves nobody, is ended, and counts as dead.
        It makes no room by ending others: an engine that had to make room stays down until there is some.
        """
        self._lose_wasteful()
        self._end_dead()
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
            engines = [slot.running.engine for slot in self._slots.values() if slot.running]
            self._slots.clear()
            self._changed.notify_all()
        threads = [threading.Thread(target=engine.close, args=(_CLOSE_SECONDS,)) for engine in engines]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._end_dead()

    # Borrowing

    def _borrow(self, key: _Key) -> Running:
        with self._changed:
            running = self._take(key)
        self._end_dead()
        return running or self._start(key)

    def _take(self, key: _Key) -> Running | None:
        """Under the lock: the engine, once it is there; None when the caller is to start it."""
        deadline: float | None = None
        while True:
            if self._stopped.is_set():
                raise ShuttingDownError()
            self._lose_dead()
            slot = self._slots.setdefault(key, Slot())
            if slot.running is not None:
                slot.running.lent += 1
                return slot.running
            if slot.starting:
                self._wait_for_start(slot)
            elif self._failed_just_now(slot):
                raise _again(slot)
            elif self._reserve(slot):
                return None
            else:
                deadline = deadline or self._clock.monotonic() + self._busy_timeout
                self._wait_for_room(deadline)

    def _wait_for_start(self, slot: Slot) -> None:
        """Wait for somebody else's start; its failure is ours too."""
        while slot.starting and not self._stopped.is_set():
            self._changed.wait()
        if slot.error is not None:
            raise _again(slot)

    def _failed_just_now(self, slot: Slot) -> bool:
        """Whether the last start failed, and it is too early to try again. A missing model may come any time."""
        if slot.error is None or isinstance(slot.error, ModelNotFoundError):
            return False
        return self._clock.monotonic() < slot.next_try

    def _wait_for_room(self, deadline: float) -> None:
        left = deadline - self._clock.monotonic()
        if left <= 0:
            raise EngineStartError(
                f"All {self._max_engines} engines are at work on other devices or models.",
                code="engines_busy",
                fix="Send it again later, or raise WHISPER_MAX_ENGINES if memory allows.",
            )
        self._changed.wait(left)

    def _give_back(self, running: Running) -> None:
        with self._changed:
            running.lent -= 1
            running.last_used = self._clock.monotonic()
            self._changed.notify_all()

    # Room

    def _reserve(self, slot: Slot) -> bool:
        """Under the lock: make the slot the caller's to start, ending the engine idle longest if need be."""
        if self._room() <= 0:
            victim = self._idle_longest()
            if victim is None or victim.running is None:
                return False
            info = victim.running.engine.info
            self._rested[info.device] = info
            slot.evicted.append(victim.running.engine)
            victim.running = None
        slot.starting = True
        return True

    def _room(self) -> int:
        return self._max_engines - sum(slot.is_occupied for slot in self._slots.values())

    def _idle_longest(self) -> Slot | None:
        """The slot to evict: nobody works there; one that is to be kept up comes last."""
        idle = [
            (slot.keep, slot.running.last_used, slot)
            for slot in self._slots.values()
            if slot.running is not None and slot.running.lent == 0
        ]
        return min(idle, key=lambda each: each[:2])[2] if idle else None

    def _reserve_neglected(self) -> _Key | None:
        """A slot that is to be kept up, is down, has waited long enough, and finds room: now ours to start."""
        with self._changed:
            self._lose_dead()
            if self._stopped.is_set() or self._room() <= 0:
                return None
            now = self._clock.monotonic()
            for key, slot in self._slots.items():
                if (slot.keep or slot.revive) and not slot.is_occupied and now >= slot.next_try:
                    slot.starting = True
                    return key
        return None

    # Starting

    def _start(self, key: _Key) -> Running:
        """Start the engine of a reserved slot and lend it to the caller."""
        device, model = key
        with self._changed:
            evicted = self._slots[key].evicted if key in self._slots else []
        try:
            while evicted:
                _log.info("engine_evicted", engine_pid=evicted[-1].info.pid, device=device, model=model)
                evicted.pop().close(_CLOSE_SECONDS)
            engine = self._launch(device, model)
        except BaseException as error:
            self._note_failure(key, error)
            raise
        running = self._note_start(key, engine)
        if running is None:
            engine.close(0)
            raise ShuttingDownError()
        return running

    def _note_start(self, key: _Key, engine: PooledEngine) -> Running | None:
        """Put the engine into its slot, lent to the caller; None when the pool was closed meanwhile."""
        now = self._clock.monotonic()
        with self._changed:
            self._changed.notify_all()
            if self._stopped.is_set():
                return None
            slot = self._slots[key]
            slot.starting, slot.error, slot.revive = False, None, False
            self._rested.pop(key[0], None)
            slot.running = Running(engine=engine, started=now, last_used=now, lent=1)
            self.restarts += slot.lost
            slot.lost = False
            self._start_errors.pop(key[0], None)
            return slot.running

    def _note_failure(self, key: _Key, error: BaseException) -> None:
        """Tell those who wait for this start, and put the next one off."""
        with self._changed:
            self._changed.notify_all()
            slot = self._slots.get(key)
            if slot is None:
                return
            slot.starting = False
            if not isinstance(error, Exception):
                return  # the caller was ended, not the engine: the next one who waits starts it
            slot.error = error if isinstance(error, TranscriberError) else EngineStartError(repr(error))
            self._put_off(slot)
            self._start_errors[key[0]] = slot.error
            self._rested.pop(key[0], None)
            if isinstance(error, ModelNotFoundError) and not slot.keep:
                # Names come from requests: they must not pile up here.
                del self._slots[key]

    def _put_off(self, slot: Slot) -> None:
        slot.failures += 1
        delay = min(_LONGEST_BACKOFF_SECONDS, 2.0 ** min(slot.failures - 1, 10))
        slot.next_try = self._clock.monotonic() + delay

    # Loss

    def _lose_dead(self) -> None:
        """Under the lock: take dead engines out of their slots."""
        for slot in self._slots.values():
            if slot.running is not None and not slot.running.engine.alive:
                self._lose(slot, slot.running)

    def _lose_wasteful(self) -> None:
        """Take engines out of their slots that have computed for nobody for too long."""
        with self._changed:
            for slot in self._slots.values():
                running = slot.running
                if running is None or running.lent or running.engine.wasted_seconds <= self._waste_timeout:
                    continue
                _log.warning("engine_abandoned", engine_pid=running.engine.info.pid)
                self._lose(slot, running)

    def _lose(self, slot: Slot, running: Running) -> None:
        """Under the lock: the slot's engine is no more. One that died young puts the supervisor off."""
        self._dead.append(running.engine)
        self._rested.pop(running.engine.info.device, None)
        slot.running, slot.lost = None, True
        if self._clock.monotonic() - running.started >= _LONGEST_BACKOFF_SECONDS:
            slot.failures = 0
        self._put_off(slot)
        self._changed.notify_all()

    def _end_dead(self) -> None:
        """Clean up after engines that were taken out of their slots. Not under the lock."""
        while self._dead:
            try:
                engine = self._dead.popleft()
            except IndexError:
                return
            engine.close(0)

    def _supervise(self, interval: float) -> None:
        while not self._stopped.wait(interval):
            try:
                self.tend()
            except Exception:  # noqa: BLE001  the thread's boundary: the supervisor must outlive any fault
                _log.exception("engine_supervisor_failed")


def _again(slot: Slot) -> TranscriberError:
    """The slot's error, to be raised in another thread than the one it came from."""
    error = slot.error or EngineStartError()
    return error.with_traceback(None)
