"""What the engine pool knows of its places, and how that changes. The pool holds its lock around every call."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import replace

from ..domain.errors import EngineStartError, ModelNotFoundError, TranscriberError
from ..domain.ports import Clock, EngineInfo
from .eviction import EngineMemory, EnginePlace, make_room
from .slots import EVICTED, LONGEST_BACKOFF_SECONDS, PooledEngine, Rest, RunningEngine, Slot, SlotView

Key = tuple[str, str]


class PoolState:
    """The slots by device and model. Starts and ends nothing itself, and never waits."""

    def __init__(self, *, memory: EngineMemory, max_engines: int, clock: Clock) -> None:
        self._memory = memory
        self._max_engines = max_engines
        self._clock = clock
        self._slots: dict[Key, Slot] = {}
        #: Taken out of their slots, still to be cleaned up after.
        self.dead: deque[PooledEngine] = deque()
        #: Put to rest and not yet gone: their memory is still taken.
        self._ending: dict[int, EnginePlace] = {}
        #: By device: why the newest start failed; what was ended with nothing wrong.
        self.start_errors: dict[str, TranscriberError] = {}
        self.rested: dict[str, EngineInfo] = {}
        #: Engines started again after the one before them died or was discarded.
        self.restarts = 0
        #: Engines that were ended with nothing wrong, by why.
        self.unloads: Counter[str] = Counter()

    def __contains__(self, key: Key) -> bool:
        return key in self._slots

    def __len__(self) -> int:
        return len(self._slots)

    def slot(self, key: Key) -> Slot:
        """The slot, made if need be."""
        return self._slots.setdefault(key, Slot())

    def find(self, key: Key) -> Slot | None:
        return self._slots.get(key)

    def items(self) -> Iterator[tuple[Key, Slot]]:
        return iter(list(self._slots.items()))

    def clear(self) -> list[PooledEngine]:
        """Forget all slots; the engines that were up."""
        engines = [slot.running.engine for slot in self._slots.values() if slot.running]
        self._slots.clear()
        return engines

    def engines(self) -> tuple[PooledEngine, ...]:
        """Those that are up and alive."""
        running = [slot.running.engine for slot in self._slots.values() if slot.running]
        return tuple(engine for engine in running if engine.alive)

    def views(self) -> tuple[SlotView, ...]:
        """Every slot as others see it."""
        return tuple(self._view(key, slot) for key, slot in self._slots.items())

    def lend(self, running: RunningEngine) -> RunningEngine:
        """One more borrower."""
        running.lent += 1
        return running

    def give_back(self, running: RunningEngine) -> None:
        """One borrower less."""
        running.lent -= 1
        running.last_used, running.used_at = self._clock.monotonic(), self._clock.now()

    # Room

    def check(self, key: Key) -> None:
        """Raises EngineStartError (memory_too_small) for an engine that can never fit."""
        self._memory.check(*key)

    def reserve(self, key: Key) -> bool:
        """Make the slot the caller's to start, putting those idle longest to rest if need be; False: no room yet."""
        slot, wanted = self.slot(key), self._wanted(key)
        victims = self._victims(wanted, self._places())
        if victims is None:
            return False
        for victim in victims:
            engine = self.put_to_rest((victim.device, victim.model), EVICTED)
            if engine is not None:
                slot.evicted.append(engine)
        slot.starting, slot.reserved_bytes = True, wanted.need_bytes
        return True

    def reserve_neglected(self, *, revives_evicted: bool) -> Key | None:
        """A slot that is to be up, is down, has waited long enough, and finds room: now the caller's to start."""
        now = self._clock.monotonic()
        for key, slot in self._slots.items():
            is_due = slot.is_neglected and now >= slot.next_try
            if not is_due or (slot.rest is not None and not revives_evicted) or not self._ever_fits(key):
                continue
            wanted = self._wanted(key)
            if self._victims(wanted, self._places()) == ():
                slot.starting, slot.reserved_bytes = True, wanted.need_bytes
                return key
        return None

    def _ever_fits(self, key: Key) -> bool:
        """Whether a lend may start it, too."""
        try:
            self.check(key)
        except EngineStartError:
            return False
        return True

    def promise(self, key: Key) -> None:
        """Let those engines take no further borrowers that have to go for this one; they may be at work."""
        places = [replace(p, is_idle=(p.device, p.model) in self._up()) for p in self._places()]
        for victim in self._victims(self._wanted(key), places) or ():
            self._slots[victim.device, victim.model].is_promised = True

    def end_promises(self) -> None:
        """All engines take borrowers again."""
        for slot in self._slots.values():
            slot.is_promised = False

    def _wanted(self, key: Key) -> EnginePlace:
        device, model = key
        need, limit = self._memory.need(device, model), self._memory.limit(device)
        # What is larger than the device has the device for itself: on a GPU the ladder makes it fit.
        need = need if limit is None else min(need, limit)
        return EnginePlace(device=device, model=model, need_bytes=need, is_idle=False)

    def _victims(self, wanted: EnginePlace, places: list[EnginePlace]) -> tuple[EnginePlace, ...] | None:
        limit = self._memory.limit(wanted.device)
        return make_room(wanted, places, max_engines=self._max_engines, limit_bytes=limit)

    def _places(self) -> list[EnginePlace]:
        taken = [self._place(key, slot) for key, slot in self._slots.items() if slot.is_occupied]
        return [*taken, *self._ending.values()]

    def _place(self, key: Key, slot: Slot) -> EnginePlace:
        running = slot.running
        return EnginePlace(
            device=key[0],
            model=key[1],
            need_bytes=slot.reserved_bytes if running is None else self._memory.held(running.engine.info),
            is_idle=slot.is_idle,
            is_kept=slot.keep,
            last_used=running.last_used if running else 0.0,
        )

    def _up(self) -> set[Key]:
        return {key for key, slot in self._slots.items() if slot.running is not None}

    # Rest

    def idle_since(self, moment: float) -> list[Key]:
        """Engines that have not been used since then."""
        return [
            key
            for key, slot in self._slots.items()
            if slot.running is not None and slot.is_idle and slot.running.last_used <= moment
        ]

    def put_to_rest(self, key: Key, why: str) -> PooledEngine | None:
        """Take an idle engine out of its slot, with nothing wrong; the caller ends it and then says `ended`."""
        slot = self._slots[key]
        running = slot.running
        if running is None or not slot.is_idle:
            return None
        info = running.engine.info
        self._ending[id(running.engine)] = self._ending_place(key, slot)
        slot.rest = Rest(engine=info, why=why, at=self._clock.now(), used_at=running.used_at)
        slot.running = None
        self.rested[info.device] = info
        self.unloads[why] += 1
        return running.engine

    def ended(self, engine: PooledEngine) -> None:
        """An engine that was put to rest is gone."""
        self._ending.pop(id(engine), None)

    def _ending_place(self, key: Key, slot: Slot) -> EnginePlace:
        return replace(self._place(key, slot), is_idle=False)

    # Starts and losses

    def note_start(self, key: Key, engine: PooledEngine) -> RunningEngine:
        """The engine is up, and lent to the caller."""
        now = self._clock.monotonic()
        slot = self._slots[key]
        slot.starting, slot.error, slot.revive, slot.rest = False, None, False, None
        self.rested.pop(key[0], None)
        slot.running = RunningEngine(
            engine=engine, started=now, last_used=now, used_at=self._clock.now(), lent=1
        )
        self.restarts += slot.lost
        slot.lost = False
        self.start_errors.pop(key[0], None)
        return slot.running

    def note_failure(self, key: Key, error: BaseException) -> None:
        """The start failed; the next one is put off."""
        slot = self._slots.get(key)
        if slot is None:
            return
        slot.starting = False
        if not isinstance(error, Exception):
            return  # the caller was ended, not the engine: the next one who waits starts it
        slot.error = error if isinstance(error, TranscriberError) else EngineStartError(repr(error))
        slot.put_off(self._clock.monotonic())
        if slot.keep or not slot.error.code.startswith(
            "model_"
        ):  # some other model says nothing about the device
            self.start_errors[key[0]] = slot.error
            self.rested.pop(key[0], None)
        if isinstance(error, ModelNotFoundError) and not slot.keep:
            # Names come from requests: they must not pile up here.
            del self._slots[key]

    def lose_dead(self) -> bool:
        """Take dead engines out of their slots; whether there was one."""
        return self.lose_those(lambda running: not running.engine.alive)

    def lose_those(self, is_lost: Callable[[RunningEngine], bool]) -> bool:
        """Take these engines out of their slots; whether there was one."""
        found = [(slot, slot.running) for slot in self._slots.values() if slot.running]
        lost = [(slot, running) for slot, running in found if is_lost(running)]
        for slot, running in lost:
            self.lose(slot, running)
        return bool(lost)

    def lose(self, slot: Slot, running: RunningEngine) -> None:
        """The slot's engine is no more. One that died young puts the supervisor off."""
        self.dead.append(running.engine)
        self.rested.pop(running.engine.info.device, None)
        slot.running, slot.lost = None, True
        now = self._clock.monotonic()
        if now - running.started >= LONGEST_BACKOFF_SECONDS:
            slot.failures = 0
        slot.put_off(now)

    def _view(self, key: Key, slot: Slot) -> SlotView:
        running = slot.running
        return SlotView(
            device=key[0],
            model=key[1],
            state=slot.state,
            engine=running.engine.info if running else None,
            borrowers=running.lent if running else 0,
            used_at=running.used_at if running else slot.rest.used_at if slot.rest else None,
            memory_bytes=self._memory.held(running.engine.info)
            if running
            else slot.reserved_bytes * slot.starting,
            rest=slot.rest,
            error=slot.error,
        )
