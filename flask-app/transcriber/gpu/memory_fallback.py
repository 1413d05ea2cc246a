"""What the GPU's lack of memory has taught, for a while: each model's level of the ladder, and the steps to it.

So that one job goes down the ladder, and those after it start where it came to. Safe from any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

import structlog

from ..domain.errors import EngineError, EngineStartError
from ..domain.ports import Clock, EngineInfo
from ..domain.transcript import FallbackReason, MemoryStep
from ..system.backoff import Backoff
from . import compatibility, snapshot
from .degradation_steps import CPU, SMALLER_BATCH, Degradation, DegradationStep, next_degradation, shrink_step
from .memory_needs import find_need
from .probe import fault_codes
from .probe.facts import GpuDevice, GpuStatus
from .readings import GpuReadings, ReadGpu

logger = structlog.get_logger(__name__)

T = TypeVar("T")

#: Seconds until the GPU is tried again: another program may have freed what it held.
REMEMBERED_SECONDS = 600.0

#: And the least such wait, however much is free: the need is computed, and may be larger in truth.
SETTLING_SECONDS = 60.0

#: A model that is off the GPU altogether tries it again sooner: after the first of these where enough is seen to be free,
#: and after the second where free memory is unknown. Twice as long each time in a row.
SOONEST_SECONDS, UNTOLD_SECONDS = 15.0, 60.0

#: Two times count as in a row when no more seconds than this lie between them.
ROW_SECONDS = 2 * REMEMBERED_SECONDS

#: Codes with which an engine says that the device's memory is used up.
OUT_OF_MEMORY = frozenset({"out_of_memory", "cuda_out_of_memory"})


def is_out_of_memory(error: EngineError) -> bool:
    """Whether the engine had too little memory."""
    return error.code in OUT_OF_MEMORY


@dataclass(frozen=True, kw_only=True, slots=True)
class _Lesson:
    """Where a model came to on a device, by which steps; level None: off the GPU.

    left_at_load: off it because no engine could be loaded, which the next one that is loaded disproves.
    times: how often in a row it came off.
    """

    device_uuid: str | None
    first: DegradationStep
    level: DegradationStep | None
    steps: tuple[MemoryStep, ...]
    learned: float
    learned_at: datetime
    left_at_load: bool = False
    times: int = 0


class DegradationPolicy:
    """Remembers for each model what it was given to fit into the GPU's memory."""

    def __init__(self, *, clock: Clock, status: Callable[[], GpuStatus | None], read_gpu: ReadGpu) -> None:
        """status: the newest probe. read_gpu: the newest reading of free memory; it returns at once."""
        self._clock = clock
        self._status = status
        self._read_gpu = read_gpu
        self._lock = threading.Lock()
        self._lessons: dict[str, _Lesson] = {}
        #: How often in a row a model came off the GPU, and when last.
        self._left: dict[str, tuple[int, float]] = {}

    def level(self, model: str, first: DegradationStep) -> DegradationStep:
        """What to start an engine for this model with, in place of `first`."""
        with self._lock:
            lesson = self._find(model)
            if lesson is None:
                # What holds no more is not needed either: this engine is not started by it.
                self._lessons.pop(model, None)
                return first
        # A request for the GPU after it was given up gets the lightest engine there is.
        return lesson.level or _lightest(lesson)

    def start(self, model: str, first: DegradationStep, start: Callable[[DegradationStep], T]) -> T:
        """Start an engine on the level that holds for this model, and where memory runs out, on the next ones.

        Raises what `start` raises, of a lack of memory that of the last level.
        """
        level = self.level(model, first)
        while True:
            try:
                started = start(level)
            except EngineStartError as error:
                if not is_out_of_memory(error):
                    raise
                degradation = self.degrade(model, level, at_load=True)
                if degradation.level is None:
                    raise
                level = degradation.level
            else:
                self._note_fit(model, level)
                return started

    def steps(self, model: str) -> tuple[MemoryStep, ...]:
        """What this model has been given up so far, and still is."""
        with self._lock:
            lesson = self._find(model)
        return () if lesson is None else lesson.steps

    def has_left_gpu(self, model: str) -> bool:
        """Whether it came off the GPU a while ago, and nothing says that there is more room now."""
        with self._lock:
            lesson = self._find(model)
        return lesson is not None and lesson.level is None

    def why_left(self, model: str) -> FallbackReason | None:
        """The reason given to jobs for this model that run on the CPU instead; None while they don't."""
        if not self.has_left_gpu(model):
            return None
        return fault_codes.reason("cuda_out_of_memory", f"{model} did not fit a while ago")

    def is_outdated(self, engine: EngineInfo) -> bool:
        """Whether this engine was started by a lesson that holds no more: it is lighter than it need be."""
        with self._lock:
            lesson = self._lessons.get(engine.model)
            is_over = lesson is not None and self._find(engine.model) is None
        if lesson is None or engine.device != "cuda":
            return False
        return is_over and engine.started_at >= lesson.learned_at

    def forget(self, model: str) -> None:
        """Start engines for this model as at first."""
        with self._lock:
            self._lessons.pop(model, None)

    def note_shrunk(self, engine: EngineInfo, before: int, after: int) -> MemoryStep:
        """The engine itself put fewer windows together."""
        step = shrink_step(before, after)
        with self._lock:
            lesson = self._find(engine.model) or self._new(engine, before)
            level = None if lesson.level is None else replace(lesson.level, batch_size=after)
            self._learn(engine.model, lesson, step, level)
        return step

    def degrade(self, model: str, tried: DegradationStep, *, at_load: bool) -> Degradation:
        """Memory ran out on this level: the next step, which is remembered. Another job may have taken it already."""
        with self._lock:
            lesson = self._find(model) or self._first_lesson(tried)
            is_old_news = lesson.level is not None and lesson.level.compute_type != tried.compute_type
            if is_old_news and lesson.steps:
                return Degradation(step=lesson.steps[-1], level=lesson.level)
            degradation = self._next(model, tried, at_load)
            if degradation.level is None:
                times = self._times_in_a_row(model) + 1
                lesson = replace(lesson, left_at_load=at_load, times=times)
            self._learn(model, lesson, degradation.step, degradation.level)
            return degradation

    def degrade_from(self, engine: EngineInfo) -> Degradation:
        """This engine could not even decode one window: the next step."""
        return self.degrade(
            engine.model,
            DegradationStep(compute_type=engine.requested_compute_type, batch_size=1),
            at_load=False,
        )

    def degrade_from_test(self, engine: EngineInfo, batch_size: int) -> Degradation:
        """This engine had no room to test itself: the next step, as if it had not been loaded.

        batch_size: what engines start with where nothing is known of this model.
        """
        kind = engine.requested_compute_type
        held = self.level(engine.model, DegradationStep(compute_type=kind, batch_size=batch_size))
        return self.degrade(engine.model, replace(held, compute_type=kind), at_load=True)

    def _next(self, model: str, tried: DegradationStep, at_load: bool) -> Degradation:
        device = self._selected
        return next_degradation(
            tried,
            model=model,
            at_load=at_load,
            supported=device.compute_types if device else (),
            is_allowed=self._is_allowed,
        )

    def note_job(self, engine: EngineInfo) -> None:
        """A job that insisted on the GPU was done by this engine: others need not pass the GPU by any longer."""
        level = DegradationStep(compute_type=engine.requested_compute_type, batch_size=1)
        with self._lock:
            lesson = self._find(engine.model)
            if lesson is None or lesson.level is not None or engine.started_at < lesson.learned_at:
                return
            level = replace(level, batch_size=_lightest(lesson).batch_size)
        self._note_fit(engine.model, level, at_work=True)

    def _note_fit(self, model: str, level: DegradationStep, *, at_work: bool = False) -> None:
        """An engine fits on this level: it was loaded and passed its test, or it did a job."""
        with self._lock:
            lesson = self._find(model)
            if lesson is None or lesson.level is not None or not (lesson.left_at_load or at_work):
                return
            steps = tuple(step for step in lesson.steps if step.code != CPU)
            self._lessons[model] = replace(lesson, level=level, steps=steps, left_at_load=False)
        logger.info("gpu_memory_found", model=model, compute_type=level.compute_type)

    def _learn(self, model: str, lesson: _Lesson, step: MemoryStep, level: DegradationStep | None) -> None:
        """Under the lock."""
        steps = lesson.steps if step in lesson.steps else (*lesson.steps, step)
        now, at = self._clock.monotonic(), self._clock.now()
        self._lessons[model] = replace(lesson, level=level, steps=steps, learned=now, learned_at=at)
        logger.warning("gpu_memory_short", model=model, step=step.code, before=step.before, after=step.after)

    def _find(self, model: str) -> _Lesson | None:
        """Under the lock: what holds for this model still. The lesson itself stays, for what was started by it."""
        lesson = self._lessons.get(model)
        if lesson is None or lesson.device_uuid != self._uuid:
            return None
        readings = self._read_gpu()
        free = readings.memory_free_bytes if readings and readings.uuid == lesson.device_uuid else None
        need = find_need(model, lesson.first.compute_type, batch_size=lesson.first.batch_size)
        is_told = free is not None and need is not None
        if self._clock.monotonic() - lesson.learned >= _longest(lesson, is_told=is_told):
            return None
        if readings is None or free is None or need is None:
            return lesson
        # Readings of the moment after it show what the failed engine has just given back.
        is_settled = readings.read_at >= lesson.learned_at + timedelta(seconds=_settling(lesson))
        return None if is_settled and free + self._replaceable(model, lesson, readings) >= need else lesson

    def _replaceable(self, model: str, lesson: _Lesson, readings: GpuReadings) -> int:
        """Bytes that an engine of ours gives back when this model is tried again: that of this model, if one is up."""
        light = _lightest(lesson) if lesson.level is None else lesson.level
        return min(readings.own_bytes or 0, find_need(model, light.compute_type) or 0)

    def _times_in_a_row(self, model: str) -> int:
        """Under the lock: how often it came off the GPU, not long ago, already."""
        last = self._left.get(model)
        now = self._clock.monotonic()
        times = 0 if last is None or now - last[1] > ROW_SECONDS else last[0]
        self._left[model] = (times + 1, now)
        return times

    def _is_allowed(self, compute_type: str) -> bool:
        """By the table: never what is known to be bad, and under WHISPER_STRICT_MATRIX only what is known to be good."""
        status = self._status()
        if status is None or status.selected is None:
            return True
        taken = replace(snapshot.take(status, {}, {}), compute_type=compute_type)
        verdict = compatibility.judge(taken).verdict
        return verdict == compatibility.KNOWN_GOOD or (
            verdict == compatibility.UNKNOWN and not status.strict_matrix
        )

    def _first_lesson(self, first: DegradationStep) -> _Lesson:
        return _Lesson(
            device_uuid=self._uuid,
            first=first,
            level=first,
            steps=(),
            learned=self._clock.monotonic(),
            learned_at=self._clock.now(),
        )

    def _new(self, engine: EngineInfo, batch_size: int) -> _Lesson:
        return self._first_lesson(
            DegradationStep(compute_type=engine.requested_compute_type, batch_size=batch_size)
        )

    @property
    def _selected(self) -> GpuDevice | None:
        status = self._status()
        return status.selected if status else None

    @property
    def _uuid(self) -> str | None:
        device = self._selected
        return device.uuid if device else None


def _settling(lesson: _Lesson) -> float:
    """Seconds after which memory that is free counts."""
    if lesson.level is not None:
        return SETTLING_SECONDS
    return Backoff(SOONEST_SECONDS, REMEMBERED_SECONDS).after(lesson.times)


def _longest(lesson: _Lesson, *, is_told: bool) -> float:
    """Seconds after which a lesson is over in any case."""
    if lesson.level is not None or is_told:
        return REMEMBERED_SECONDS
    return Backoff(UNTOLD_SECONDS, REMEMBERED_SECONDS).after(lesson.times)


def _lightest(lesson: _Lesson) -> DegradationStep:
    """The last level before the GPU was left."""
    taken = [step.before.removeprefix("cuda, ") for step in lesson.steps if step.code == CPU]
    sizes = [int(step.after) for step in lesson.steps if step.code == SMALLER_BATCH]
    return DegradationStep(
        compute_type=taken[-1] if taken else lesson.first.compute_type,
        batch_size=sizes[-1] if sizes else lesson.first.batch_size,
    )
